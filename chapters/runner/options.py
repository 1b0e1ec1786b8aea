"""What every script has in common: its options, its data, the folder of its results."""

import argparse
import gc
import json
import os
import platform
import shlex
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Dict, Optional

from chapters.runner.data import (
    DATA_TITLES,
    FAMILY_OF,
    MOVIELENS,
    Family,
    data_argument,
    find_data,
    fingerprint,
    times_the_books,
)
from d2l_recsys.engine.checkpoint import Checkpoint, History
from d2l_recsys.runtime.backend import mx
from d2l_recsys.runtime.devices import contexts, seed_everything, try_all_gpus
from d2l_recsys.runtime.workers import worker
from d2l_recsys.tools.command_line import Parser, positive, read_devices
from d2l_recsys.tools.curves import in_notebook

# Options that do not change what an epoch computes, so that a run resumed may differ.
_FREE = ("epochs", "out", "checkpoint", "resume", "data", "data_dir", "smoke")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show each default that says something."""

    def _get_help_string(self, action):
        if action.default in (None, False, argparse.SUPPRESS):
            return action.help
        return super()._get_help_string(action)


class Options(Parser):
    """The options of the script `slug`; wrong ones end it in one line, exit code 2."""

    def __init__(
        self,
        slug: str,
        epochs: Optional[int] = None,
        batch_size: Optional[int] = None,
        of_ratings: bool = False,
    ):
        super().__init__(
            prog=f"python -m chapters.{slug}",
            description=f"The book's section {slug!r}, at the book's settings.",
            formatter_class=_HelpFormatter,
        )
        self.slug, self.family = slug, FAMILY_OF.get(slug, MOVIELENS)
        self.batch_size, self.of_ratings = batch_size, of_ratings
        self._add_what_is_trained(epochs)
        self._add_data_and_results()

    def _add_what_is_trained(self, epochs):
        add = partial(self.add_argument, type=positive, metavar="N")
        add("--epochs", default=epochs, help="passes over the training data")
        book = f" (default: {self.batch_size}" if self.batch_size else ""
        book += " for each 100,000 ratings" if self.of_ratings else ""
        add("--batch-size", help=f"examples a step{book and book + ')'}")
        add("--seed", type=_seed, default=0, help="of every random draw")
        self.add_argument(
            "--devices",
            type=_devices,
            help="cpu, cpu:2 (two CPU contexts), gpu, gpu:0,1 (default: GPUs or cpu)",
        )
        if epochs:
            self.add_argument(
                "--kvstore",
                choices=["device", "dist_sync"],
                default="device",
                help="dist_sync: be one of several workers, which "
                "python -m d2l_recsys launch starts",
            )

    def _add_data_and_results(self):
        real = self.family.real
        self.add_argument(
            "--data",
            default="auto",
            help=f"auto is {real}, or the made-up set where it can't be had",
            **data_argument(self.slug, self.family),
        )
        self.add_argument(
            "--data-dir",
            type=_folder,
            metavar="DIR",
            help=f"where to look first for the folder {real} or for {real}.zip",
        )
        self.add_argument(
            "--out",
            type=Path,
            default=Path("results"),
            metavar="DIR",
            help="where metrics and pictures go",
        )
        self.add_argument(
            "--smoke", action="store_true", help="tiny data, two epochs: seconds only"
        )
        self.add_argument(
            "--checkpoint",
            type=Path,
            metavar="DIR",
            help="save the state of every training there after each epoch",
        )
        self.add_argument(
            "--resume", action="store_true", help="go on from what --checkpoint holds"
        )

    def add_patience(self) -> None:
        """Add --patience."""
        self.add_argument(
            "--patience",
            type=positive,
            metavar="N",
            help="hold out a tenth of the training data, stop when it got no better "
            "for N epochs, and keep the best epoch",
        )

    def parse(self) -> "Run":
        """Parse the command line and find the data.

        In a notebook, whose command line is the kernel's, the options stand in the
        environment variable D2L_RECSYS_ARGS: ``%env D2L_RECSYS_ARGS=--smoke``.

        Sets the seeds. Ends the script where an option is wrong or data can't be had.
        """
        given = shlex.split(os.environ.get("D2L_RECSYS_ARGS", ""))
        args = self.parse_args(given if in_notebook() else None)
        if args.smoke and args.epochs:
            args.epochs = min(args.epochs, 2)
        args.devices = args.devices or try_all_gpus()
        if args.resume and not args.checkpoint:
            self.error("argument --resume: needs --checkpoint DIR")
        if args.checkpoint and vars(args).get("patience"):
            self.error("argument --checkpoint: cannot be used with --patience")
        if vars(args).get("kvstore") == "dist_sync":
            self._join()
        try:
            args.out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=args.out):  # to know now, not at the end
                pass
        except OSError as error:
            self.error(f"argument --out: {args.out}: {error.strerror}")
        try:
            run = Run(self.slug, args, self.family)
            self._choose_batch(run)
            if worker.num_workers > 1:
                all_of_it = run.identity(), args.epochs, args.resume
                worker.check_same(all_of_it, "options or data")
            if args.epochs:
                run.checkpoint("main")  # so that it fails here, if at all
        except ValueError as error:
            self.error(str(error))
        seed_everything(args.seed)
        if not gc.get_freeze_count():
            gc.freeze()  # a script ends sooner if its imports are not searched again
        return run

    def _choose_batch(self, run):
        """Set the batch size, and by how much `scale` it grows with MovieLens.

        Batches in proportion to the ratings keep the number of steps, and each user and
        item in as many of them. Their share of a batch's mean loss shrinks: the scripts
        divide weight decay by `scale`, so that it weighs as much as in the book.
        """
        run.scale, given = 1, run.args.batch_size
        if self.batch_size:
            if self.family is MOVIELENS and not given:
                run.scale = times_the_books(run.folder, run.data_set)
            book = self.batch_size * (run.scale if self.of_ratings else 1)
            run.batch_size = run.args.batch_size = given or book

    def _join(self):
        try:
            worker.join()
        except ValueError as error:
            self.error(f"argument --kvstore: {error}")
        if worker.rank:  # all would print the same
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Run:
    """A script's options as attributes, its data folder, and where results go."""

    def __init__(self, slug: str, args: argparse.Namespace, family: Family):
        self.slug, self.out = slug, args.out
        self.epochs = args.epochs
        self.seed, self.devices, self.args = args.seed, args.devices, args
        self.folder, self.data_name = find_data(args, family)
        # In whose format the files are: made-up ones are as the book's.
        other = args.data in family.others and not args.smoke
        self.data_set = args.data if other else family.real
        self.data_title = DATA_TITLES[self.data_name]
        self._checkpoints: Dict[str, Checkpoint] = {}

    def checkpoint(self, training: str) -> Optional[Checkpoint]:
        """Return the checkpoint of one of the script's trainings, if one is asked for.

        Raises CheckpointError where it cannot be written, or not be resumed from.
        """
        if not self.args.checkpoint:
            return None
        if training in self._checkpoints:
            return self._checkpoints[training]
        identity = {"training": training, **self.identity()}
        identity["devices"] = str(self.devices)
        folder = self.args.checkpoint / self.slug / training
        # A script's second training may not have begun yet when it was ended.
        begun = training == "main" or any(folder.glob("*.npz"))
        point = Checkpoint(folder, identity, self.args.resume and begun)
        return self._checkpoints.setdefault(training, point)

    def identity(self) -> Dict[str, str]:
        """Return what is trained on what, with which settings but the devices."""
        free = (*_FREE, "kvstore", "devices")
        settings = {k: str(v) for k, v in vars(self.args).items() if k not in free}
        data = fingerprint(self.folder)
        return {"section": self.slug, **settings, "data": data}

    def save(
        self,
        metrics: Dict[str, float],
        history: Optional[History] = None,
        **figures,
    ) -> None:
        """Write ``slug.json`` and, for each figure by name, ``name.png``: worker 0."""
        if worker.rank:
            return
        for name, figure in figures.items():
            figure.savefig(self.out / f"{name}.png", dpi=150)
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
        path = self.out / f"{self.slug}.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _seed(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _folder(text):
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return Path(text)


def _devices(text):
    try:
        return contexts(*read_devices(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
