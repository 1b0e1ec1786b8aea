"""Timings side by side with the book's own functions, from the installed d2l."""

import d2l_recsys.runtime.backend  # noqa: F401  first, for it loads CUDA before MXNet
