"""Time the reading of ratings and clicks, next to pandas, which checks less."""

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.ctr import write_many
from benchmarks.processes import alternately
from benchmarks.sizes import SIZES, Stages, write_ratings
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.ctr_layouts import LAYOUTS
from d2l_recsys.movielens import read_data_ml100k


def read_ratings(path):
    """Read the ratings, and return the arrays."""
    data = read_data_ml100k(path.parent, name=path.parent.name).data
    return [data[name].to_numpy() for name in data]


def read_ratings_with_pandas(path):
    """Read the ratings with the same dtypes."""
    dtypes = {"userId": "int64", "movieId": "int64", "timestamp": "int64"}
    return pd.read_csv(path, dtype={**dtypes, "rating": "float64"})


def encode_clicks(path):
    """Read and encode the clicks, and return the arrays."""
    dataset = CTRDataset(path, layout="criteo")
    return [dataset.features, dataset.labels]


def read_clicks_with_pandas(path):
    """Read the clicks, with a category for each text and a float for each number."""
    layout = LAYOUTS["criteo"]
    dtypes = dict.fromkeys(layout.columns, "category")
    dtypes.update(dict.fromkeys(("label", *layout.numeric), "float64"))
    return pd.read_csv(path, sep="\t", names=layout.columns, dtype=dtypes)


OURS = {"ratings": read_ratings, "clicks": encode_clicks}
PEERS = {"ratings": read_ratings_with_pandas, "clicks": read_clicks_with_pandas}


def rows():
    """Yield a row of the table for each file: the seconds here and those of pandas."""
    for name in ("ml-10m", "ml-25m"):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "ml-25m"  # the format of all these files
            folder.mkdir()
            write_ratings(folder / "ratings.csv", *SIZES[name])
            work = f"read + check {SIZES[name][0]:,} ratings"
            yield compared(work, "ratings", folder / "ratings.csv")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "train.csv"
        write_many(path)
        yield compared("CTR: read + encode 1,000,000 x 39", "clicks", path)


def compared(work, kind, path):
    """Measure both sides in turn, each in a new process, and return a row."""
    module = [sys.executable, "-m", "benchmarks.reading"]
    sides = {side: [*module, side, kind, path] for side in ("ours", "peer")}
    ours, peer = alternately(sides).values()
    remark = (
        f"peer: pandas; peak memory {ours['peak'] / ours['size']:.1f} times the arrays "
        f"here, {peer['peak'] / ours['size']:.1f} times pandas"
    )
    seconds = {"ours": ours["seconds"], "peer": peer["seconds"]}
    return {"work": work, **seconds, "book": None, "remark": remark}


def measure(side, kind, path):
    """Print the seconds, the peak of the process and the size of the arrays in GiB."""
    stage = Stages()
    with stage(kind):
        result = (OURS if side == "ours" else PEERS)[kind](path)
    arrays = result if side == "ours" else []
    seconds, peak = stage.measured[kind]
    size = sum(x.nbytes for x in arrays) / 2**30
    print(json.dumps({"seconds": seconds, "peak": peak, "size": size}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(*sys.argv[1:3], Path(sys.argv[3]))
    else:
        for row in rows():
            print(row)
