"""Sequence-aware recommendation: Caser and its data set. Section: ``seqrec``."""

from typing import Any, Optional, Sequence, Tuple

import numpy

from d2l_recsys.data.interactions import Interactions
from d2l_recsys.data.sampling import Candidates, NegativeSampler, item_weights
from d2l_recsys.data.sizes import check_positive, check_rate, check_size
from d2l_recsys.engine.all_items import AllItems, table, with_ones
from d2l_recsys.engine.batching import WithNegatives
from d2l_recsys.engine.columns import (
    ColumnDense,
    HorizontalConv,
    HorizontalConvs,
    VerticalConv,
)
from d2l_recsys.engine.layers import PaddedEmbedding, RankingModel
from d2l_recsys.runtime.backend import mx, nn, np


class Caser(RankingModel):
    """Convolutional sequence embedding recommendation.

    The embeddings of the last `L` items form an image of size (L, k). It passes through
    `d_prime` vertical filters of size (L, 1) and, for each height h from 1 to L, `d`
    horizontal filters of size (h, k) with ReLU and max over time. A dense layer turns
    their d' k + d L outputs into z of size k. The score is ``v_i . [z ; p_u] + b_i``.
    ``d=0`` or ``d_prime=0`` leaves out a branch. If both are 0, there is no z, either.
    In a sequence, the id `num_items` is padding, embedded as a zero vector.

    Tang and Wang, "Personalized top-n sequential recommendation via convolutional
    sequence embedding", WSDM 2018. Section: ``seqrec``. Differs from the book: a branch
    can be left out (E37), and short sequences are padded (E38).
    """

    takes = ("user_id", "seq", "item_id")

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        L: int = 5,
        d: int = 16,
        d_prime: int = 4,
        drop_ratio: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_factors, num_users, num_items, **kwargs)
        check_positive(L=L)
        check_size(d, "d", 0)
        check_size(d_prime, "d_prime", 0)
        check_rate(drop_ratio, "drop_ratio")
        self.L, self.d, self.d_prime = L, d, d_prime
        self.P = nn.Embedding(num_users, num_factors)
        outputs = d_prime * num_factors, d * L  # of the vertical, horizontal filters
        branches = [n for n in outputs if n]
        if branches:
            self.Q = PaddedEmbedding(num_items, num_factors)
        if d_prime:
            self.conv_v = VerticalConv(d_prime, L, num_factors)
        if d:
            self.conv_h = HorizontalConvs()
            for h in range(1, L + 1):
                self.conv_h.add(HorizontalConv(d, h, num_factors, L))
        if branches:
            self.fc = ColumnDense(num_factors, branches)
        self.Q_prime = nn.Embedding(num_items, num_factors * (2 if branches else 1))
        self.b = nn.Embedding(num_items, 1)
        self.dropout = nn.Dropout(drop_ratio)

    def forward(
        self, user_id: np.ndarray, seq: np.ndarray, item_id: np.ndarray
    ) -> np.ndarray:
        """Return the scores. A single user and sequence is used for all items."""
        self._check(seq)
        return super().forward(user_id, seq, item_id)

    def _check(self, seq: np.ndarray) -> None:
        if isinstance(seq, np.ndarray) and seq.shape[1:] != (self.L,):
            raise ValueError(
                f"seq has shape {seq.shape}, not (B, {self.L}): use the same L for the "
                "net and the SeqDataset"
            )

    def hybrid_forward(self, F, user_id, seq, item_id):
        """Score `item_id` (B,) or (B, n), in its shape.

        `user_id` has shape (B,), and `seq`, the users' latest items, (B, L).
        """
        x = F.np.expand_dims(self.user_part(F, user_id, seq), 2)
        items = F.npx.reshape(item_id, (-2, -1))  # (B, n), n = 1 for flat ids
        scores = F.npx.batch_dot(self.Q_prime(items), x)
        return F.npx.reshape_like(scores + self.b(items), item_id)

    def user_part(self, F, user_id, seq):
        """Return ``[z ; p_u]`` (B, 2k), or p_u alone if there are no filters."""
        user_emb = self.P(user_id)  # (B, k)
        out = []
        if self.d or self.d_prime:  # each image (L, k) as a column
            images = F.np.transpose(F.npx.batch_flatten(self.Q(seq)), (1, 0))
        if self.d_prime:
            out.append(self.conv_v(images))  # (d' * k, B)
        if self.d:
            out.append(self.conv_h(images))  # (d * L, B)
        if not out:  # add zeros, because MXNet warns about an input without any effect
            return user_emb + F.np.zeros_like(F.npx.slice(seq, (None, 0), (None, 1)))
        z = self.fc([self.dropout(x) for x in out])  # (k, B)
        # MXNet joins columns four times as fast as rows.
        both = F.np.concatenate([z, F.np.transpose(user_emb)], axis=0)
        return F.np.transpose(both)

    def all_items(self) -> AllItems:
        """Return a function that scores all items for many users."""
        ctx = self.P.weight.list_ctx()[0]

        def x(*ids: numpy.ndarray) -> numpy.ndarray:
            user_id, seq = (np.array(i, ctx=ctx) for i in ids)
            self._check(seq)
            return with_ones(self.user_part(mx.nd, user_id, seq).asnumpy())

        return AllItems((x, numpy.hstack([table(self.Q_prime), table(self.b)])))


class SeqDataset(WithNegatives):
    """Windows of `L` items of a user, the item that follows, and a negative item.

    ``dataset[i]`` is (user, items (L,), target (1,), negative item). For n indices, it
    is int32 arrays (n,), (n, L), (n, 1) and (n,). The windows of a user are ordered
    from newest to oldest. With ``L=5`` and eight items::

        a b c d e f g h     from oldest to newest; h is held out
        . . c d e f g       test_seq: the items before h
        . b c d e f>g       the first window and its target
        a b c d e>f         the second and last window

    A history of at most L items gives one window, padded on the left with the id
    `num_items`. `test_seq`, int32 (num_users, L), holds the latest items of each user.

    `user_ids` and `item_ids` (n,) are sorted by time for each user. `candidates`,
    `test_items`, `negatives` and `num_neg` determine the negatives as in
    :class:`d2l_recsys.neumf.PRDataset`.

    Raises ValueError if L or `num_neg` is below 1, if a user has no history or no
    possible negative item, or for unknown `negatives`. Section: ``seqrec``. Differs
    from the book: short histories neither crash nor contain their target in the input
    (E38), ids are integers (E39), and `test_seq` is a NumPy array.
    """

    def __init__(
        self,
        user_ids: Sequence[int],
        item_ids: Sequence[int],
        L: int,
        num_users: int,
        num_items: int,
        candidates: Candidates,
        test_items: Optional[Candidates] = None,
        seed: int = 0,
        negatives: str = "uniform",
        num_neg: int = 1,
    ) -> None:
        super().__init__(num_neg)
        check_positive(L=L, num_users=num_users, num_items=num_items)
        history = Interactions(user_ids, item_ids, num_users, num_items)
        self.seq_users, windows = _windows(history, L)
        self.test_seq = history.latest(L)
        self.seq_items, self.seq_tgt = windows[:, :L], windows[:, L:]
        weights = item_weights(negatives, history.items, num_items)
        self.sampler = NegativeSampler(
            candidates, num_users, num_items, test_items, seed, weights
        )
        self.columns = self.seq_users, self.seq_items, self.seq_tgt
        self.sampler.check(self.seq_users)


def _windows(history: Interactions, L: int) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return users (n,) and their windows (n, L + 1)."""
    counts = history.counts
    empty = numpy.flatnonzero(counts == 0)
    if len(empty):
        raise ValueError(
            f"user {empty[0]} (counted from 0) has no history: leave out such users, "
            "and number the others without gaps"
        )
    # With padding of length L before each user's items, every window fits.
    size = len(history) + L * history.num_users
    padded = numpy.full(size, history.num_items, dtype="int32")
    padded[numpy.arange(len(history)) + L * (history.users + 1)] = history.items
    end = history.offsets[1:] + L * numpy.arange(1, history.num_users + 1)
    number = numpy.maximum(counts - L, 1)
    users = numpy.repeat(numpy.arange(history.num_users, dtype="int32"), number)
    nth = numpy.arange(len(users)) - numpy.repeat(numpy.cumsum(number) - number, number)
    last = end[users] - 1 - nth  # the position of each window's target
    windows = numpy.lib.stride_tricks.sliding_window_view(padded, L + 1)
    return users, windows[last - L]
