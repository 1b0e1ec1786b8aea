"""Made-up advertisements in the format of the book's CTR file, for work without it.

A row has five hidden traits, each +1 or -1. Its 34 fields show them, each field one, in
many values and with a few errors; one field in six shows none. The click depends on

* two traits as they are: what logistic regression can find;
* two products of two traits: what a factorization machine finds besides;
* a product of three traits, in which no pair of them shows: left for DeepFM;

and a little on each value. Nothing is taken from real data but the format. NumPy only.
"""

from pathlib import Path
from typing import NamedTuple, Union

import numpy as np

NUM_FIELDS = 34
NUM_TRAITS = 5
MAIN = {0: 2.5, 1: 2.5}  # weights in the logit, by the traits that are multiplied
PAIRS = {(0, 1): 3.0, (2, 3): 3.0}
TRIPLE = {(2, 3, 4): 5.0}
SIZES = (4, 8, 16, 6, 1000, 10)  # values of a field; the six of a row are alike
TAIL = 1.2  # the k-th value of a trait comes in proportion to k ** -TAIL
ERRORS = 0.02  # of fields, show the opposite trait
OWN = 0.15  # standard deviation of a value's own weight
CLICKS = 0.28  # share of rows


class CTRSample(NamedTuple):
    """Drawn rows: what a reader sees, and what it was made from."""

    traits: np.ndarray  # (rows, 5), +1 and -1
    values: np.ndarray  # (rows, 34), numbers from 0 within a field
    logits: np.ndarray  # (rows,)
    labels: np.ndarray  # (rows,), 0 and 1


def write_ctr(
    folder: Union[str, Path],
    num_train: int = 15_000,
    num_test: int = 3000,
    seed: int = 0,
) -> None:
    """Write made-up train.csv and test.csv into `folder`, which is made if need be.

    A line is the label, 0 or 1, and 34 values of eight hexadecimal digits, with tabs
    between. The same arguments give the same bytes. Section: ``ctr``.

    Raises ValueError for fewer than one row in either file.
    """
    if min(num_train, num_test) < 1:
        raise ValueError(
            f"num_train={num_train} and num_test={num_test} must be at least 1"
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    sample = draw_ctr(rng, num_train + num_test)
    columns = [sample.labels.astype(str)]
    for values in sample.values.T:
        # Names in no order, or sorting them would sort by frequency.
        names = rng.choice(2**32, size=values.max() + 1, replace=False, shuffle=False)
        columns.append(np.array([f"{name:08x}" for name in names])[values])
    lines = ["\t".join(row) for row in np.stack(columns, axis=1).tolist()]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", lines[:num_train]), ("test", lines[num_train:])):
        # Bytes: text mode would end lines differently on Windows.
        (folder / f"{name}.csv").write_bytes(("\n".join(part) + "\n").encode())


def draw_ctr(rng: np.random.Generator, num_rows: int) -> CTRSample:
    """Draw rows, of which the share `CLICKS` has label 1, give or take the luck."""
    traits = rng.choice([-1, 1], (num_rows, NUM_TRAITS))
    values = np.empty((num_rows, NUM_FIELDS), dtype=int)
    logits = planted(traits)
    for field in range(NUM_FIELDS):
        turn, trait = divmod(field, NUM_TRAITS + 1)
        shown = (
            traits[:, trait] if trait < NUM_TRAITS else rng.choice([-1, 1], num_rows)
        )
        shown = np.where(rng.random(num_rows) < ERRORS, -shown, shown)
        size = SIZES[turn % len(SIZES)]
        often = np.arange(1, size // 2 + 1) ** -TAIL
        rank = rng.choice(size // 2, num_rows, p=often / often.sum())
        values[:, field] = 2 * rank + (shown > 0)  # odd values show +1
        logits += OWN * rng.standard_normal(size)[values[:, field]]
    logits += _intercept(logits)
    labels = (rng.random(num_rows) < _sigmoid(logits)).astype(int)
    return CTRSample(traits, values, logits, labels)


def planted(traits: np.ndarray) -> np.ndarray:
    """Return what `traits` (rows, 5) add to the logits, (rows,)."""
    logits = np.zeros(len(traits))
    for trait, weight in MAIN.items():
        logits += weight * traits[:, trait]
    for together, weight in {**PAIRS, **TRIPLE}.items():
        logits += weight * traits[:, list(together)].prod(axis=1)
    return logits


def _intercept(logits):
    """Return what makes the mean probability `CLICKS`, by halving an interval."""
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        too_many = _sigmoid(logits + middle).mean() > CLICKS
        low, high = (low, middle) if too_many else (middle, high)
    return middle


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))
