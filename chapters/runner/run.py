"""The options, the data and the result files of a running script."""

import argparse
import os
import platform
from typing import Any, Dict, Optional

import pandas as pd
from matplotlib.figure import Figure

from chapters.runner import results
from chapters.runner.data import DATA_TITLES, Family, find_data, fingerprint
from chapters.runner.failures import in_one_line, warn
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.movielens import MovieLens, read_data_ml100k, read_ratings
from d2l_recsys.runtime.backend import mx
from d2l_recsys.runtime.workers import worker

# Options that may change when a run is resumed: they do not affect a single epoch.
_FREE = ("epochs", "out", "checkpoint", "resume", "data", "data_dir", "smoke")

RANKING = ("neumf", "seqrec")  # the scripts that need no ratings


class Run:
    """The options, the data folder and the results folder of a script."""

    def __init__(self, slug: str, args: argparse.Namespace, family: Family) -> None:
        self.slug, self.out = slug, args.out
        self.epochs = args.epochs
        self.seed, self.devices, self.args = args.seed, args.devices, args
        self.folder, self.data_name = find_data(args, family)
        # The format of the files; synthetic files have that of the book's.
        other = args.data in family.others and not args.smoke
        self.data_set = args.data if other else family.real
        self.data_title = DATA_TITLES[self.data_name]
        self._checkpoints: Dict[str, Checkpoint] = {}

    def read_ratings(self) -> MovieLens:
        """Read the ratings, of MovieLens or of the file that --data names.

        Of the reader's own file, this prints the size and the scale.
        """
        min_rating = vars(self.args).get("min_rating")
        if not self.folder.is_file():
            return read_data_ml100k(
                self.folder, self.args.duplicates, self.data_set, min_rating
            )
        ratings = read_ratings(
            self.folder,
            **dict(self.args.columns or ()),
            duplicates=self.args.duplicates,
            min_rating=min_rating,
            scale=self.args.scale,
        )
        data, num_users, num_items = ratings
        self._check_columns(data)
        what = "rows without ratings"
        if "scale" in data.attrs:
            low, high = data.attrs["scale"]
            what = f"ratings on a scale from {low:g} to {high:g}"
            what += f", at least {min_rating:g}" if min_rating is not None else ""
        print(f"{len(data)} {what}, {num_users} users, {num_items} items")
        return ratings

    def _check_columns(self, data: pd.DataFrame) -> None:
        """Raise ValueError if the script needs a column that the file lacks."""
        split = vars(self.args).get("split", "seq-aware")
        for column, role, needed, instead in (
            ("rating", "rating", self.slug not in RANKING, "neumf or seqrec"),
            (
                "timestamp",
                "time",
                self.slug != "autorec" and split == "seq-aware",
                "autorec, or mf with --split random",
            ),
        ):
            if needed and column not in data:
                raise ValueError(
                    f"{self.folder}: no column has a usual name of the {role}, which "
                    f"{self.slug} needs: name it with --columns {role}=NAME, or use "
                    f"{instead}"
                )

    def checkpoint(self, training: str) -> Optional[Checkpoint]:
        """Return the checkpoint of one training, or None without --checkpoint.

        Raises CheckpointError if it cannot be written or resumed from.
        """
        if not self.args.checkpoint:
            return None
        if training in self._checkpoints:
            return self._checkpoints[training]
        identity = {"training": training, **self.identity()}
        identity["devices"] = str(self.devices)
        folder = self.args.checkpoint / self.slug / training
        # The script may have been stopped before its second training started.
        begun = training == "main" or any(folder.glob("*.npz"))
        point = Checkpoint(folder, identity, self.args.resume and begun)
        return self._checkpoints.setdefault(training, point)

    def identity(self) -> Dict[str, str]:
        """Return section, settings and data of the run; devices may differ."""
        free = (*_FREE, "kvstore", "devices")
        settings = {k: str(v) for k, v in vars(self.args).items() if k not in free}
        data = fingerprint(self.folder)
        return {"section": self.slug, **settings, "data": data}

    def save(self, metrics: Dict[str, Any], history: Optional[History] = None) -> None:
        """Write ``SLUG.json``; on worker 0 only.

        Scripts save as soon as a training has finished, before they draw and print. A
        later call replaces the file.

        Raises an OSError that names the file.
        """
        if worker.rank:
            return
        record = {
            "section": self.slug,
            "data": self.data_name,
            "metrics": metrics,
            "settings": {k: str(v) for k, v in sorted(vars(self.args).items())},
            "environment": {
                "python": platform.python_version(),
                "mxnet": mx.__version__,
                "machine": platform.machine(),
                "workers": worker.num_workers,
                "threads": os.environ.get("OMP_NUM_THREADS", f"{os.cpu_count()} cores"),
            },
            "history": history or [],
        }
        results.write(self.out / f"{self.slug}.json", results.as_json(record))

    def save_figure(self, figure: Figure) -> None:
        """Write ``SLUG.png``; on worker 0 only. A failure is a warning."""
        if worker.rank:
            return
        path = self.out / f"{self.slug}.png"
        try:
            results.write(path, results.as_png(figure))
        except Exception as error:
            warn(f"no figure was saved: {in_one_line(error) or repr(error)}")
