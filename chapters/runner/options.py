"""The common parts of all scripts: options, data and the results folder.

MXNet is imported only when it is needed, because ``python -m chapters`` needs it only
in the processes of the sections.
"""

import argparse
import gc
import os
import shlex
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Optional, Sequence

from chapters.runner.data import (
    FAMILY_OF,
    MOVIELENS,
    data_argument,
    forget_warnings,
    times_the_books,
)
from chapters.runner.failures import in_one_line
from chapters.runner.own_data import add_own_clicks, add_own_ratings
from chapters.runner.settings import Settings, natural
from d2l_recsys.tools.command_line import positive, read_devices

if TYPE_CHECKING:
    from chapters.runner.run import Run


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show all defaults except None and those of flags."""

    def _get_help_string(self, action: argparse.Action) -> Optional[str]:
        if action.nargs == 0 or action.default in (None, argparse.SUPPRESS):
            return action.help
        return super()._get_help_string(action)


class Options(Settings):
    """The options of the script `slug`. An invalid option exits with code 2.

    With `movielens`, a script for CTR data also takes ``--data ml-100k``.
    """

    def __init__(
        self,
        slug: str,
        epochs: Optional[int] = None,
        batch_size: Optional[int] = None,
        of_ratings: bool = False,
        movielens: bool = False,
    ) -> None:
        super().__init__(
            prog=f"python -m chapters.{slug}",
            description=f"Run the book's section {slug!r} with the book's settings.",
            formatter_class=_HelpFormatter,
        )
        self.slug, self.family = slug, FAMILY_OF.get(slug, MOVIELENS)
        self.batch_size, self.of_ratings = batch_size, of_ratings
        self._add_training_options(epochs)
        self._add_data_options((MOVIELENS.real,) if movielens else ())
        if movielens:
            self.add_movielens()

    def _add_training_options(self, epochs: Optional[int]) -> None:
        add = partial(self.add_argument, type=positive, metavar="N")
        add("--epochs", default=epochs, help="number of passes over the training data")
        book = f" (default: {self.batch_size}" if self.batch_size else ""
        book += " for each 100,000 ratings" if self.of_ratings else ""
        add("--batch-size", help=f"examples per batch{book and book + ')'}")
        add("--seed", type=natural, default=0, help="seed of all random draws")
        self.add_argument(
            "--devices",
            type=_devices,
            help="cpu, cpu:2 (two contexts), gpu or gpu:0,1 (default: all GPUs or cpu)",
        )
        if epochs:
            self.add_argument(
                "--kvstore",
                choices=["device", "dist_sync"],
                default="device",
                help="dist_sync: run as one of several workers, started by "
                "python -m d2l_recsys launch",
            )

    def _add_data_options(self, more: Sequence[str]) -> None:
        real = self.family.real
        self.add_argument(
            "--data",
            default="auto",
            help=f"auto: {real}, or synthetic data if it is not available",
            **data_argument(self.slug, self.family, more),
        )
        self.add_argument(
            "--data-dir",
            type=_folder,
            metavar="DIR",
            help=f"folder to search first for the folder {real} or for {real}.zip",
        )
        if self.family is MOVIELENS:
            self.add_argument(
                "--duplicates",
                choices=["error", "first", "last"],
                default="error",
                help="the rating to keep if a user rated an item twice",
            )
        if self.slug != "__main__":
            add = add_own_ratings if self.family is MOVIELENS else add_own_clicks
            add(self)
        self.add_argument(
            "--out",
            type=Path,
            default=Path("results"),
            metavar="DIR",
            help="folder for metrics, figures and models",
        )
        self.add_argument(
            "--smoke", action="store_true", help="use tiny data and at most two epochs"
        )
        self.add_argument(
            "--checkpoint",
            type=Path,
            metavar="DIR",
            help="save the state of every training in DIR after each epoch",
        )
        self.add_argument(
            "--resume",
            action="store_true",
            help="continue from the state in --checkpoint",
        )

    def parse(self) -> "Run":
        """Parse the command line and find the data.

        In a notebook, the options come from the environment variable D2L_RECSYS_ARGS:
        ``%env D2L_RECSYS_ARGS=--smoke``.

        Sets the seeds. Exits if an option is invalid or the data is not available.
        """
        from chapters.runner.run import Run
        from d2l_recsys.runtime.devices import seed_everything, try_all_gpus
        from d2l_recsys.runtime.workers import worker
        from d2l_recsys.tools.curves import in_notebook

        words = sys.argv[1:]
        if in_notebook():
            words = shlex.split(os.environ.get("D2L_RECSYS_ARGS", ""))
        args = self.parse_args(words)
        self.check_needs(args, words)
        if args.smoke and args.epochs:
            args.epochs = min(args.epochs, 2)
        args.devices = args.devices or try_all_gpus()
        if args.resume and not args.checkpoint:
            self.error("argument --resume: needs --checkpoint DIR")
        for name in ("patience", "validation"):
            if args.checkpoint and vars(args).get(name):
                self.error(f"argument --checkpoint: cannot be used with --{name}")
        if vars(args).get("kvstore") == "dist_sync":
            self._join()
        self.make_folder(args.out)
        if sys.argv[0] != self.slug:  # python -m chapters runs several sections
            forget_warnings()
        try:
            run = Run(self.slug, args, self.family)
            self._choose_batch(run)
            if worker.num_workers > 1:
                settings = run.identity(), args.epochs, args.resume
                worker.check_same(settings, "options or data")
            if args.epochs:
                run.checkpoint("main")  # fail now if it is invalid
        except (OSError, ValueError) as error:
            self.error(in_one_line(error) or str(error))
        seed_everything(args.seed)
        if not gc.get_freeze_count():
            gc.freeze()  # faster exit: do not search the imported modules for garbage
        return run

    def make_folder(self, out: Path) -> None:
        """Create the folder of --out. Exits if no file can be written to it."""
        try:
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):  # fail now, not at the end
                pass
        except OSError as error:
            self.error(f"argument --out: {out}: {error.strerror}")

    def _choose_batch(self, run: "Run") -> None:
        """Set the batch size of `run`, and the factor `scale` for larger data sets.

        Batches grow in proportion to the number of ratings. So an epoch has as many
        steps as in the book, and each user and item is in about as many batches. But
        its share of a batch's mean loss is smaller by `scale`. To keep the balance, the
        scripts divide weight decay by `scale`.
        """
        run.scale, given = 1, run.args.batch_size
        if self.batch_size:
            if self.family is MOVIELENS and not given:
                run.scale = times_the_books(run.folder, run.data_set)
            book = self.batch_size * (run.scale if self.of_ratings else 1)
            run.batch_size = run.args.batch_size = given or book

    def _join(self) -> None:
        from d2l_recsys.runtime.workers import worker

        try:
            worker.join()
        except ValueError as error:
            self.error(f"argument --kvstore: {error}")
        if worker.rank:  # all workers would print the same
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return Path(text)


def _devices(text: str) -> List[Any]:
    from d2l_recsys.runtime.devices import contexts

    try:
        return contexts(*read_devices(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
