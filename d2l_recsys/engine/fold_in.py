"""Fold in a new user: fit the user's part of a model, with the items' part fixed.

The user's part starts at the mean over the training users, which is the best guess
without a history. A few steps of Adam then fit it to the history.
"""

from typing import Any, Callable, Optional, Sequence

import numpy

from d2l_recsys.data.sampling import NegativeSampler
from d2l_recsys.runtime.backend import autograd, gluon, np

USER_TABLES = ("P", "U", "user_bias")  # the book's names of what a user has
# Measured on MovieLens 100K, against the vectors of the trained users.
_STEPS, _RATE_OF_BPR, _RATE_OF_RATINGS = 50, 0.05, 0.02
_RATE_OF_DECODER = 0.25  # divided by the number of hidden units, which add up
_NEGATIVES = 256  # drawn for each step


def with_new_user(
    net: gluon.Block, items: numpy.ndarray, ratings: Optional[numpy.ndarray] = None
) -> gluon.Block:
    """Return a copy of `net`, a ranking model, with a single user who has `items`.

    With `ratings` of the items, both (n,), the squared error is minimized, otherwise
    the BPR loss. For Caser, the user gets a zero vector, because the sequence has the
    history.
    """
    one = type(net)(**{**net.arguments, "num_users": 1})
    trained = net._collect_params_with_prefix()
    parameters, device = one._collect_params_with_prefix(), None
    fitted = []
    for name, parameter in parameters.items():
        values = trained[name].list_data()[0]
        device = values.ctx
        if name.split(".")[0] in USER_TABLES:
            values = values.mean(axis=0, keepdims=True)
            fitted.append(parameter)
        else:
            parameter.grad_req = "null"
        parameter.initialize(ctx=device)
        parameter.set_data(values)
    if hasattr(net, "L"):
        one.P.weight.set_data(np.zeros_like(one.P.weight.data()))
        return one
    user = np.zeros(1, dtype="int32", ctx=device)

    def scores(chosen: numpy.ndarray) -> np.ndarray:
        return one(user, np.array(chosen[None].astype("int32"), ctx=device))[0]

    if ratings is not None:
        labels = np.array(ratings, ctx=device)
        _fit(
            fitted,
            lambda: np.square(scores(items) - labels).mean(),
            _RATE_OF_RATINGS,
        )
        return one
    logistic = gluon.loss.SigmoidBCELoss()
    sampler = NegativeSampler({0: items.tolist()}, 1, net.num_items)
    sampler.check(numpy.zeros(1, dtype="int32"))

    def bpr() -> np.ndarray:
        negatives = sampler.sample(numpy.zeros(_NEGATIVES, dtype="int32"))
        both = scores(numpy.concatenate([items, negatives]))
        distance = both[: len(items), None] - both[None, len(items) :]
        # The BPR loss of a pair is the logistic loss of its distance with label 1.
        return logistic(distance, np.ones_like(distance)).mean()

    _fit(fitted, bpr, _RATE_OF_BPR)
    return one


def decoded_for_new_user(
    net: gluon.Block, hidden: numpy.ndarray, items: numpy.ndarray, ratings: Any
) -> numpy.ndarray:
    """Return the scores (num_items,) of an item-based AutoRec for a new user.

    `hidden` (num_items, h) is the input of the last layer for each item. This layer has
    a row of weights for each user. A new row is fitted to the `ratings` of `items`.
    """
    last = last_layer(net)
    weight, bias = (p.list_data()[0] for p in (last.weight, last.bias))
    layer = gluon.nn.Dense(1, activation=None, in_units=hidden.shape[1])
    layer.initialize(ctx=weight.ctx)
    layer.weight.set_data(weight.mean(axis=0, keepdims=True))
    layer.bias.set_data(bias.mean(keepdims=True))
    labels = np.array(ratings, ctx=weight.ctx)
    inputs = np.array(hidden[items], ctx=weight.ctx)

    def outputs(x: np.ndarray) -> np.ndarray:
        out = layer(x)[:, 0]
        return out if last.act is None else last.act(out)

    _fit(
        list(layer.collect_params().values()),
        lambda: np.square(outputs(inputs) - labels).mean(),
        _RATE_OF_DECODER / hidden.shape[1],
    )
    return outputs(np.array(hidden, ctx=weight.ctx)).asnumpy()


def last_layer(net: gluon.Block) -> gluon.Block:
    """Return the last layer of an AutoRec's decoder."""
    last = net.decoder
    return last[-1] if isinstance(last, gluon.nn.HybridSequential) else last


def _fit(
    parameters: Sequence[gluon.Parameter],
    loss: Callable[[], np.ndarray],
    learning_rate: float,
) -> None:
    trainer = gluon.Trainer(parameters, "adam", {"learning_rate": learning_rate})
    for _ in range(_STEPS):
        with autograd.record(train_mode=False):
            value = loss()
        value.backward()
        trainer.step(1)
