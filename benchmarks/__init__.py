"""Benchmarks, among them a comparison with the book's functions from ``d2l``."""

import d2l_recsys.runtime.backend  # noqa: F401  first: it loads CUDA before MXNet
