"""d2l-recsys: companion code for the book's chapter "Recommender Systems".

A section of the book is a module of its slug here, a script in ``chapters`` and a test:

=============  =======================================================================
``movielens``  read_data_ml100k, split_data_ml100k, load_data_ml100k,
               split_and_load_ml100k
``mf``         MF, evaluator, train_recsys_rating
=============  =======================================================================

Below them lie ``datasets`` (where data comes from), ``ratings`` (reading its files) and
``synthetic`` (made-up data); ``devices``, ``batching`` and ``training`` (the epoch
loop); above them ``plotting``. The book's names can be imported from here as well:
``from d2l_recsys import MF``. Nothing is loaded before it is asked for.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME_OF = {
    "MF": "mf",
    "train_recsys_rating": "mf",
    "load_data_ml100k": "movielens",
    "read_data_ml100k": "movielens",
    "split_and_load_ml100k": "movielens",
    "split_data_ml100k": "movielens",
    "try_all_gpus": "devices",
    "try_gpu": "devices",
}
__all__ = sorted(_HOME_OF)


def __getattr__(name):
    if name not in _HOME_OF:
        raise AttributeError(f"module 'd2l_recsys' has no attribute {name!r}")
    return getattr(import_module(f"d2l_recsys.{_HOME_OF[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
