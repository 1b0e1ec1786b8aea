"""What MXNet gives where it needs no help, for test_compat_results.py to compare.

``python tests/mxnet_alone.py`` wrote the files in tests/runtime/mxnet_alone/. It ran on
Python 3.8.18 with mxnet 1.9.1 and numpy 1.23.5, and without this package.
"""

from functools import partial
from pathlib import Path

import mxnet as mx
import numpy
from mxnet import autograd, gluon, np, npx
from mxnet.gluon import nn, rnn

npx.set_np()
FOLDER = Path(__file__).with_name("runtime") / "mxnet_alone"
X = numpy.random.RandomState(0).standard_normal((4, 3, 6, 6)).astype("float32")
IDS = numpy.arange(12, dtype="int32").reshape(4, 3) * 7 % 10
INITIALIZERS = ("Xavier", "Uniform", "Normal", "MSRAPrelu", "LSTMBias")
LAYERS = {
    "embedding": (partial(nn.Embedding, 10, 5), IDS),
    "dense": (partial(nn.Dense, 5, activation="relu"), X),
    "tanh": (partial(nn.Dense, 5, activation="tanh", flatten=False), X),
    "sigmoid": (partial(nn.Activation, "sigmoid"), X),
    "softrelu": (partial(nn.Activation, "softrelu"), X),
    "dropout": (partial(nn.Dropout, 0.5), X),
    "flatten": (nn.Flatten, X),
    "conv": (partial(nn.Conv2D, 2, (3, 2), strides=(2, 1), padding=(1, 0)), X),
    "max pool": (partial(nn.MaxPool2D, (2, 3)), X),
    "average pool": (nn.GlobalAvgPool2D, X),
    "batch norm": (nn.BatchNorm, X),
    "layer norm": (nn.LayerNorm, X),
    "lstm": (partial(rnn.LSTM, 3), X[0]),
}
LOSSES = {
    "L1Loss": X[0, 0],
    "L2Loss": X[0, 0],
    "SigmoidBCELoss": (X[0, 0] > 0).astype("float32"),
    "SoftmaxCrossEntropyLoss": numpy.arange(6, dtype="int32"),
}


def seed():
    mx.random.seed(7)
    numpy.random.seed(7)  # for some initializers


def draws():
    """Return random numbers, which have to be the same to the last bit."""
    seed()
    random = np.random
    found = {
        "uniform": random.uniform(-1, 1, (3, 2)),
        "normal": random.normal(0, 2, (5,)),
        "randint": random.randint(0, 100, (6,)),
        "choice": random.choice(10, (4,)),
        "gamma": random.gamma(2.0, 1.0, (3,)),
        "exponential": random.exponential(1.0, (3,)),
        "multinomial": random.multinomial(10, [0.2, 0.8]),
        "bernoulli": npx.random.bernoulli(0.5, size=(8,)),
        "shuffled": np.arange(9),
    }
    random.shuffle(found["shuffled"])
    for name in INITIALIZERS:
        seed()
        parameter = gluon.Parameter("w_weight", shape=(4, 3))
        parameter.initialize(getattr(mx.init, name)())
        found[name] = parameter.data()
    return {name: value.asnumpy() for name, value in found.items()}


def passes(hybrid):
    """Return outputs and gradients of layers and losses."""
    found = {}
    for name, (layer, x) in LAYERS.items():
        seed()
        net = layer()
        net.initialize(mx.init.Xavier() if name != "lstm" else mx.init.Uniform())
        found.update(_gradients(name, net, hybrid, np.array(x)))
    for name, label in LOSSES.items():
        loss = getattr(gluon.loss, name)()
        found.update(_gradients(name, loss, hybrid, np.array(X[1, 0]), np.array(label)))
    return found


def _gradients(name, net, hybrid, x, *more):
    if hybrid:
        net.hybridize(static_alloc=True)
    if x.dtype == numpy.float32:
        x.attach_grad()
    with autograd.record():
        y = net(x, *more)
        total = (y * y).sum()
    total.backward()
    parameters = net.collect_params().values()
    gradients = [p.grad() for p in parameters if p.grad_req != "null"]
    gradients += [] if x.grad is None else [x.grad]
    found = {f"{name} {k}": gradient for k, gradient in enumerate(gradients)}
    found[name] = y
    return {name: value.asnumpy() for name, value in found.items()}


class Training:
    """A net with dropout, its optimizer, and steps on the same batch."""

    def __init__(self, optimizer, hybrid, **options):
        seed()
        self.net = nn.HybridSequential(prefix="net_")
        self.net.add(
            nn.Embedding(10, 4, prefix="a_"),
            nn.Dropout(0.3, prefix="b_"),
            nn.Dense(8, activation="relu", prefix="c_"),
            nn.Dense(1, prefix="d_"),
        )
        self.net.initialize(mx.init.Xavier())
        if hybrid:
            self.net.hybridize(static_alloc=True)
        options = {"learning_rate": 0.1, **options}
        self.trainer = gluon.Trainer(self.net.collect_params(), optimizer, options)
        self.loss = gluon.loss.SigmoidBCELoss()

    def step(self, steps):
        x, y = np.array(IDS), np.array(IDS[:, :1] % 2)
        for _ in range(steps):
            with autograd.record():
                loss = self.loss(self.net(x), y)
            loss.backward()
            self.trainer.step(len(x))
        return self

    def parameters(self):
        values = self.net.collect_params().values()
        return {value.name: value.data().asnumpy() for value in values}


def trainings(hybrid):
    """Return the parameters after some steps."""
    found = {}
    for optimizer, options in (("adam", {"wd": 0.01}), ("sgd", {"momentum": 0.9})):
        trained = Training(optimizer, hybrid, **options).step(4).parameters()
        found.update({f"{optimizer} {name}": x for name, x in trained.items()})
    return found


def main():
    numpy.savez_compressed(FOLDER / "draws.npz", **draws())
    numpy.savez_compressed(FOLDER / "passes.npz", **passes(False))
    numpy.savez_compressed(FOLDER / "trainings.npz", **trainings(False))
    training = Training("adam", False).step(3)
    training.net.save_parameters(str(FOLDER / "net.params"))
    training.trainer.save_states(str(FOLDER / "adam.states"))
    numpy.savez_compressed(FOLDER / "saved.npz", **training.parameters())
    seed()
    numpy.savez_compressed(FOLDER / "continued.npz", **training.step(2).parameters())


if __name__ == "__main__":
    main()
