"""Pairwise losses for personalized ranking: BPR and hinge. Section: ``ranking``."""

from typing import Optional

import numpy

from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.runtime.backend import gluon, np


class _PairwiseLoss(gluon.loss.Loss):
    """A loss of the distances between positive and negative scores.

    It is summed over the batch, as in the book, and as in gluon's losses multiplied by
    `weight` and averaged over all axes but `batch_axis`.
    """

    def __init__(self, weight: Optional[float] = None, batch_axis: int = 0, **kwargs):
        super().__init__(weight=weight, batch_axis=batch_axis, **kwargs)

    def forward(self, positive, negative):
        """Return the loss, of shape (1,), of two arrays of scores, (B,) or (B, ...).

        Raises NonFiniteLoss, a ValueError, for scores that are NaN or infinite (when
        hybridized, they make the loss NaN or infinite instead, which stops the training
        loop), and ValueError where one array has more axes than the other.
        """
        if isinstance(positive, np.ndarray):
            if positive.ndim != negative.ndim:
                raise ValueError(
                    f"positive scores of shape {positive.shape} do not go with "
                    f"negative ones of shape {negative.shape}"
                )
            if not self._active:
                _check_finite(positive, "positive")
                _check_finite(negative, "negative")
        return super().forward(positive, negative)

    def hybrid_forward(self, F, positive, negative):
        """Weigh, average and sum the losses of the single pairs."""
        loss = self.of_distance(F, positive - negative)
        if self._weight is not None:
            loss = loss * self._weight
        loss = F.np.swapaxes(loss, 0, self._batch_axis)
        loss = F.npx.reshape(loss, (-2, -1)).mean(axis=1)
        return F.np.sum(loss, axis=0, keepdims=True)


class BPRLoss(_PairwiseLoss):
    """Bayesian personalized ranking loss: ``-sum ln sigmoid(positive - negative)``.

    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI
    2009. Section: ``ranking``. Differs from the book: right for every finite distance,
    where the logarithm of a sigmoid overflows at -88.7 (E18); `weight` and `batch_axis`
    count (E19).
    """

    def of_distance(self, F, distance):
        """Return ln(1 + exp(-distance)); at 0, too, the gradient is right: -1/2."""
        size = F.np.abs(distance)
        return F.np.log1p(F.np.exp(-size)) + (size - distance) / 2


class HingeLossbRec(_PairwiseLoss):
    """Hinge loss for ranking: ``sum max(margin - positive + negative, 0)``.

    `margin` may be given here or, as in the book, in the call. Section: ``ranking``.
    Differs from the book: `weight`, `batch_axis` and a `margin` of one's own count in
    `train_ranking` as well (E19).
    """

    def __init__(
        self,
        weight: Optional[float] = None,
        batch_axis: int = 0,
        margin: float = 1,
        **kwargs,
    ):
        super().__init__(weight, batch_axis, **kwargs)
        self.margin = margin

    def __call__(self, positive, negative, margin: Optional[float] = None):
        """Return the loss, of shape (1,); `margin` overrides the constructor's."""
        if margin is None or margin == self.margin:
            return super().__call__(positive, negative)
        return HingeLossbRec(self._weight, self._batch_axis, margin)(positive, negative)

    def of_distance(self, F, distance):
        """Return max(margin - distance, 0)."""
        return F.npx.relu(self.margin - distance)


def _check_finite(scores, name):
    if not numpy.isfinite(scores.asnumpy()).all():
        raise NonFiniteLoss(f"{name} scores must be finite; they are not")
