"""The six trainings in plain, vectorised PyTorch, as readers would write them.

The settings and the evaluations are those of the scripts. This needs PyTorch, pandas
and NumPy, and nothing of this package, so that another Python can run it.
"""
