"""Neural collaborative filtering for personalized ranking. Section: ``neumf``."""

from functools import reduce
from operator import add
from typing import Callable, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy

from d2l_recsys.data.ids import id_pairs, single_items
from d2l_recsys.data.interactions import Interactions, num_users_of
from d2l_recsys.data.sampling import Candidates, NegativeSampler
from d2l_recsys.engine import metrics
from d2l_recsys.engine.batching import side_by_side
from d2l_recsys.engine.checkpoint import Checkpoint
from d2l_recsys.engine.full_ranking import PAIRS, check_sizes, held_out_ranks
from d2l_recsys.engine.loop import History, examples_per_sec, fit, make_step
from d2l_recsys.runtime.backend import gluon, mx, nn, np, npx
from d2l_recsys.runtime.devices import devices_of


class NeuMF(nn.HybridBlock):
    """Neural matrix factorization: ``h . [p_u * q_i ; mlp([u_u ; v_i])]``.

    `nums_hiddens` are the sizes of the MLP's layers; ``[]`` leaves the MLP branch out
    (GMF alone), ``gmf=False`` the other one (MLP alone). Returns raw scores.

    Layers on top of two vectors stand as two, ``W [u ; v] = W_1 u + W_2 v``: so the
    user's half is computed once for all items, and nothing is copied together.

    He et al., "Neural collaborative filtering", WWW 2017. Section: ``neumf``. Differs
    from the book's classic edition: no sigmoid, under which BPR hardly trains (E20).
    """

    scores_lists = True  # item_id may be (B, n): scoring and train_ranking ask

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        nums_hiddens: Sequence[int],
        gmf: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not gmf and not nums_hiddens:
            raise ValueError("gmf=False and nums_hiddens=[] leave nothing of the model")
        self.gmf, self.nums_hiddens = gmf, list(nums_hiddens)
        self.num_users, self.num_items = num_users, num_items

        def dense(units, in_units, **kwargs):
            return nn.Dense(units, in_units=in_units, flatten=False, **kwargs)

        if gmf:
            self.P = nn.Embedding(num_users, num_factors)
            self.Q = nn.Embedding(num_items, num_factors)
            self.prediction_gmf = dense(1, num_factors, use_bias=False)
        if nums_hiddens:
            self.U = nn.Embedding(num_users, num_factors)
            self.V = nn.Embedding(num_items, num_factors)
            self.mlp_user = dense(nums_hiddens[0], num_factors, use_bias=False)
            self.mlp_item = dense(nums_hiddens[0], num_factors)
            self.mlp = nn.HybridSequential()
            for in_units, units in zip(nums_hiddens, nums_hiddens[1:]):
                self.mlp.add(dense(units, in_units, activation="relu"))
            self.prediction_mlp = dense(1, nums_hiddens[-1], use_bias=False)

    def forward(self, user_id, item_id):
        """Score pairs; a single user or item goes with all of the others."""
        return super().forward(*side_by_side(user_id, item_id))

    def hybrid_forward(self, F, user_id, item_id):
        """Score `item_id` (B,) or (B, n) for `user_id` (B,); return its shape."""
        users = F.np.expand_dims(user_id, 1)  # (B, 1)
        items = F.npx.reshape(item_id, (-2, -1))  # (B, n), n = 1 for flat ids
        scores = []  # (B, n, 1) each
        if self.gmf:
            scores.append(self.prediction_gmf(self.P(users) * self.Q(items)))
        if self.nums_hiddens:
            first = self.mlp_user(self.U(users)) + self.mlp_item(self.V(items))
            scores.append(self.prediction_mlp(self.mlp(F.npx.relu(first))))
        return F.npx.reshape_like(reduce(add, scores), item_id)

    def score_all(self, user_id):
        """Score all items for `user_id` (B,): return (B, num_items).

        What items bring along is computed once for all of `user_id`, which is faster.
        """
        scores, device = [], user_id.ctx
        if self.gmf:
            h, Q = (x.weight.data(device) for x in (self.prediction_gmf, self.Q))
            scores.append(np.dot(self.P(user_id) * h, Q.T))
        if self.nums_hiddens:
            users = self.mlp_user(np.expand_dims(self.U(user_id), 1))  # (B, 1, h)
            items = self.mlp_item(self.V.weight.data(device))  # (num_items, h)
            hidden = self.mlp(npx.relu(users + items))  # (B, num_items, h)
            scores.append(np.squeeze(self.prediction_mlp(hidden), axis=2))
        return reduce(add, scores)


class PRDataset(gluon.data.Dataset):
    """Pairs of a user and an item he had to do with, each with a negative item.

    ``dataset[i]`` is (user, item, negative item); an array of indices gives three int32
    arrays (n,). The negative is drawn afresh at each access, every item as likely that
    the user has not interacted with according to `candidates`, {user: [item, ...]}.

    With `test_items`, {user: [held-out item]}, no held-out item is drawn either: the
    protocol of the book's newest edition, which tells the model a little about the test
    set (E23). Without, the test set is not looked at.

    Raises ValueError naming a user who has no negative left, or the row of an item
    outside 0..num_items-1 or of a user beyond those of `candidates`.
    Section: ``neumf``.
    """

    def __init__(
        self,
        users: Sequence[int],
        items: Sequence[int],
        candidates: Candidates,
        num_items: int,
        test_items: Optional[Candidates] = None,
        seed: int = 0,
    ):
        num_users = max(num_users_of(candidates), num_users_of(test_items or {}))
        users, items = id_pairs(users, items, num_users, num_items)
        self.users, self.items = users.astype("int32"), items.astype("int32")
        self.sampler = NegativeSampler(
            candidates, num_users, num_items, test_items, seed
        )
        self.sampler.check(self.users)

    def __len__(self):
        return len(self.users)

    def __getitem__(self, index):
        users = self.users[index]
        return users, self.items[index], self.sampler.sample(users)


def hit_and_auc(
    rankedlist: Sequence[int], test_matrix: Sequence[int], k: int
) -> Tuple[int, float]:
    """Return the hits among the first `k` of one user's ranked items, and the AUC.

    `rankedlist` holds the items from best to worst, `test_matrix` the held-out one. The
    AUC is the share of the other items that follow it; it is 0 where it is missing, and
    1 where it is alone.

    Raises ValueError unless there is exactly one held-out item: of several, the book
    counts all hits but takes the AUC of the first (E29). Section: ``neumf``.
    """
    (item,) = single_items(
        {0: test_matrix}, 1, max(*test_matrix, *rankedlist, 0) + 1
    ).values()
    ranked = list(rankedlist)
    if item not in ranked:
        return 0, 0.0
    above = ranked.index(item)
    others = len(ranked) - 1
    return int(above < k), 1.0 - above / others if others else 1.0


class RankingScores(NamedTuple):
    """What :func:`evaluate_ranking` returns, in the book's order."""

    hit_rate: float
    auc: float


def evaluate_ranking(
    net: gluon.Block,
    test_input: Mapping[int, Sequence[int]],
    seq,
    candidates: Candidates,
    num_users: int,
    num_items: int,
    devices: Optional[Sequence[mx.Context]] = None,
    k: int = 50,
    ks: Optional[Sequence[int]] = None,
    pairs: int = PAIRS,
):
    """Rank each user's held-out item among all items that he has not seen.

    `test_input` is {user: [held-out item]}, `seq` an int array (num_users, L) or None,
    `candidates` {user: [items seen in training]}. Users without a held-out item do not
    count. Returns the hit rate at `k` and the AUC, means over users; with `ks` a third
    value: precision, recall, NDCG and MRR at each of them, by name.

    `pairs` is how many scores are computed at a time; it does not change the result.

    Raises ValueError naming a user with NaN scores, with other than one held-out item,
    or with one that he has seen in training.

    Differs from the book: all items are ranked (E27), an item that ties with the
    held-out one ranks before it (E28). Section: ``neumf``.
    """
    held_out = single_items(test_input, num_users, num_items)
    seen = Interactions.of(candidates, num_users, num_items)
    for user, item in held_out.items():
        if item in seen.of_user(user):
            raise ValueError(
                f"item {item} of user {user} is held out and seen in training: the "
                "split must keep them apart"
            )
    if not held_out:
        raise ValueError("test_input holds no user: there is nothing to rank")
    users, items = (numpy.array(list(x)) for x in (held_out, held_out.values()))
    devices = devices_of(net, devices)
    ranks, ranked = held_out_ranks(net, users, items, seq, seen, devices, pairs)
    result = RankingScores(metrics.hit_rate(ranks, k), metrics.auc(ranks, ranked))
    return (*result, metrics.ranking_metrics(ranks, ks)) if ks else result


def train_ranking(
    net: gluon.Block,
    train_iter,
    test_iter: Mapping[int, Sequence[int]],
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    test_seq_iter,
    num_users: int,
    num_items: int,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]],
    evaluator: Callable,
    candidates: Candidates,
    eval_step: int = 1,
    on_epoch: Optional[Callable[[History], None]] = None,
    checkpoint: Optional[Checkpoint] = None,
) -> History:
    """Train a ranking model on pairs, print the book's two lines, return the history.

    A training batch is [users (B,), [sequences (B, L),] items (B,), negatives (B,)];
    `test_iter` is no loader but {user: [held-out item]}, `test_seq_iter` an array
    (num_users, L) or None, passed to ``evaluator`` every `eval_step` epochs and after
    the last. Epochs without evaluation repeat the figures of the last one. `on_epoch`
    and `checkpoint` are those of ``training.fit``.

    The printed loss is the mean of the last epoch over pairs; the printed speed is
    pairs per second of training.

    Differs from the book: its printed loss sums running sums (E32), its speed sums
    times since the start, evaluation included (E31); the last epoch is always evaluated
    (E33); any batch size will do (E34); the history is returned. Section: ``neumf``.
    """
    if eval_step < 1:
        raise ValueError(f"eval_step must be at least 1, not {eval_step}")
    check_sizes(net, num_users, num_items)
    devices = devices_of(net, devices)

    def evaluate(epoch):
        if epoch % eval_step and epoch not in (1, num_epochs):
            return {}
        hit_rate, auc = evaluator(
            net, test_iter, test_seq_iter, candidates, num_users, num_items, devices
        )[:2]
        return {"test_hit_rate": float(hit_rate), "test_auc": float(auc)}

    step = make_step(_losses, net, loss)
    history = fit(
        net,
        train_iter,
        trainer,
        num_epochs,
        devices,
        step,
        evaluate,
        on_epoch=on_epoch,
        checkpoint=checkpoint,
    )
    print(
        "train loss {train_loss:.3f}, test hit rate {test_hit_rate:.3f}, "
        "test AUC {test_auc:.3f}".format(**history[-1])
    )
    print(f"{examples_per_sec(history):.1f} examples/sec on {devices}")
    return history


def _losses(F, net, loss, *piece):
    *context, positive, negative = piece
    positive = F.npx.reshape(positive, (-1,))  # SeqDataset's targets are (B, 1)
    if not getattr(net, "scores_lists", False):  # a reader's own net
        return loss(net(*context, positive), net(*context, negative))
    # One pass for both: half the calls, and a heavy user part computed once. A data
    # set of the reader's may have ids of two dtypes, floats among them.
    positive, negative = positive.astype("int32"), negative.astype("int32")
    if getattr(net, "heavy_user_part", False):
        scores = net(*context, F.np.stack([positive, negative], axis=1))
        return loss(scores[:, 0], scores[:, 1])
    twice = [F.np.concatenate([x, x], axis=0) for x in context]
    scores = net(*twice, F.np.concatenate([positive, negative], axis=0))
    scores = F.npx.reshape(scores, (2, -1))
    return loss(scores[0], scores[1])
