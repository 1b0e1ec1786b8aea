"""The book's functions from the installed ``d2l``, set up to run without output.

``python -m benchmarks.books SECTION`` trains mf or fm as the book does. It prints the
seconds of training with its evaluations, and the last test metrics, as JSON.
"""

import contextlib
import io
import json
import sys
import time

from d2l_recsys.data import catalog
from d2l_recsys.mf import MF, evaluator
from d2l_recsys.movielens import split_and_load_ml100k
from d2l_recsys.runtime.backend import gluon, mx, nn, np, npx
from d2l_recsys.runtime.devices import seed_everything

CPU = [mx.cpu()]


class _NoAnimator:
    """Replace the book's Animator, so that drawing is not measured."""

    def __init__(self, **_):
        pass

    def add(self, *_):
        pass


def prepare():
    """Return ``d2l``, changed to read the data this package finds and draw nothing."""
    from d2l import mxnet as d2l

    d2l.download_extract = lambda name, folder=None: str(catalog.fetch("ml-100k"))
    d2l.Animator = _NoAnimator
    return d2l


def timed(function, *args, repeat=1):
    """Return the shortest time of `repeat` calls, in seconds, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeat):
        with contextlib.redirect_stdout(io.StringIO()):
            start = time.perf_counter()
            result = function(*args)
            best = min(best, time.perf_counter() - start)
    return best, result


def books_evaluator(net, test_iter, devices):
    """Average the running values of the metric, as the book does (E11)."""
    rmse, running = mx.metric.RMSE(), []
    for batch in test_iter:
        *features, ratings = (
            gluon.utils.split_and_load(x, devices, even_split=False) for x in batch
        )
        rmse.update(labels=ratings, preds=[net(*x) for x in zip(*features)])
        running.append(rmse.get()[1])
    return sum(running) / len(running)


def mf():
    """Train MF as the book does; return the seconds and the correct test RMSE."""
    d2l = prepare()
    num_users, num_items, *loaders = d2l.split_and_load_ml100k(
        test_ratio=0.1, batch_size=512
    )
    net = MF(30, num_users, num_items)
    net.initialize(mx.init.Normal(0.01), ctx=CPU)
    loss, settings = gluon.loss.L2Loss(), {"learning_rate": 0.002, "wd": 1e-5}
    trainer = gluon.Trainer(net.collect_params(), "adam", settings)
    arguments = net, *loaders, loss, trainer, 20, CPU, books_evaluator
    seconds, _ = timed(d2l.train_recsys_rating, *arguments)
    test = split_and_load_ml100k(test_ratio=0.1, batch_size=512)[3]
    return seconds, {"test_rmse": evaluator(net, test)}


class FM(nn.Block):
    """The model of the classic edition, which ends in a sigmoid."""

    def __init__(self, field_dims, num_factors):
        super().__init__()
        num_inputs = int(sum(field_dims))
        self.embedding = nn.Embedding(num_inputs, num_factors)
        self.fc = nn.Embedding(num_inputs, 1)
        self.linear_layer = nn.Dense(1, use_bias=True)

    def forward(self, x):
        vectors = self.embedding(x)
        square_of_sum = np.sum(vectors, axis=1) ** 2
        sum_of_square = np.sum(vectors**2, axis=1)
        pairs = 0.5 * (square_of_sum - sum_of_square).sum(1, keepdims=True)
        return npx.sigmoid(self.linear_layer(self.fc(x).sum(1)) + pairs)


def fm():
    """Train the factorization machine as the book does; return the seconds."""
    d2l = prepare()
    folder = catalog.fetch("ctr-synthetic")
    train = d2l.CTRDataset(str(folder / "train.csv"))
    known = train.feat_mapper, train.defaults
    test = d2l.CTRDataset(str(folder / "test.csv"), *known)
    rest = {"last_batch": "rollover"}
    loaders = (
        gluon.data.DataLoader(train, 2048, shuffle=True, **rest),
        gluon.data.DataLoader(test, 2048, shuffle=False, **rest),
    )
    net = FM(train.field_dims.asnumpy(), 20)
    net.initialize(mx.init.Xavier(), ctx=CPU)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02})
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    seconds, _ = timed(d2l.train_ch13, net, *loaders, loss, trainer, 30, CPU)
    return seconds, {}  # its accuracy is not one (E45)


if __name__ == "__main__":
    seed_everything(0)
    seconds, metrics = {"mf": mf, "fm": fm}[sys.argv[1]]()
    print(json.dumps({"seconds": seconds, "metrics": metrics}))
