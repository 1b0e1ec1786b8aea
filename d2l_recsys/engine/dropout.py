"""Masks for dropout, drawn with NumPy.

SFC64 is the fastest of NumPy's generators.
"""

import math
from typing import NamedTuple, Tuple

import numpy

_NUMBERS = 2**16  # how many numbers 16 bits can express


class Mask(NamedTuple):
    """An input of zeros and ``1 / (1 - rate)``, to multiply numbers by."""

    shape: Tuple[int, ...]
    rate: float


class Masks:
    """The source of the dropout masks of a training."""

    def __init__(self) -> None:
        self._rng = numpy.random.Generator(numpy.random.SFC64())

    def seed(self, seed: int) -> None:
        """Determine all masks from here on."""
        self._rng = numpy.random.Generator(numpy.random.SFC64(seed))

    def fill(self, mask: numpy.ndarray, rate: float) -> None:
        """Write 0 with probability `rate`, and otherwise ``1 / (1 - rate)``.

        `mask` is float32, of any shape. The rate is rounded to a multiple of 2**-16
        below 1, so that 16 random bits per number are enough.
        """
        dropped = min(round(rate * _NUMBERS), _NUMBERS - 1)
        # Drawing 64 bits at a time takes a quarter of the time.
        bits = self._rng.integers(0, 2**64, math.ceil(mask.size / 4), "uint64")
        kept = bits.view("uint16")[: mask.size].reshape(mask.shape) >= dropped
        scale = _NUMBERS / (_NUMBERS - dropped)
        numpy.multiply(kept, numpy.float32(scale), out=mask)
