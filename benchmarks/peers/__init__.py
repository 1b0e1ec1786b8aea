"""The six trainings in plain, vectorized PyTorch, as readers would write them.

The settings and evaluations are those of the scripts. The code needs PyTorch, pandas
and NumPy, but nothing of this package, so that another Python can run it.
"""
