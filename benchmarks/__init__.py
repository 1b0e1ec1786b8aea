"""Measure times, memory and metrics, and compare with the book and with PyTorch."""
