"""Neural collaborative filtering for personalized ranking. Section: ``neumf``."""

from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, Tuple

from d2l_recsys.data.ids import flat, id_pairs, single_items
from d2l_recsys.data.interactions import num_users_of
from d2l_recsys.data.sampling import Candidates, NegativeSampler, item_weights
from d2l_recsys.data.sizes import (
    MAX_SIZE,
    check_each_positive,
    check_rate,
    check_size,
)
from d2l_recsys.engine.all_items import AllItems, dense, hidden_layers_of, table
from d2l_recsys.engine.batching import WithNegatives
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.full_ranking import check_sizes, converted, rank_held_out
from d2l_recsys.engine.layers import JoinedDense, RankingModel
from d2l_recsys.engine.loop import Outputs, Step, fit
from d2l_recsys.engine.metrics import RankingScores, auc, hit_rate, ranking_metrics
from d2l_recsys.engine.pairs import pair_losses
from d2l_recsys.engine.snapshot import check_validation
from d2l_recsys.runtime.backend import gluon, mx, nn, np


class NeuMF(RankingModel):
    """Neural matrix factorization: ``h . [p_u * q_i ; mlp([u_u ; v_i])]``.

    `nums_hiddens` are the layer sizes of the MLP; `mlp_layers` is the first edition's
    name for them. ``nums_hiddens=[]`` leaves out the MLP branch (GMF alone).
    ``gmf=False`` leaves out the other branch (MLP alone). Each layer of the MLP is
    followed by dropout with rate `dropout`. Returns raw scores.

    He et al., "Neural collaborative filtering", WWW 2017. Section: ``neumf``. Differs
    from the book's later editions: scores have the shape of `item_id`, not (B, 1).
    Differs from the classic edition: no sigmoid, with which BPR hardly trains (E20).
    """

    def __init__(
        self,
        num_factors: int,
        num_users: int,
        num_items: int,
        nums_hiddens: Optional[Sequence[int]] = None,
        gmf: bool = True,
        dropout: float = 0.0,
        *,
        mlp_layers: Optional[Sequence[int]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_factors, num_users, num_items, **kwargs)
        if (nums_hiddens is None) == (mlp_layers is None):
            raise ValueError(
                "pass the sizes of the MLP's layers once: as nums_hiddens or as "
                "mlp_layers, its name in the first edition"
            )
        nums_hiddens = mlp_layers if nums_hiddens is None else nums_hiddens
        check_each_positive(nums_hiddens, "nums_hiddens")
        check_rate(dropout, "dropout")
        nums_hiddens = list(nums_hiddens or [])
        if not gmf and not nums_hiddens:
            raise ValueError("gmf=False and nums_hiddens=[] leave out both branches")
        self.gmf, self.nums_hiddens = gmf, nums_hiddens
        sizes = [num_factors] * gmf + self.nums_hiddens[-1:]  # outputs of the branches
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
        # One block for all layers: as parts of `mlp`, they would change its numbering.
        self.dropout = nn.Dropout(dropout)

    def hybrid_forward(self, F, user_id, item_id):
        """Score `item_id` (B,) or (B, n), in its shape, for users `user_id` (B,)."""
        users = F.np.expand_dims(user_id, 1)  # (B, 1)
        items = F.npx.reshape(item_id, (-2, -1))  # (B, n), n = 1 for flat ids
        branches = []
        if self.gmf:
            branches.append(self.P(users) * self.Q(items))
        if self.nums_hiddens:
            x = [self.U(users), self.V(items)]
            for layer in self.mlp:
                x = self.dropout(layer(x))
            branches.append(x)
        return F.npx.reshape_like(self.prediction_layer(branches), item_id)

    def all_items(self) -> AllItems:
        """Return a function that scores all items for many users."""
        h, product, hidden = dense(self.prediction_layer).weights(), None, None
        if self.gmf:
            product = table(self.P) * h[0], table(self.Q)
        if self.nums_hiddens:
            hidden = hidden_layers_of(self.U, self.V, self.mlp, h[-1])
        return AllItems(product, hidden)


class PRDataset(WithNegatives):
    """User-item interactions, each with a negative item.

    ``dataset[i]`` is (user, item, negative item). For n indices, it is three int32
    arrays (n,). Each access draws new negatives, uniformly from the items that
    `candidates`, {user: [item, ...]}, does not list for the user. With `test_items`,
    {user: [held-out item]}, held-out items are not drawn either. This is the protocol
    of the newest edition. It tells the model a little about the test set (E23). With
    ``negatives='popularity'``, an item's probability is proportional to the number of
    times it occurs in `items`. Each interaction appears `num_neg` times (1 in the
    book), each time with its own negative.

    Raises a ValueError that names a user without a possible negative item, or the row
    of an id that is out of range. Raises ValueError for unknown `negatives` or a
    `num_neg` below 1. Section: ``neumf``.
    """

    def __init__(
        self,
        users: Sequence[int],
        items: Sequence[int],
        candidates: Candidates,
        num_items: int,
        test_items: Optional[Candidates] = None,
        seed: int = 0,
        negatives: str = "uniform",
        num_neg: int = 1,
    ) -> None:
        super().__init__(num_neg)
        num_users = num_users_of(candidates)
        if test_items is not None:
            num_users = max(num_users, num_users_of(test_items, "test_items"))
        sizes = num_users, num_items
        pairs = id_pairs(users, items, *sizes)
        if not len(pairs[0]):
            raise ValueError("users and items are empty: there are no interactions")
        self.users, self.items = (ids.astype("int32") for ids in pairs)
        weights = item_weights(negatives, self.items, num_items)
        self.sampler = NegativeSampler(candidates, *sizes, test_items, seed, weights)
        self.columns = self.users, self.items
        self.sampler.check(self.users)


def hit_and_auc(
    rankedlist: Sequence[int], test_matrix: Sequence[int], k: int
) -> Tuple[int, float]:
    """Return the number of hits among one user's top `k` items, and the AUC.

    `rankedlist` holds the items from best to worst, `test_matrix` the held-out item.
    The AUC is the share of the other items that rank below it. If the held-out item is
    not in the list, the AUC is 0. If it is the only one, the AUC is 1.

    Raises ValueError unless there is exactly one held-out item. With several, the book
    counts all hits, but its AUC is that of the first (E29). Section: ``neumf``.
    """
    check_size(k, "k")
    ranked = flat({0: rankedlist}, "rankedlist")[1].tolist()
    (item,) = single_items({0: test_matrix}, 1, MAX_SIZE).values()
    if item not in ranked:
        return 0, 0.0
    above, others = ranked.index(item), len(ranked) - 1
    return int(above < k), 1.0 - above / others if others else 1.0


def evaluate_ranking(
    net: gluon.Block,
    test_input: Mapping[int, Sequence[int]],
    seq: Optional[np.ndarray],
    candidates: Candidates,
    num_users: int,
    num_items: int,
    devices: Optional[Sequence[mx.Context]] = None,
    k: int = 50,
    ks: Optional[Sequence[int]] = None,
) -> Tuple:
    """Rank each user's held-out items among all items that the user has not seen.

    `test_input` is {user: [held-out items]}, `seq` an int array (num_users, L) or None,
    and `candidates` {user: [items seen in training]}. Users without a held-out item do
    not count. Returns the means over users of the hit rate at `k` and the AUC. With
    `ks`, also returns precision, recall, NDCG, MRR and MAP at each cutoff, in a
    dictionary: see :func:`d2l_recsys.engine.metrics.ranking_metrics`.

    Raises ValueError that names a user whose scores are NaN, or who has seen a held-out
    item in training. Differs from the book: all items are ranked (E27), items that tie
    with a held-out one rank above it (E28), and a user with several held-out items
    counts as at most one hit, with the AUC over all pairs (E29). Section: ``neumf``.
    """
    check_size(k, "k")
    sizes = num_users, num_items
    ranks = rank_held_out(net, test_input, seq, candidates, sizes, devices)
    result = RankingScores(hit_rate(ranks, k), auc(ranks))
    return result if ks is None else (*result, ranking_metrics(ranks, ks))


def train_ranking(
    net: gluon.Block,
    train_iter: Iterable,
    test_iter: Optional[Mapping[int, Sequence[int]]],
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    test_seq_iter: Optional[np.ndarray],
    num_users: int,
    num_items: int,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]],
    evaluator: Callable,
    candidates: Candidates,
    eval_step: int = 1,
    on_epoch: Optional[Callable[[History], None]] = None,
    checkpoint: Optional[Checkpoint] = None,
    valid: Optional[Tuple] = None,
) -> History:
    """Train a ranking model, print the book's two lines and return the history.

    A training batch is [users (B,), [sequences (B, L),] items (B,), negatives (B,)].
    `test_iter`, `test_seq_iter` and `candidates` are the second to fourth arguments of
    the `evaluator`, which is called after the first epoch, every `eval_step` epochs and
    the last. Without `test_iter`, there is no test. With `valid`, these arguments for a
    validation set, the net ends with the parameters of the epoch with the highest AUC
    on it, and the metrics of this epoch are printed.

    The printed loss is the mean over the last epoch's pairs. The speed is pairs per
    second of training. After each epoch, `checkpoint` saves it and
    ``on_epoch(history)`` is run.

    If the evaluator is :func:`evaluate_ranking`, its arguments are checked and
    converted once, before training. So its errors come at once, and later changes to
    the arguments have no effect.

    Differs from the book: the printed loss does not sum running sums (E32), the speed
    is that of training alone (E31), the last epoch is always evaluated (E33), batches
    may have any size (E34), and the history is returned. Section: ``neumf``.
    """
    check_size(eval_step, "eval_step")
    check_validation(valid, checkpoint=checkpoint)
    check_sizes(net, num_users, num_items)
    step = Step(net, loss, devices, pair_losses)
    sizes = num_users, num_items
    tests: Dict[str, Tuple] = {}
    given = {"test": (test_iter, test_seq_iter, candidates), "valid": valid}
    for name, test in given.items():
        if test is not None and test[0] is not None:
            # Converting dictionaries takes long, so it happens only once.
            ours = evaluator is evaluate_ranking
            tests[name] = converted(net, test, sizes) if ours else test

    def evaluate(entry: Dict[str, float], _: Outputs) -> Dict[str, float]:
        metrics: Dict[str, float] = {}
        if entry["epoch"] % eval_step and entry["epoch"] not in (1, num_epochs):
            return metrics
        for name, test in tests.items():
            hit_rate, auc, *_ = evaluator(net, *test, *sizes, step.devices)
            metrics[f"{name}_hit_rate"] = float(hit_rate)
            metrics[f"{name}_auc"] = float(auc)
        return metrics

    labels = {
        "train_loss": "train loss",
        "test_hit_rate": "test hit rate",
        "test_auc": "test AUC",
    }
    hooks = on_epoch, checkpoint
    return fit(step, train_iter, trainer, num_epochs, evaluate, labels, *hooks)
