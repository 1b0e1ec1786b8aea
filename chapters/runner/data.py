"""The data sets of the scripts: their names, and how they are found."""

import argparse
import hashlib
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from d2l_recsys.data import catalog
from d2l_recsys.data.ratings import FORMATS, count_ratings

ML_100K_SHA1 = "3d12bc07346b98059a31aeed4b66752e83d8d372"  # of the published u.data


class Family(NamedTuple):
    """The data sets that a script can train on."""

    real: str  # the book's data set; there are also REAL-synthetic and REAL-smoke
    others: Tuple[str, ...] = ()
    files: bool = False  # whether --data may name a file

    @property
    def names(self) -> Tuple[str, ...]:
        """The names that --data accepts."""
        return ("auto", self.real, *self.others, "synthetic")


class Known(NamedTuple):
    """What earlier sections of a run have found out, so that later ones need not."""

    unavailable: Set[Tuple[str, Optional[Path]]]  # data sets, each with its --data-dir
    warnings: Set[str]  # which were printed


known = Known(set(), set())
MOVIELENS = Family(
    "ml-100k", tuple(name for name in FORMATS if name != "ml-100k"), files=True
)
CTR = Family("ctr", ("criteo", "avazu"), files=True)
FAMILY_OF = {"ctr": CTR, "fm": CTR, "deepfm": CTR}  # all others: MOVIELENS
DATA_TITLES = {
    "ml-100k": "MovieLens 100K",
    "ml-1m": "MovieLens 1M",
    "ml-10m": "MovieLens 10M",
    "ml-20m": "MovieLens 20M",
    "ml-25m": "MovieLens 25M",
    "ml-32m": "MovieLens 32M",
    "ml-latest-small": "MovieLens Latest Small",
    "ctr": "the book's CTR data",
    "criteo": "Criteo's CTR data",
    "avazu": "Avazu's CTR data",
    "synthetic": "synthetic data",
    "smoke": "tiny synthetic data",
    "custom": "your own data",
}
NOT_THE_BOOKS = """\
*******************************************************************************
***  {reason}
***  THE FIGURES BELOW ARE NOT THE BOOK'S.
*******************************************************************************"""


def find_data(args: argparse.Namespace, family: Family) -> Tuple[Path, str]:
    """Return the folder of the data and its name; warn if it is not the book's data."""
    real, title = family.real, DATA_TITLES[family.real]
    if args.data == MOVIELENS.real and family is not MOVIELENS:
        found = find_data(args, MOVIELENS)
        if not args.smoke:
            _warn(f"{DATA_TITLES[args.data]} instead of {title}, as requested.")
        return found
    if args.smoke:
        return catalog.fetch(f"{real}-smoke"), "smoke"
    if args.data == "synthetic":
        _warn(f"Synthetic data instead of {title}, as requested (--data synthetic).")
        return catalog.fetch(f"{real}-synthetic"), "synthetic"
    if args.data not in family.names:
        _warn(f"{args.data} instead of {title}, as requested.")
        return Path(args.data), "custom"
    if args.data in family.others:
        return _find_other(args, title)
    if args.data == real:
        folder = catalog.fetch(real, args.data_dir)
    else:
        found = _fetch_once(real, args.data_dir)
        if found is None:
            _warn(
                f"{title[0].upper()}{title[1:]} was not found and could not be "
                "downloaded. SYNTHETIC DATA is\n***  used instead. `--data "
                f"{real}` says how to get the real data.\n***  Looked for: "
                f"{catalog.looked_for(real, args.data_dir)}."
            )
            return catalog.fetch(f"{real}-synthetic"), "synthetic"
        folder = found
    if family is MOVIELENS and _sha1(folder / "u.data") != ML_100K_SHA1:
        _warn(f"{folder / 'u.data'} is not the published MovieLens 100K.")
        return folder, "custom"
    return folder, real


def _find_other(args: argparse.Namespace, title: str) -> Tuple[Path, str]:
    """Find a data set other than the book's; warn if its size is not as published."""
    folder, name = catalog.fetch(args.data, args.data_dir), args.data
    reason = f"{DATA_TITLES[name]} instead of {title}, as requested."
    published = getattr(catalog.DATASETS[name], "ratings", None)
    if published:
        path, count = _count(folder, name)
        if count != published:
            reason += f"\n***  {path} has {count} ratings instead of {published}."
            name = "custom"
    _warn(reason)
    return folder, name


def _fetch_once(real: str, data_dir: Optional[Path]) -> Optional[Path]:
    """Return the folder or None. A run of all sections tries the download only once."""
    try:
        if (real, data_dir) not in known.unavailable:
            return catalog.fetch(real, data_dir)
    except catalog.DatasetUnavailable:
        known.unavailable.add((real, data_dir))
    return None


def times_the_books(folder: Path, name: str) -> int:
    """Return the number of ratings of a data set in 100,000s, at least 1.

    `folder` may be a file of ratings with a header.
    """
    _, ratings = _count(folder, name)
    return max(1, round(ratings / 100_000))


@lru_cache(maxsize=None)
def _count(folder: Path, name: str) -> Tuple[Path, int]:
    """Return the file of ratings and their number. The cache saves reading it twice."""
    if folder.is_file():
        return folder, count_ratings(folder, "ml-25m")  # which has a header, too
    path = folder / catalog.DATASETS[name].members[0]
    return path, count_ratings(path, name)


@lru_cache(maxsize=None)
def fingerprint(source: Path) -> str:
    """Return a hash of a file, or of the names and contents of a folder's files."""
    if source.is_file():
        return _sha1(source)
    digest = hashlib.sha1()
    for path in sorted(source.iterdir()):
        if path.is_file():
            digest.update(f"{path.name} {_sha1(path)}\n".encode())
    return digest.hexdigest()


def _sha1(path: Path) -> str:
    import pooch

    return pooch.file_hash(str(path), alg="sha1")


def _warn(reason: str) -> None:
    """Print a reason; once, until :func:`forget_warnings` is called."""
    if reason not in known.warnings:
        known.warnings.add(reason)
        print(NOT_THE_BOOKS.format(reason=reason), flush=True)


def learn(found: Known) -> None:
    """Add what sections in another process have found out."""
    for ours, theirs in zip(known, found):
        ours.update(theirs)


def forget_warnings() -> None:
    """Let the next run print all warnings again, as in a notebook."""
    known.warnings.clear()


def data_argument(
    slug: str, family: Family, more: Sequence[str] = ()
) -> Dict[str, Any]:
    """Return the arguments of ``add_argument`` for --data, which also takes `more`."""
    if slug == "__main__":
        families = [MOVIELENS, *FAMILY_OF.values()]
        choices = sorted({name for f in families for name in f.names})
        return {"choices": choices, "type": _no_file}
    if not family.files:
        return {"choices": list(family.names)}
    names = (*family.names, *more)
    return {
        "type": partial(_name_or_file, names),
        "metavar": f"{{{','.join(names)}}}|FILE",
    }


def _no_file(text: str) -> str:
    """Refuse a file: it has ratings or clicks, so it does not fit all sections."""
    if Path(text).is_file():
        raise argparse.ArgumentTypeError(
            f"{text!r} is a file: give it to a single section, python -m chapters.NAME "
            f"--data {text}, where NAME is movielens, mf, autorec, neumf or seqrec "
            "for ratings, or ctr, fm or deepfm for clicks"
        )
    return text


def _name_or_file(names: Tuple[str, ...], text: str) -> str:
    if text in names or Path(text).is_file():
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is neither {', '.join(names)} nor a file"
    )


def arguments_for(slug: str, given: List[str]) -> List[str]:
    """Return the arguments for a section, without those that it does not know.

    These are a --data of the other family, and --duplicates for CTR data.
    """
    family = FAMILY_OF.get(slug, MOVIELENS)
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--data")
    args, rest = parser.parse_known_args(given)
    kept = given if args.data in family.names else rest
    if family is MOVIELENS:
        return kept
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--duplicates")
    return parser.parse_known_args(kept)[1]
