"""Evaluate a sample of the users after each epoch, and all of them after the last."""

from typing import Any, Dict, Iterable, List

import numpy

from chapters.runner.run import Run
from d2l_recsys.engine.checkpoint import History
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.neumf import evaluate_ranking
from d2l_recsys.runtime.backend import gluon

HeldOut = Dict[int, List[int]]  # {user: [held-out items]}


def sample_users(run: Run, held_out: HeldOut, what: str) -> HeldOut:
    """Return the part of `held_out` that is evaluated after each epoch.

    The users are drawn with the seed of `run`. Their number is printed after `what`.
    With --eval-users all, or a number that is not below that of the users, `held_out`
    itself is returned.
    """
    number, users = run.args.eval_users, sorted(held_out)
    if number == "all" or number >= len(users):
        return held_out
    rng = numpy.random.default_rng(run.seed)
    chosen = numpy.sort(rng.choice(len(users), number, replace=False))
    print(f"{what}: {number} of {len(users)} users")
    return {users[place]: held_out[users[place]] for place in chosen}


def final_metrics(
    history: History,
    names: Iterable[str],
    tested: HeldOut,
    net: gluon.Block,
    test_iter: HeldOut,
    *arguments: Any,
) -> Dict[str, float]:
    """Return the metrics of the kept epoch, with test metrics of all users.

    `tested` holds the users that were tested after each epoch. If they are only some of
    those in `test_iter`, all are tested now, and the result is printed. The other
    arguments are those of ``evaluate_ranking``.
    """
    metrics = {name: kept_epoch(history)[name] for name in names}
    if tested is not test_iter:
        found = evaluate_ranking(net, test_iter, *arguments)
        metrics.update(test_hit_rate=found.hit_rate, test_auc=found.auc)
        print(
            f"all {len(test_iter)} users: test hit rate {found.hit_rate:.3f}, "
            f"test AUC {found.auc:.3f}"
        )
    return metrics
