"""Neural collaborative filtering for personalized ranking. Section: ``neumf``."""

from typing import Callable, Mapping, Optional, Sequence, Tuple

from d2l_recsys.data.ids import id_pairs, single_items
from d2l_recsys.data.interactions import num_users_of
from d2l_recsys.data.sampling import Candidates, NegativeSampler
from d2l_recsys.engine.batching import WithNegatives
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.full_ranking import check_sizes, rank_held_out
from d2l_recsys.engine.layers import JoinedDense, RankingModel
from d2l_recsys.engine.loop import Step, fit
from d2l_recsys.engine.metrics import RankingScores, auc, hit_rate, ranking_metrics
from d2l_recsys.engine.pairs import pair_losses
from d2l_recsys.runtime.backend import gluon, mx, nn


class NeuMF(RankingModel):
    """Neural matrix factorization: ``h . [p_u * q_i ; mlp([u_u ; v_i])]``.

    `nums_hiddens` are the sizes of the MLP's layers; ``[]`` leaves the MLP branch out
    (GMF alone), ``gmf=False`` the other one (MLP alone). Returns raw scores.

    He et al., "Neural collaborative filtering", WWW 2017. Differs from the book's
    classic edition: no sigmoid, under which BPR hardly trains (E20).
    Section: ``neumf``.
    """

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
        self.num_users, self.num_items = num_users, num_items
        self.gmf, self.nums_hiddens = gmf, list(nums_hiddens)
        sizes = [num_factors] * gmf + self.nums_hiddens[-1:]  # what is predicted from
        if gmf:
            self.P = nn.Embedding(num_users, num_factors)
            self.Q = nn.Embedding(num_items, num_factors)
        if nums_hiddens:
            self.U = nn.Embedding(num_users, num_factors)
            self.V = nn.Embedding(num_items, num_factors)
            self.mlp = nn.HybridSequential()
            self.mlp.add(JoinedDense(nums_hiddens[0], [num_factors] * 2, "relu"))
            for size, units in zip(nums_hiddens, nums_hiddens[1:]):
                self.mlp.add(nn.Dense(units, "relu", flatten=False, in_units=size))
        self.prediction_layer = JoinedDense(1, sizes, use_bias=False)

    def hybrid_forward(self, F, user_id, item_id):
        """Score `item_id` (B,) or (B, n) for `user_id` (B,); return its shape."""
        users = F.np.expand_dims(user_id, 1)  # (B, 1)
        items = F.npx.reshape(item_id, (-2, -1))  # (B, n), n = 1 for flat ids
        branches = []
        if self.gmf:
            branches.append(self.P(users) * self.Q(items))
        if self.nums_hiddens:
            branches.append(self.mlp([self.U(users), self.V(items)]))
        return F.npx.reshape_like(self.prediction_layer(branches), item_id)


class PRDataset(WithNegatives):
    """Pairs of a user and an item of theirs, each with a negative item.

    ``dataset[i]`` is (user, item, negative item); an array of indices gives three int32
    arrays (n,). The negative is drawn at each access, uniformly from the items that
    `candidates`, {user: [item, ...]}, does not list for the user. With `test_items`,
    {user: [held-out item]}, held-out items are not drawn either: the protocol of the
    newest edition, which tells the model a little about the test set (E23).

    Raises ValueError naming a user who has no negative left, or the row of an id out of
    range. Section: ``neumf``.
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
        sizes = num_users, num_items
        users, items = id_pairs(users, items, *sizes)
        self.users, self.items = users.astype("int32"), items.astype("int32")
        self.sampler = NegativeSampler(candidates, *sizes, test_items, seed)
        self.columns = self.users, self.items
        self.sampler.check(self.users)


def hit_and_auc(
    rankedlist: Sequence[int], test_matrix: Sequence[int], k: int
) -> Tuple[int, float]:
    """Return the hits among the first `k` of one user's ranked items, and the AUC.

    `rankedlist` holds the items from best to worst, `test_matrix` the held-out one. The
    AUC is the share of the other items that follow it: 0 where it is missing, 1 where
    it is alone.

    Raises ValueError unless there is exactly one held-out item: of several, the book
    counts all hits but takes the AUC of the first (E29). Section: ``neumf``.
    """
    num_items = max(*test_matrix, *rankedlist, 0) + 1
    (item,) = single_items({0: test_matrix}, 1, num_items).values()
    ranked = list(rankedlist)
    if item not in ranked:
        return 0, 0.0
    above, others = ranked.index(item), len(ranked) - 1
    return int(above < k), 1.0 - above / others if others else 1.0


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
):
    """Rank each user's held-out item among all items that the user has not seen.

    `test_input` is {user: [held-out item]}, `seq` an int array (num_users, L) or None,
    `candidates` {user: [items seen in training]}. Users without a held-out item do not
    count. Returns the hit rate at `k` and the AUC, means over users; with `ks` a third
    value: precision, recall, NDCG and MRR at each of them, by name.

    Raises ValueError naming a user with NaN scores, without exactly one held-out item,
    or with one that was seen in training. Differs from the book: all items are ranked
    (E27), an item that ties with the held-out one ranks before it (E28).
    Section: ``neumf``.
    """
    sizes = num_users, num_items
    ranks, ranked = rank_held_out(net, test_input, seq, candidates, sizes, devices)
    result = RankingScores(hit_rate(ranks, k), auc(ranks, ranked))
    return (*result, ranking_metrics(ranks, ks)) if ks else result


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
    `test_iter` is {user: [held-out item]} and `test_seq_iter` an array (num_users, L)
    or None. The `evaluator` gets both every `eval_step` epochs and after the last. The
    printed loss is the mean of the last epoch over pairs, the speed pairs per second of
    training. ``on_epoch(history)`` is called after each epoch; `checkpoint` saves it.

    Differs from the book: its printed loss sums running sums (E32), its speed sums
    times since the start, evaluation included (E31); the last epoch is always evaluated
    (E33); any batch size will do (E34); the history is returned. Section: ``neumf``.
    """
    if eval_step < 1:
        raise ValueError(f"eval_step must be at least 1, not {eval_step}")
    check_sizes(net, num_users, num_items)
    step = Step(net, loss, devices, pair_losses)

    def evaluate(entry, _):
        if entry["epoch"] % eval_step and entry["epoch"] not in (1, num_epochs):
            return {}
        test = test_iter, test_seq_iter, candidates, num_users, num_items
        scores = evaluator(net, *test, step.devices)
        return {"test_hit_rate": float(scores[0]), "test_auc": float(scores[1])}

    hooks = on_epoch, checkpoint
    return fit(step, train_iter, trainer, num_epochs, evaluate, _line, *hooks)


def _line(history):
    line = "train loss {train_loss:.3f}, test hit rate {test_hit_rate:.3f}"
    return (line + ", test AUC {test_auc:.3f}").format(**history[-1])
