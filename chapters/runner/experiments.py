"""Run a script with many settings and several seeds.

Each training runs in a process of its own, one per core. Finished results are kept, so
an interrupted experiment continues where it stopped.
"""

import hashlib
import io
import json
import os
import shlex
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import pandas as pd
from tqdm import tqdm

import d2l_recsys
from chapters.__main__ import run_section
from chapters.runner import results
from chapters.runner.failures import warn
from chapters.runner.processes import end_processes, start_pool
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.runtime import cores

LOWEST = {f"{part}_{x}" for part in ("valid", "test") for x in ("rmse", "log_loss")}
Row = Dict[str, Any]
_IN_EACH_ROW = ("data", "epoch", "seconds", "seed", "train_loss")
Training = Tuple[str, List[str]]  # the slug of a script, and its arguments


class ExperimentFailed(Exception):
    """A training of an experiment failed. The message holds what it printed."""


def run_all(
    slug: str,
    settings: Mapping[Any, str],
    seeds: Sequence[int],
    common: Sequence[str],
    folder: Path,
) -> pd.DataFrame:
    """Run the script of `slug` with each setting and each seed.

    `settings` maps labels to options, as they stand on the command line. `common` are
    the options of all runs. The results are kept in `folder`.

    Returns a frame with a row for each run. The columns are setting (the label), seed,
    data (the name of the data set), epoch (the one that was kept), its losses and
    metrics, the best value of each test metric over all epochs, as best_test_..., and
    seconds of training.

    Raises ExperimentFailed if a run fails.
    """
    trainings = [
        (slug, [*shlex.split(options), "--seed", str(seed), *common])
        for options in settings.values()
        for seed in seeds
    ]
    labels = [label for label in settings for _ in seeds]
    files = [folder / f"{_key(training)}.json" for training in trainings]
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_kept_row(path) for path in files]
    missing = [i for i, row in enumerate(rows) if row is None]
    for i, row in _rows_of([trainings[i] for i in missing], slug):
        results.write(files[missing[i]], results.as_json(row))
        rows[missing[i]] = _kept_row(files[missing[i]])
    return pd.DataFrame(
        [{"setting": x, **row} for x, row in zip(labels, rows) if row is not None]
    )


def _kept_row(path: Path) -> Optional[Row]:
    """Return the row of a finished training, or None if there is none.

    A damaged file counts as none, with a warning, so it is replaced.
    """
    try:
        row = json.loads(path.read_bytes())
        if {*_IN_EACH_ROW} <= {*row} and isinstance(row, dict):
            return row
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        pass
    warn(f"{path} is damaged: the training is repeated")
    return None


def _key(training: Training) -> str:
    """Return a name for the result of a training."""
    source = os.environ.get("D2L_RECSYS_DATA", "")
    text = json.dumps([d2l_recsys.__version__, source, *training])
    return hashlib.sha1(text.encode()).hexdigest()[:16]


def _rows_of(trainings: List[Training], title: str) -> Iterator[Tuple[int, Row]]:
    """Yield the place and the row of each training, in the order in which they end."""
    try:
        places = {_pool().submit(run_once, *x): i for i, x in enumerate(trainings)}
        bar = tqdm(as_completed(places), title, len(places), leave=False, disable=None)
        for done in bar:
            yield places[done], done.result()
    except BaseException:  # an error or Ctrl-C: end the trainings that still run
        end_processes()
        _pool.cache_clear()
        raise


@lru_cache(maxsize=None)
def _pool() -> ProcessPoolExecutor:
    """Return a process for each core, for all grids, because MXNet starts slowly."""
    return start_pool(cores.available(), int)


def run_once(slug: str, arguments: List[str]) -> Row:
    """Run a script in this process, without its output; return its row."""
    printed = io.StringIO()
    with TemporaryDirectory() as out, redirect_stdout(printed), redirect_stderr(
        printed
    ):
        try:
            record, _ = run_section(slug, [*arguments, "--out", out], Path(out))
        except (Exception, SystemExit) as error:
            command = f"python -m chapters.{slug} {shlex.join(arguments)}"
            raise ExperimentFailed(
                f"{command}: {error}\n{printed.getvalue()}"
            ) from None
    history = record["history"]
    row = {**kept_epoch(history), **record["metrics"], "data": record["data"]}
    for name in [x for x in row if x.startswith("test_") and x in history[-1]]:
        best = min if name in LOWEST else max
        row[f"best_{name}"] = best(epoch[name] for epoch in history)
    row["seconds"] = sum(epoch["seconds"] for epoch in history)
    return {**row, "seed": record["settings"]["seed"]}
