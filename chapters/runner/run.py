"""The options, the data and the result files of a running script."""

import argparse
import platform
import sys
from typing import Any, Callable, Dict, Iterable, Optional, Union

import pandas as pd

from chapters.runner import failures, results
from chapters.runner.data import DATA_TITLES, Family, find_data, fingerprint
from chapters.runner.failures import in_one_line, warn
from chapters.runner.printed import correct_figures
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.engine.saved import Histories, Vocabulary, save
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.movielens import MovieLens, read_data_ml100k, read_ratings
from d2l_recsys.runtime import cores
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.workers import worker
from d2l_recsys.tools.figures import StyledFigure

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
        # What the model is trained on; see chapters.runner.saving.
        self.trained_on: Optional[Callable[[], Union[Histories, Vocabulary]]] = None
        self._saved = False
        failures.interrupted_run = self

    def read_ratings(self) -> MovieLens:
        """Read the ratings, of MovieLens or of the file that --data names.

        For the reader's own file, print the size and the scale.
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
        for column, role, needed, other, instead in (
            (
                "rating",
                "rating",
                self.slug not in RANKING,
                "timestamp",
                "neumf or seqrec",
            ),
            (
                "timestamp",
                "time",
                self.slug != "autorec" and split == "seq-aware",
                "rating",
                "autorec, or mf with --split random",
            ),
        ):
            if needed and column not in data:
                more = f", or use {instead}" if other in data else ""
                raise ValueError(
                    f"{self.folder}: no column has a usual name for the {role}, which "
                    f"{self.slug} needs: name it with --columns {role}=NAME{more}"
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
        if vars(self.args).get("test"):
            data += f" {fingerprint(self.args.test)}"
        return {"section": self.slug, **settings, "data": data}

    def save(self, metrics: Dict[str, Any], history: Optional[History] = None) -> None:
        """Write ``SLUG.json``; on worker 0 only.

        Scripts save as soon as a training has finished, before they draw and print. A
        later call replaces the file.

        Raises an OSError that names the file.
        """
        self._saved = True
        if worker.rank:
            return
        record = {
            "section": self.slug,
            "data": self.data_name,
            "metrics": metrics,
            "settings": dict(sorted(vars(self.args).items())),
            "environment": {
                "python": platform.python_version(),
                "mxnet": mx.__version__,
                "machine": platform.machine(),
                "workers": worker.num_workers,
                "threads": cores.threads(),
            },
            "history": history or [],
        }
        results.write(self.out / f"{self.slug}.json", results.as_json(record))

    def save_model(self, net: gluon.Block, **more: Any) -> bool:
        """Write the model to ``OUT/SLUG``; return whether that was done.

        Only worker 0 writes. `more` joins the settings in ``model.json``. A failure is
        a warning.
        """
        if worker.rank or self.trained_on is None:
            return False
        settings = {**vars(self.args), "data": self.data_name, **more}
        try:
            save(self.out / self.slug, net, self.trained_on(), settings)
        except Exception as error:
            warn(f"no model was saved: {in_one_line(error) or repr(error)}")
            return False
        return True

    def save_interrupted(self, history: History, net: gluon.Block) -> None:
        """Save the latest metrics and the model of a training that Ctrl-C ended.

        The results of a whole training are not replaced.
        """
        if not history or self._saved:
            return
        left_out = ("epoch", "seconds", "examples_per_sec")
        last = {k: v for k, v in history[-1].items() if k not in left_out}
        stopped = {"interrupted_after_epoch": history[-1]["epoch"]}
        self.save({**stopped, **last}, history)
        folder = self.out / self.slug
        instead = ""
        if (folder / "model.json").exists():
            instead = ", in place of an earlier run's"
        if self.save_model(net, **stopped):
            epoch = f"epoch {kept_epoch(history)['epoch']} of {self.epochs}"
            print(f"the model after {epoch} is in {folder}{instead}", file=sys.stderr)

    def printed(self, metrics: Iterable[str]) -> Dict[str, Dict[str, float]]:
        """Return the book's figures of the test metrics, to be drawn by ``Curves``."""
        tests = [metric for metric in metrics if metric.startswith("test_")]
        return correct_figures(self.slug, tests, self.data_name)

    def save_figure(self, figure: StyledFigure, name: str = "") -> None:
        """Write ``SLUG.png`` and ``SLUG.svg``, or ``SLUG-NAME.png`` and so on.

        On worker 0 only. A failure is a warning.
        """
        if worker.rank:
            return
        stem = f"{self.slug}-{name}" if name else self.slug
        try:
            for format in ("png", "svg"):
                path = self.out / f"{stem}.{format}"
                results.write(path, figure.picture(format))
        except Exception as error:
            warn(f"no figure was saved: {in_one_line(error) or repr(error)}")

    def draw(
        self, name: str, picture: Callable[..., StyledFigure], *args: Any
    ) -> Optional[StyledFigure]:
        """Draw ``picture(*args)`` and save it as ``SLUG-NAME.png`` and ``.svg``.

        On worker 0 only. A failure is a warning, and None is returned.
        """
        if worker.rank:
            return None
        try:
            figure = picture(*args)
        except Exception as error:
            reason = in_one_line(error) or repr(error)
            warn(f"could not draw the figure {name!r}: {reason}")
            return None
        self.save_figure(figure, name)
        return figure
