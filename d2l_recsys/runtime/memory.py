"""Let NumPy work on the memory of MXNet's arrays."""

import ctypes
from typing import Any

import numpy

from d2l_recsys.runtime.backend import mx


def in_memory(array: mx.nd.NDArray) -> numpy.ndarray:
    """Return a NumPy array that shares the memory of an array on a CPU.

    Call :func:`finish` before each use.
    """
    # MXNet allocates some arrays at their first use. If an operation uses this one at
    # the same time, even to read it, both may do so, and one of the two copies is lost.
    finish()
    address = ctypes.c_void_p()
    mx.base.check_call(
        mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(address))
    )
    size = array.size * numpy.dtype(array.dtype).itemsize
    memory: Any = (ctypes.c_byte * size).from_address(address.value)
    memory.owner = array  # which must live as long as the view
    return numpy.frombuffer(memory, dtype=array.dtype).reshape(array.shape)


def to_numpy(values: Any) -> numpy.ndarray:
    """Return an array of MXNet or NumPy as one of NumPy."""
    return values.asnumpy() if hasattr(values, "asnumpy") else values


def finish() -> None:
    """Wait until MXNet has finished all operations."""
    mx.nd.waitall()


class Place:
    """An array of MXNet that is filled or read again and again.

    On a CPU, NumPy does that, which is faster than an operation of MXNet.
    """

    def __init__(self, array: mx.nd.NDArray) -> None:
        self.array = array
        on_cpu = array.ctx.device_type == "cpu"
        self._memory = in_memory(array) if on_cpu else None

    def fill(self, values: Any) -> None:
        """Copy `values`, an array of MXNet or NumPy of the same shape, into the array.

        Call :func:`finish` first.
        """
        if isinstance(values, mx.nd.NDArray):
            values.copyto(self.array)
        elif self._memory is None:
            self.array[:] = values
        else:
            numpy.copyto(self._memory, values)

    def values(self) -> numpy.ndarray:
        """Return the values: on a CPU, as a view of the array.

        Call :func:`finish` first.
        """
        return self.array.asnumpy() if self._memory is None else self._memory
