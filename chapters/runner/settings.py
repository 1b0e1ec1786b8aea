"""The options that vary a section's settings. Their defaults are the book's."""

import argparse
from functools import partial
from math import isfinite
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

from chapters.runner.data import MOVIELENS
from d2l_recsys.data.rating_fields import FIELDS
from d2l_recsys.tools.command_line import Parser, positive, positive_number

OPTIMIZERS = ("adam", "sgd", "adagrad", "rmsprop")


class Need(NamedTuple):
    """An option that has an effect only if the others meet a condition."""

    option: str
    what: str  # ARGUMENT needs WHAT
    met: Callable[[argparse.Namespace], bool]


class Settings(Parser):
    """A parser with a method for each group of options."""

    of_ratings = False
    needs: Sequence[Need] = ()

    def add_training(
        self,
        lr: float,
        wd: float,
        factors: Optional[int] = None,
        fewest_factors: int = 1,
    ) -> None:
        """Add --lr, --wd and --optimizer, and --factors unless `factors` is None."""
        if factors is not None:
            self.add_argument(
                "--factors",
                type=positive if fewest_factors else natural,
                default=factors,
                metavar="N",
                help="number of latent factors, that is, the size of the embeddings",
            )
        self.add_argument(
            "--lr", type=positive_number, default=lr, help="learning rate"
        )
        book = "(default: %(default)s"
        if self.of_ratings:
            book += "; without --batch-size, divided by the ratings in 100,000s"
        self.add_argument(
            "--wd", type=not_negative, default=wd, help=f"weight decay {book})"
        )
        self.add_argument(
            "--optimizer", choices=OPTIMIZERS, default="adam", help="optimizer"
        )

    def add_min_rating(self) -> None:
        """Add --min-rating."""
        self.add_argument(
            "--min-rating",
            type=number,
            metavar="STARS",
            help="leave out lower ratings; the others are the items that users like",
        )

    def add_biases(self) -> None:
        """Add --biases and --no-biases."""
        add = partial(self.add_argument, dest="biases", default=True)
        add("--biases", action="store_true", help="add biases, as in the book")
        add("--no-biases", action="store_false", help="leave out the biases")

    def add_autoencoder(self) -> None:
        """Add --hidden and --activation."""
        from d2l_recsys.autorec import ACTIVATIONS

        self.add_argument(
            "--hidden",
            type=sizes,
            default="500",
            metavar="N,N,...",
            help="sizes of the encoder's layers; the decoder has them in reverse",
        )
        self.add_argument(
            "--activation",
            type=activations,
            default="sigmoid:none",
            metavar="HIDDEN:OUTPUT",
            help="activations of the hidden layers and of the output, each one of "
            f"{', '.join(ACTIVATIONS)} or none",
        )

    def add_mlp(self, mlp: str, dropout: float) -> None:
        """Add --mlp and --dropout."""
        self.add_argument(
            "--mlp",
            type=sizes,
            default=mlp,
            metavar="N,N,...",
            help="sizes of the hidden layers of the MLP",
        )
        self.add_argument(
            "--dropout",
            type=rate,
            default=dropout,
            metavar="RATE",
            help="dropout after each hidden layer of the MLP",
        )

    def add_ranking(self) -> None:
        """Add --loss, --margin, --negatives and --eval-users."""
        self.add_argument(
            "--loss", choices=["bpr", "hinge"], default="bpr", help="pairwise loss"
        )
        self.add_argument(
            "--margin", type=positive_number, default=1.0, help="margin of --loss hinge"
        )
        self.need("--margin", "--loss hinge", lambda args: args.loss == "hinge")
        self.add_argument(
            "--negatives",
            choices=["uniform", "popularity"],
            default="uniform",
            help="draw negative items uniformly, or in proportion to their numbers of "
            "training ratings",
        )
        self.add_argument(
            "--eval-users",
            type=positive_or_all,
            default=10_000,
            metavar="{N,all}",
            help="users to evaluate after each epoch; all are evaluated at the end",
        )

    def add_validation(self) -> None:
        """Add --validation."""
        self.add_argument(
            "--validation",
            action="store_true",
            help="also hold out a part of the training data; keep the epoch that is "
            "best on it",
        )

    def add_vocabulary(self) -> None:
        """Add --min-count and --bins."""
        self.add_argument(
            "--min-count",
            type=positive,
            default=4,
            metavar="N",
            help="values that occur fewer than N times in the training data share an "
            "index",
        )
        self.add_argument(
            "--bins",
            type=positive,
            default=20,
            metavar="N",
            help="number of quantile bins of a numeric field; only the data set criteo "
            "has such fields",
        )
        self.need("--bins", "--data criteo", lambda args: args.data == "criteo")

    def add_patience(self) -> None:
        """Add --patience."""
        self.add_argument(
            "--patience",
            type=positive,
            metavar="N",
            help="hold out a tenth of the training data, stop when its log loss has "
            "not improved for N epochs, and keep the best epoch",
        )

    def add_movielens(self) -> None:
        """Add --fields and --threshold, for --data ml-100k."""
        self.add_argument(
            "--fields",
            type=fields,
            default="user,item",
            metavar="NAME,NAME,...",
            help=f"with --data ml-100k: fields of a row, from {', '.join(FIELDS)}",
        )
        self.add_argument(
            "--threshold",
            type=positive_number,
            metavar="STARS",
            help="with --data ml-100k: predict whether a rating has at least this many "
            "stars, not the rating itself",
        )
        for option in ("--fields", "--threshold"):
            self.need(option, "--data ml-100k", is_movielens)
        self.need(
            "--patience",
            "--threshold, if the data is ml-100k",
            lambda args: args.threshold or not is_movielens(args),
        )

    def need(
        self, option: str, what: str, met: Callable[[argparse.Namespace], bool]
    ) -> None:
        """Refuse `option` with the message "needs `what`" unless `met` is true."""
        self.needs = [*self.needs, Need(option, what, met)]

    def check_needs(self, args: argparse.Namespace, words: Sequence[str]) -> None:
        """Exit if an option among the `words` of the command line has no effect."""
        given = {word.partition("=")[0] for word in words}
        for option, what, met in self.needs:
            if option in given and not met(args):
                self.error(f"argument {option}: needs {what}")


def is_movielens(args: argparse.Namespace) -> bool:
    """Return whether a script for CTR data trains on MovieLens instead."""
    return args.data == MOVIELENS.real


def number(text: str) -> float:
    """Convert an option to a finite number."""
    value = _number(text)
    if not isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def natural(text: str) -> int:
    """Convert an option to an integer of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a non-negative integer")
    return int(text)


def positive_or_all(text: str) -> Union[int, str]:
    """Convert an option to a positive integer, or return "all"."""
    return text if text == "all" else positive(text)


def not_negative(text: str) -> float:
    """Convert an option to a finite number of at least 0."""
    value = _number(text)
    if not (value >= 0 and isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a non-negative number")
    return value


def rate(text: str) -> float:
    """Convert an option to a number of at least 0 and below 1."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of at least 0 and below 1"
        )
    return value


def sizes(text: str) -> List[int]:
    """Convert an option such as 64,32,16 to the sizes of layers."""
    words = text.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of positive integers such as 64,32,16"
        )
    return [int(word) for word in words]


def activations(text: str) -> Tuple[Optional[str], ...]:
    """Convert an option such as relu:none to two names, or None for none."""
    from d2l_recsys.autorec import ACTIVATIONS

    names = text.split(":")
    if len(names) != 2 or not {*names} <= {"none", *ACTIVATIONS}:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not HIDDEN:OUTPUT, each one of {', '.join(ACTIVATIONS)} or "
            "none"
        )
    return tuple(None if name == "none" else name for name in names)


def fields(text: str) -> List[str]:
    """Convert an option such as user,item to names of fields."""
    names = text.split(",")
    for name in names:
        if name not in FIELDS or names.count(name) > 1:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a list of different names from {', '.join(FIELDS)}"
            )
    return names


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
