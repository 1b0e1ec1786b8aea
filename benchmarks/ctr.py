"""CTR data: encode it, and train a factorization machine on it."""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy

from benchmarks.books import prepare, timed
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.synthetic_ctr import write_ctr
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.runtime.backend import gluon, mx, nn, np, npx
from d2l_recsys.runtime.devices import seed_everything

MANY_ROWS, MANY_FIELDS = 1_000_000, 39


def encoded(dataset_class, path):
    """Read a file and access each row once, because the book encodes on access."""
    dataset = dataset_class(path)
    if isinstance(dataset, CTRDataset):
        return dataset[numpy.arange(len(dataset))]
    return [dataset[i] for i in range(len(dataset))]


class BooksFM(nn.Block):
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


def train(net, loaders, function, lr=0.02):
    """Train at the book's settings, and return the seconds and the history."""
    seed_everything(0)
    net.initialize(mx.init.Xavier(), ctx=[mx.cpu()])
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    return timed(function, net, *loaders, loss, trainer, 30, [mx.cpu()])


def loaded(dataset_class, folder, loader, **options):
    """Return the sizes of the fields, and loaders for the two files."""
    train_data = dataset_class(f"{folder}/train.csv")
    test_data = dataset_class(
        f"{folder}/test.csv", train_data.feat_mapper, train_data.defaults
    )
    return (
        train_data.field_dims,
        loader(train_data, 2048, shuffle=True, **options),
        loader(test_data, 2048, shuffle=False, **options),
    )


def rows():
    """Yield (what, our seconds, the book's seconds, remark)."""
    d2l = prepare()
    with tempfile.TemporaryDirectory() as folder:
        write_ctr(folder)
        path = f"{folder}/train.csv"
        mine, _ = timed(encoded, CTRDataset, path, repeat=5)
        books, _ = timed(encoded, d2l.CTRDataset, path)
        yield "CTR: read + encode 15000 x 34", mine, books, ""

        dims, *loaders = loaded(CTRDataset, folder, BatchLoader)
        net = FM(dims, 20)
        net.hybridize(static_alloc=True)
        mine, history = train(net, loaders, train_ch13)
        auc = history[-1]["test_auc"]
        dims, *loaders = loaded(
            d2l.CTRDataset, folder, gluon.data.DataLoader, last_batch="rollover"
        )
        books, _ = train(BooksFM(dims.asnumpy(), 20), loaders, d2l.train_ch13)
        yield "FM, 30 epochs with evaluation", mine, books, f"test AUC {auc:.3f}"
    print(many_rows())


def many_rows():
    """Measure the encoding of a large file in a new process, and return a line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.csv"
        write_many(path)
        result = subprocess.run(
            [sys.executable, "-m", "benchmarks.ctr", str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
    return result.stdout.strip()


def write_many(path, block=50_000):
    """Write rows with 13 numeric and 26 categorical fields of different sizes."""
    rng = numpy.random.default_rng(0)
    with open(path, "w", encoding="ascii") as file:
        for _ in range(MANY_ROWS // block):
            columns = [rng.integers(0, 2, block)]
            columns += [rng.geometric(0.01, block) for _ in range(13)]
            for field in range(MANY_FIELDS - 13):
                values = rng.zipf(1.2 + 0.05 * field, block) % 2**28
                columns.append([f"{v * 2654435761 % 2**32:08x}" for v in values])
            text = ("\t".join(map(str, row)) for row in zip(*columns))
            file.writelines(f"{line}\n" for line in text)


def measure(path):
    """Encode a file in Criteo's format, and print rows per second and peak memory."""
    start = time.perf_counter()
    dataset = CTRDataset(path, layout="criteo")
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(
        f"CTR: {len(dataset):,} rows x {len(dataset.fields)} fields encoded in "
        f"{seconds:.1f} s, {len(dataset) / seconds:,.0f} rows/s, "
        f"{int(dataset.field_dims.sum()):,} indices, peak {peak:.2f} GiB"
    )


if __name__ == "__main__":
    measure(sys.argv[1])
