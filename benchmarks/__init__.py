"""Benchmarks, among them a comparison with the book's functions and with PyTorch."""
