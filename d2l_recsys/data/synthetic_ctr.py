"""Synthetic CTR data in the format of the book's file.

Each row has five hidden traits, +1 or -1. Each of its 34 fields shows one trait, with
many values and a few errors; one field in six shows none. The click depends on

* two single traits, which logistic regression can find;
* two products of two traits, which a factorization machine can find as well;
* a product of three traits, which no pair of them reveals and only DeepFM can find;

and slightly on each value. Only the format is taken from real data. Section: ``ctr``.
"""

from pathlib import Path
from typing import Dict, NamedTuple, Tuple, Union

import numpy as np

NUM_FIELDS = 34
NUM_TRAITS = 5
MAIN = {0: 2.5, 1: 2.5}  # {trait or product of traits: weight in the logit}
PAIRS: Dict[Tuple[int, ...], float] = {(0, 1): 3.0, (2, 3): 3.0}
TRIPLE: Dict[Tuple[int, ...], float] = {(2, 3, 4): 5.0}
SIZES = (4, 8, 16, 6, 1000, 10)  # values per field; six consecutive fields share one
TAIL = 1.2  # the k-th value of a trait's sign is drawn in proportion to k ** -TAIL
ERRORS = 0.02  # share of values that show the opposite trait
VALUE_WEIGHT = 0.15  # standard deviation of the weights of single values
CLICKS = 0.28  # share of rows with label 1


class CTRSample(NamedTuple):
    """Drawn rows: fields and labels, and the hidden traits and logits behind them."""

    traits: np.ndarray  # (rows, 5), +1 or -1
    values: np.ndarray  # (rows, 34), numbered from 0 within each field
    logits: np.ndarray  # (rows,)
    labels: np.ndarray  # (rows,), 0 or 1


def write_ctr(
    folder: Union[str, Path],
    num_train: int = 15_000,
    num_test: int = 3000,
    seed: int = 0,
) -> None:
    """Write synthetic train.csv and test.csv into `folder`; create it if necessary.

    Each line is a label, 0 or 1, and 34 values of eight hexadecimal digits, separated
    by tabs. The same arguments give the same bytes.

    Raises ValueError if either file would have fewer than one row. Section: ``ctr``.
    """
    if min(num_train, num_test) < 1:
        raise ValueError(
            f"num_train={num_train} and num_test={num_test} must be at least 1"
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    sample = draw_ctr(rng, num_train + num_test)
    columns = [sample.labels.astype(str)]
    for values in sample.values.T:
        # The names are random, so their order does not follow the frequencies.
        names = rng.choice(2**32, size=values.max() + 1, replace=False, shuffle=False)
        columns.append(np.array([f"{name:08x}" for name in names])[values])
    lines = ["\t".join(row) for row in np.stack(columns, axis=1).tolist()]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", lines[:num_train]), ("test", lines[num_train:])):
        # Write bytes, because text mode would change the line ends on Windows.
        (folder / f"{name}.csv").write_bytes(("\n".join(part) + "\n").encode())


def draw_ctr(rng: np.random.Generator, num_rows: int) -> CTRSample:
    """Draw rows. Each has label 1 with a mean probability of `CLICKS`."""
    traits = rng.choice([-1, 1], (num_rows, NUM_TRAITS))
    values = np.empty((num_rows, NUM_FIELDS), dtype=int)
    logits = planted(traits)
    for field in range(NUM_FIELDS):
        group, trait = divmod(field, NUM_TRAITS + 1)
        shown = (
            traits[:, trait] if trait < NUM_TRAITS else rng.choice([-1, 1], num_rows)
        )
        shown = np.where(rng.random(num_rows) < ERRORS, -shown, shown)
        size = SIZES[group % len(SIZES)]
        weights = np.arange(1, size // 2 + 1) ** -TAIL
        rank = rng.choice(size // 2, num_rows, p=weights / weights.sum())
        values[:, field] = 2 * rank + (shown > 0)  # odd values show +1
        logits += VALUE_WEIGHT * rng.standard_normal(size)[values[:, field]]
    logits += _intercept(logits)
    labels = (rng.random(num_rows) < _sigmoid(logits)).astype(int)
    return CTRSample(traits, values, logits, labels)


def planted(traits: np.ndarray) -> np.ndarray:
    """Return the part of the logits (rows,) that depends on the `traits` (rows, 5)."""
    logits = np.zeros(len(traits))
    for trait, weight in MAIN.items():
        logits += weight * traits[:, trait]
    for product, weight in {**PAIRS, **TRIPLE}.items():
        logits += weight * traits[:, list(product)].prod(axis=1)
    return logits


def _intercept(logits: np.ndarray) -> float:
    """Return the intercept that makes the mean probability `CLICKS`, by bisection."""
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        too_many = _sigmoid(logits + middle).mean() > CLICKS
        low, high = (low, middle) if too_many else (middle, high)
    return middle


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))
