"""CTR data: encode it, and train a factorization machine and DeepFM on it."""

import tempfile

import numpy

from benchmarks import trainings
from benchmarks.books import prepare, timed
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data import catalog

MANY_ROWS, MANY_FIELDS = 1_000_000, 39


def encoded(dataset_class, path):
    """Read a file and access each row once, because the book encodes on access."""
    dataset = dataset_class(path)
    if isinstance(dataset, CTRDataset):
        return dataset[numpy.arange(len(dataset))]
    return [dataset[i] for i in range(len(dataset))]


def rows():
    """Yield the rows of the table."""
    path = str(catalog.fetch("ctr-synthetic") / "train.csv")
    mine, _ = timed(encoded, CTRDataset, path, repeat=5)
    books, _ = timed(encoded, prepare().CTRDataset, path)
    what = "read and encode 15,000 rows of 34 fields"
    yield {"work": what, "ours": mine, "book": books}
    yield trainings.row("fm", "FM, 30 epochs")
    yield trainings.row("deepfm", "DeepFM, 30 epochs")
    with tempfile.TemporaryDirectory() as folder:
        save_many(folder)
        what = f"an epoch on {MANY_ROWS:,} rows of {MANY_FIELDS} fields"
        yield trainings.row("fm", f"FM, {what}", folder=[folder])
        yield trainings.row("deepfm", f"DeepFM, {what}", folder=[folder])


def save_many(folder):
    """Save encoded rows of fields with 50 to 50,000 values, a few of them frequent."""
    rng = numpy.random.default_rng(0)
    field_dims = numpy.geomspace(50, 50_000, MANY_FIELDS).astype("int64")
    ranks = field_dims * rng.random((MANY_ROWS, MANY_FIELDS)) ** 3
    x = ranks.astype("int32") + (numpy.cumsum(field_dims) - field_dims).astype("int32")
    y = rng.integers(0, 2, MANY_ROWS).astype("float32")
    numpy.savez(f"{folder}/clicks.npz", x=x, y=y, field_dims=field_dims)


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
