"""Recommend items with a saved model: ``python -m d2l_recsys recommend FOLDER``.

The folder is one that a script has saved, such as results/neumf. Users and items have
the ids of the reader's own files.
"""

import csv
import io
import sys
from argparse import Namespace
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple

import numpy

from d2l_recsys.data.replacing import replacing
from d2l_recsys.engine.errors import ModelError
from d2l_recsys.engine.full_ranking import top_unseen
from d2l_recsys.engine.rankers import Ranker, ranker_of, ranker_of_new_user
from d2l_recsys.engine.saved import Histories, load, trained_on
from d2l_recsys.tools.command_line import Parser, in_one_line, positive

Row = Dict[str, Any]


def main(arguments: List[str]) -> int:
    """Print the recommendations, or write those for all users; return 0."""
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        net = load(args.folder)
        data = trained_on(net, Histories)
        if args.all_users:
            _write_all(args, ranker_of(net), data)
            return 0
        if args.history is not None:
            ranker, user = ranker_of_new_user(net, _history(args.history, data)), 0
        else:
            ranker = ranker_of(net)
            user = _number(args.user, data.user_ids, "user")
        ((_, best),) = _best(args, ranker, [user])
        rows = list(_rows(best, data))
    except (ValueError, OSError) as error:
        parser.error(in_one_line(error))
    _print(rows, args.csv)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m d2l_recsys recommend",
        description="Recommend items that a user has not seen, with a saved model.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="where the model is, such as results/neumf"
    )
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="ID", help="a user of the training data")
    who.add_argument(
        "--history",
        metavar="ITEM,ITEM,...",
        help="the items of a new user, the latest last; for models of ratings also "
        "ITEM:RATING (default: the highest rating); an item with a comma is put in "
        "quotes, as in a CSV file",
    )
    who.add_argument(
        "--all-users",
        metavar="FILE",
        help="write a CSV file with recommendations for each user of the training data",
    )
    parser.add_argument(
        "-n",
        type=positive,
        default=10,
        metavar="N",
        help="number of items (default: 10)",
    )
    parser.add_argument("--csv", action="store_true", help="print CSV, not a table")
    return parser


def _best(
    args: Namespace, ranker: Ranker, users: Sequence[int]
) -> Iterator[Tuple[int, List[Tuple[int, float]]]]:
    return top_unseen(ranker.net, numpy.asarray(users), args.n, ranker.seen, ranker.seq)


def _rows(best: Iterable[Tuple[int, float]], data: Histories) -> Iterator[Row]:
    """Yield rows for a table, with a title if the model knows titles."""
    for rank, (item, score) in enumerate(best, 1):
        row = {"rank": rank, "item": data.item_ids[item], "score": f"{score:.4f}"}
        if data.titles:
            row["title"] = data.titles[item] or ""
        yield row


def _write_all(args: Namespace, ranker: Ranker, data: Histories) -> None:
    """Write the rows of all users, a few users at a time."""
    users = range(ranker.seen.num_users)
    names = ["user", "rank", "item", "score", *(["title"] if data.titles else [])]
    with replacing(args.all_users) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        for user, best in _best(args, ranker, users):
            for row in _rows(best, data):
                writer.writerow({"user": data.user_ids[user], **row})
        text.flush()
        text.detach()  # `file` is closed by its owner


def _print(rows: List[Row], as_csv: bool) -> None:
    if not rows:
        print("the user has seen all items", file=sys.stderr)
        return
    names = list(rows[0])
    if as_csv:
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    table = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(names))]
    for line in table:
        cells = [cell.rjust(width) for cell, width in zip(line[:3], widths)]
        print("  ".join([*cells, *line[3:]]).rstrip())


def _history(text: str, data: Histories) -> Any:
    """Return the items of --history, or {item: rating} if there are ratings."""
    ratings, items = {}, []
    known = {str(item): number for number, item in enumerate(data.item_ids)}
    for word in next(csv.reader([text], skipinitialspace=True)):
        name, colon, rating = (word, "", "") if word in known else word.rpartition(":")
        items.append(_number(name if colon else word, data.item_ids, "item"))
        if colon:
            try:
                ratings[items[-1]] = float(rating)
            except ValueError:
                raise ModelError(f"--history: {word!r} is not ITEM:RATING") from None
    if len({*items}) < len(items):
        raise ModelError(f"--history: an item appears twice in {text!r}")
    if ratings and len(ratings) < len(items):
        raise ModelError("--history: give a rating for each item, or for none")
    return ratings or items


def _number(text: str, ids: Sequence[Any], what: str) -> int:
    """Return the number from 0 that the model has for an id of the file."""
    for number, known in enumerate(ids):
        if str(known) == text:
            return number
    raise ModelError(
        f"{what} {text!r} is not among the {len(ids)} {what}s of the training data; "
        f"{ids[0]} is, for example"
    )
