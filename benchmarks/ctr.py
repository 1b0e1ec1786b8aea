"""CTR data: encode it, and train a factorization machine and DeepFM on it."""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

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
    yield many_rows()


def many_rows():
    """Return the row of encoding a large file, in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.csv"
        write_many(path)
        result = subprocess.run(
            [sys.executable, "-m", "benchmarks.ctr", str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(result.stdout)


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
    """Encode a file in Criteo's format, and print the row of the table as JSON."""
    seconds, dataset = timed(lambda: CTRDataset(path, layout="criteo"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    what = f"read and encode {len(dataset):,} rows of {len(dataset.fields)} fields"
    remark = f"{int(dataset.field_dims.sum()):,} indices; peak {peak:.2f} GiB"
    print(json.dumps({"work": what, "ours": seconds, "remark": remark}))


if __name__ == "__main__":
    measure(sys.argv[1])
