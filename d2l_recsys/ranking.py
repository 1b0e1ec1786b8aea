"""Pairwise losses for personalized ranking: BPR and hinge. Section: ``ranking``."""

from typing import Any, Optional

import numpy

from d2l_recsys.engine.errors import NonFiniteLoss
from d2l_recsys.runtime.backend import gluon, np


class _PairwiseLoss(gluon.loss.Loss):
    """A loss that depends on the difference of positive and negative scores.

    As in the book, it is the sum over the batch. As in Gluon's losses, it is multiplied
    by `weight` and averaged over all axes except `batch_axis`.
    """

    def __init__(
        self, weight: Optional[float] = None, batch_axis: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(weight=weight, batch_axis=batch_axis, **kwargs)

    def forward(self, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
        """Return the loss, of shape (1,), of two arrays of scores, (B,) or (B, ...).

        Raises ValueError if the shapes do not fit together, and NonFiniteLoss, a
        ValueError, if a score is NaN or infinite. When hybridized, the loss is NaN or
        infinite instead, and the training loop raises the error.
        """
        if isinstance(positive, np.ndarray):
            pairs = zip(positive.shape, negative.shape)
            fit = all(1 in pair or pair[0] == pair[1] for pair in pairs)
            if positive.ndim != negative.ndim or not fit:
                raise ValueError(
                    "positive and negative scores must have the same number of axes, "
                    "and the same length or length 1 in each: their shapes are "
                    f"{positive.shape} and {negative.shape}"
                )
            if not self._active:
                _check_finite(positive, "positive")
                _check_finite(negative, "negative")
        return super().forward(positive, negative)

    def hybrid_forward(self, F, positive, negative):
        """Weight, average and sum the losses of the pairs."""
        loss = self.of_distance(F, positive - negative)
        if self._weight is not None:
            loss = loss * self._weight
        loss = F.np.swapaxes(loss, 0, self._batch_axis)
        loss = F.npx.reshape(loss, (-2, -1)).mean(axis=1)
        return F.np.sum(loss, axis=0, keepdims=True)


class BPRLoss(_PairwiseLoss):
    """Bayesian personalized ranking loss: ``-sum ln sigmoid(positive - negative)``.

    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI
    2009. Section: ``ranking``. Differs from the book: the loss is correct for every
    finite difference of scores, whereas the logarithm of a sigmoid overflows below
    -88.7 (E18). `weight` and `batch_axis` take effect (E19).
    """

    def of_distance(self, F, distance):
        """Return ln(1 + exp(-distance)). Its gradient at 0 is correct, too: -1/2."""
        size = F.np.abs(distance)
        return F.np.log1p(F.np.exp(-size)) + (size - distance) / 2


class HingeLossbRec(_PairwiseLoss):
    """Hinge loss for ranking: ``sum max(margin - positive + negative, 0)``.

    The margin can be set here or, as in the book, in the call. Section: ``ranking``.
    Differs from the book: the loss has the shape (1,), as the BPR loss has, not ();
    `weight` and `batch_axis` take effect, and ``train_ranking`` can use any margin
    (E19).
    """

    def __init__(
        self,
        weight: Optional[float] = None,
        batch_axis: int = 0,
        margin: float = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self.margin = margin

    def __call__(
        self,
        positive: np.ndarray,
        negative: np.ndarray,
        margin: Optional[float] = None,
    ) -> np.ndarray:
        """Return the loss, of shape (1,). `margin` overrides that of the instance."""
        if margin is None or margin == self.margin:
            return super().__call__(positive, negative)
        return HingeLossbRec(self._weight, self._batch_axis, margin)(positive, negative)

    def of_distance(self, F, distance):
        """Return max(margin - distance, 0)."""
        return F.npx.relu(self.margin - distance)


def _check_finite(scores: np.ndarray, name: str) -> None:
    if not numpy.isfinite(scores.asnumpy()).all():
        raise NonFiniteLoss(f"some {name} scores are NaN or infinite")
