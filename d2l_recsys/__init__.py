"""d2l-recsys: companion code for the book's chapter "Recommender Systems".

Each section of the book has a module here, and a script and a test of the same name:

=============  =======================================================================
``movielens``  read_data_ml100k, read_ratings, split_data_ml100k,
               load_data_ml100k, split_and_load_ml100k
``mf``         MF, evaluator, train_recsys_rating
``autorec``    AutoRec, evaluator
``ranking``    BPRLoss, HingeLossbRec
``neumf``      NeuMF, PRDataset, hit_and_auc, evaluate_ranking, train_ranking
``seqrec``     Caser, SeqDataset
``ctr``        CTRDataset
``fm``         FM, train_ch13
``deepfm``     DeepFM
=============  =======================================================================

The folders hold the machinery: ``data`` (files, frames and arrays), ``engine``
(training and evaluation), ``runtime`` (MXNet and the machine) and ``tools`` (curves and
commands). The book's own cells run in the namespace ``from d2l_recsys import d2l``.

The names can also be imported from the package: ``from d2l_recsys import MF``. Their
modules are loaded on first use.
"""

from importlib import import_module
from typing import Any, List

from d2l_recsys.runtime import compat as _compat  # noqa: F401
from d2l_recsys.runtime.openblas import choose_kernels as _choose_kernels

_choose_kernels()  # before NumPy is imported

__version__ = "0.2.0"

_HOME_OF = {
    "AutoRec": "autorec",
    "BPRLoss": "ranking",
    "CTRDataset": "ctr",
    "Caser": "seqrec",
    "DeepFM": "deepfm",
    "FM": "fm",
    "HingeLossbRec": "ranking",
    "MF": "mf",
    "NeuMF": "neumf",
    "PRDataset": "neumf",
    "SeqDataset": "seqrec",
    "evaluate_ranking": "neumf",
    "hit_and_auc": "neumf",
    "load": "engine.saved",
    "recommend": "engine.full_ranking",
    "train_ranking": "neumf",
    "train_ch13": "fm",
    "train_recsys_rating": "mf",
    "load_data_ml100k": "movielens",
    "read_data_ml100k": "movielens",
    "read_ratings": "movielens",
    "split_and_load_ml100k": "movielens",
    "split_data_ml100k": "movielens",
    "try_all_gpus": "runtime.devices",
    "try_gpu": "runtime.devices",
}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'd2l_recsys' has no attribute {name!r}")
    return getattr(import_module(f"d2l_recsys.{_HOME_OF[name]}"), name)


def __dir__() -> List[str]:
    return sorted([*globals(), *__all__])
