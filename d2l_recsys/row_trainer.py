"""Adam's steps on those rows of large embedding tables that a batch names."""

from typing import Dict, Sequence, Tuple

import numpy

from d2l_recsys.backend import gluon, mx, nn, np

MISSED_STEPS = 2**17  # a row that missed more is held to have missed so many


class CatchUp(nn.HybridBlock):
    """What Adam would have done to rows meanwhile, while their gradients were zero."""

    def __init__(self, adam):
        super().__init__()
        self.epsilon = adam.epsilon

    def hybrid_forward(self, F, weight, mean, variance, ids, left, moved):
        """Return weight, mean and variance (n, k) of now of the rows `ids` of tables.

        ``left`` (n, 2) is what is left of mean and variance. ``moved`` (n, 1) is how
        far the weight went, in units of its Adam step, on what was left of the mean.
        """
        weight, mean, variance = (
            F.np.take(table, ids, axis=0, mode="clip")
            for table in (weight, mean, variance)
        )
        step = moved * mean / (F.np.sqrt(variance) + self.epsilon)
        return weight - step, left[:, :1] * mean, left[:, 1:] * variance


class RowTrainer(gluon.Trainer):
    """Adam for large tables: a step costs what the batch does, not the tables.

    gluon's Trainer works on every row at every step, after MXNet has filled every row
    of the gradient with zeros. Here a row is left alone until a batch names it. Then it
    catches up on the steps that it missed, all at once, as if they had had no gradient
    (:class:`CatchUp`): only weight decay, which is one, acts on a row but at the steps
    that name it. All other parameters are trained as by gluon.

    The tables are those children of `net` that are embeddings. Its attribute
    ``user_tables`` names those with a row for each user; the others have one for each
    item. Raises ValueError where tables of a kind differ in their number of rows.

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    def __init__(self, net: gluon.HybridBlock, optimizer_params: dict):
        super().__init__(
            net.collect_params(), "adam", optimizer_params, update_on_kvstore=False
        )
        numbers = {id(parameter): n for n, parameter in enumerate(self._params)}
        self._kind, self._rows = {}, {}  # of a table by number, of either kind
        for name, table in tables_of(net).items():
            # Added to what is there: nobody fills the whole gradient with zeros.
            table.weight.grad_req = "add"
            kind = "user" if name in net.user_tables else "item"
            self._kind[numbers[id(table.weight)]] = kind
            rows = table.weight.shape[0]
            if self._rows.setdefault(kind, rows) != rows:
                raise ValueError(
                    f"{name} has {rows} rows, another {kind} table has not"
                )
        self._last = {}  # the step at which each row of a kind was worked on
        self._rows_of = {}  # the next step's, of each table: ids, weights, moments
        self._left, self._moved = (np.array(x) for x in lags(self._optimizer))
        self._catch_up = CatchUp(self._optimizer)
        self._catch_up.hybridize(static_alloc=True)

    def touch(self, batch: Sequence[np.ndarray]) -> None:
        """Let the rows of the next batch catch up, before the net is called with it.

        Users (B,) stand first in `batch`, items in all other arrays of integers. Ids
        without a row are clipped, as by embeddings. ``training.fit`` calls this.
        """
        if not self._last:  # what a training that was broken off left there
            for number in self._kind:
                for slope in self._params[number].list_grad():
                    slope[:] = 0
        users, *others = batch
        items = [x.reshape(-1) for x in others if "int" in str(x.dtype)]
        for kind, ids in (("user", users), ("item", np.concatenate(items))):
            ids = np.clip(ids, 0, self._rows[kind] - 1)
            lag = self._lag(kind, ids)
            step = np.full_like(ids, self._optimizer.num_update + 1)
            _put(self._last[kind], ids, step)
            for number in (n for n, k in self._kind.items() if k == kind):
                self._rows_of[number] = [
                    self._caught_up(number, updater, weight, ids, lag)
                    for updater, weight in self._copies(number)
                ]

    def _caught_up(self, number, updater, weight, ids, lag):
        """Return ids, weights and moments of rows; put the weights into their table."""
        ids, *lag = (x.as_in_ctx(weight.ctx) for x in (ids, *lag))
        tables = [weight, *self._moments(updater, number, weight)]
        rows = self._catch_up(*tables, ids, *lag)
        _put(weight, ids, rows[0])
        return (ids, *rows)

    def _copies(self, number):
        """Return the updater and the weights of a parameter on each device."""
        return zip(self._updaters, self._params[number].list_data())

    def settle(self) -> None:
        """Let every row catch up, so that the net is what it should be by now."""
        for number, kind in self._kind.items():
            ids = np.arange(self._rows[kind], dtype="int32")
            lag = self._lag(kind, ids)
            for updater, weight in self._copies(number):
                _, _, *caught_up = self._caught_up(number, updater, weight, ids, lag)
                moments = self._moments(updater, number, weight)
                for table, values in zip(moments, caught_up):
                    table[:] = values
        self._last = {}

    def _lag(self, kind, ids):
        """Return what :class:`CatchUp` has to know of rows: left, moved."""
        adam, t = self._optimizer, self._optimizer.num_update
        if kind not in self._last:
            self._last[kind] = np.full((self._rows[kind],), t, dtype="int32")
        missed = t - np.take(self._last[kind], ids)
        rate = (1 - adam.beta2 ** (t + 1)) ** 0.5 / (1 - adam.beta1 ** (t + 1))
        left, moved = (
            np.take(x, missed, axis=0, mode="clip") for x in (self._left, self._moved)
        )
        return left, moved * (self.learning_rate * rate)

    def _moments(self, updater, number, weight):
        if number not in updater.states:
            updater.states[number] = updater.optimizer.create_state(number, weight)
            updater.states_synced[number] = True
        return [x.as_np_ndarray() for x in updater.states[number]]

    def _allreduce_grads(self):
        """Sum the gradients of the devices, those of the tables at the batch's rows."""
        if not self._kvstore:
            return
        for number, parameter in enumerate(self._params):
            if number not in self._kind:
                self._kvstore.pushpull(number, parameter.list_grad(), priority=-number)
                continue
            slopes = parameter.list_grad()
            ids = [rows[0] for rows in self._rows_of[number]]
            rows = [np.take(slope, i, axis=0) for slope, i in zip(slopes, ids)]
            total = sum(x.as_in_ctx(rows[0].ctx) for x in rows)
            for slope, i in zip(slopes, ids):
                _put(slope, i, total.as_in_ctx(slope.ctx))

    def _update(self, ignore_stale_grad=False):
        """Let Adam work on the batch's rows and on all other parameters."""
        for number, parameter in enumerate(self._params):
            for k, (updater, weight) in enumerate(self._copies(number)):
                slope = parameter.list_grad()[k]
                if number in self._kind:
                    self._update_rows(number, updater, slope, *self._rows_of[number][k])
                else:
                    updater(number, slope, weight)

    def _update_rows(self, number, updater, slope, ids, *rows):
        # A row named twice is worked on twice from the same values, to the same end.
        slope_rows = np.take(slope, ids, axis=0, mode="clip")
        updater.optimizer._set_current_context(slope.ctx.device_id)
        weight, *moments, change = (x.as_nd_ndarray() for x in (*rows, slope_rows))
        updater.optimizer.update(number, weight, change, moments)
        tables = self._params[number].data(slope.ctx), *updater.states[number]
        for table, values in zip(tables, rows):
            _put(table, ids, values)
        _put(slope, ids, np.zeros_like(slope_rows))


def tables_of(net: gluon.Block) -> Dict[str, nn.Embedding]:
    """Return the children of `net` that are embeddings, by name."""
    return {k: b for k, b in net._children.items() if isinstance(b, nn.Embedding)}


def lags(adam: mx.optimizer.Adam) -> Tuple[numpy.ndarray, numpy.ndarray]:
    """Return what :class:`CatchUp` has to know of rows that missed 0, 1, ... steps."""
    missed = numpy.arange(MISSED_STEPS)
    ratio = adam.beta1 / adam.beta2**0.5  # of a step on what is left to the one before
    moved = ratio * (1 - ratio**missed) / (1 - ratio)
    left = numpy.stack([adam.beta1**missed, adam.beta2**missed], axis=1)
    return left.astype("float32"), moved[:, None].astype("float32")


def _put(table, ids, values):
    """Do ``table[ids] = values`` ten times faster, and without a look at the ids."""
    table = table.as_nd_ndarray()
    mx.nd._internal._scatter_set_nd(
        lhs=table,
        rhs=values.as_nd_ndarray(),
        indices=ids.as_nd_ndarray().reshape((1, -1)),
        shape=table.shape,
        out=table,
    )
