"""The book's namespace: ``d2l.mxnet``, with the functions of this package on top.

With ``from d2l_recsys import d2l`` instead of ``from d2l import mxnet as d2l``, the
cells of the chapter run unchanged. The installed d2l is not modified.

In a notebook, the training functions draw curves after each epoch, as in the book; in
a script, they only print. They accept the first edition's ``ctx_list=`` for
``devices=``. ``accuracy`` is d2l's function for classifiers. Sections: all.
"""

import os
import warnings
from collections import deque
from functools import wraps
from importlib import import_module
from inspect import signature
from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Sequence, Tuple

import d2l_recsys
from d2l_recsys import fm, mf, neumf
from d2l_recsys.data import catalog
from d2l_recsys.runtime import compat
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.runtime.devices import try_all_gpus
from d2l_recsys.tools.curves import Curves, in_notebook

# An import statement would have to come before the backend, which must be the first to
# load MXNet.
try:
    book: Any = import_module("d2l.mxnet")
except ModuleNotFoundError:
    raise ImportError(compat.HOW_TO_ADD_D2L) from None


def __getattr__(name: str) -> Any:
    return getattr(d2l_recsys if name in d2l_recsys.__all__ else book, name)


def __dir__() -> List[str]:
    return sorted({*globals(), *d2l_recsys.__all__, *dir(book)})


def download_extract(name: str, folder: Optional[str] = None) -> str:
    """Return the folder with the files of a data set, with a separator at the end.

    So the first edition's ``data_dir + 'u.data'`` works as well as
    ``os.path.join(data_dir, 'u.data')``. The data sets of this package, such as
    'ml-100k' and 'ctr', come from :func:`d2l_recsys.data.catalog.fetch`, unless
    ``DATA_HUB`` has another archive of that name. All others come from d2l's function.
    """
    known = catalog.DATASETS.get(name)
    hub = book.DATA_HUB.get(name)
    if known and (hub is None or getattr(known, "hash", "") == f"sha1:{hub[1]}"):
        path = str(catalog.fetch(name))
    else:
        path = book.download_extract(name)
    if folder:  # as in d2l: a sibling of the folder named like the archive
        path = os.path.join(os.path.dirname(path), folder)
    return os.path.join(path, "")


class QuietHistory(list):
    """A history that a notebook does not display as the result of a cell."""

    def _ipython_display_(self) -> None:
        pass


def _as_in_the_book(
    train: Callable, labels: Dict[str, str], ylim: Tuple[float, float]
) -> Callable:
    """Add curves in a notebook, and the first edition's argument names, to `train`."""
    parameters = signature(train)

    @wraps(train)
    def train_and_draw(*args: Any, **kwargs: Any) -> QuietHistory:
        if "ctx_list" in kwargs:
            kwargs["devices"] = kwargs.pop("ctx_list")
        call = parameters.bind(*args, **kwargs)
        if call.arguments.get("on_epoch") is None and in_notebook():
            num_epochs = call.arguments["num_epochs"]
            shown = {
                name: label
                for name, label in labels.items()
                if call.arguments["test_iter"] is not None or "test" not in name
            }
            call.arguments["on_epoch"] = Curves(num_epochs, shown, ylim)
        return QuietHistory(train(*call.args, **call.kwargs))

    return train_and_draw


train_recsys_rating = _as_in_the_book(
    mf.train_recsys_rating,
    {"train_loss": "train loss", "test_rmse": "test RMSE"},
    ylim=(0, 2),
)
_train_ranking = _as_in_the_book(
    neumf.train_ranking,
    {"test_hit_rate": "test hit rate", "test_auc": "test AUC"},
    ylim=(0, 1),
)
_train_ctr = _as_in_the_book(
    fm.train_ch13,
    {"train_loss": "train loss", "train_acc": "train acc", "test_acc": "test acc"},
    ylim=(0, 1),
)


@wraps(neumf.train_ranking)
def train_ranking(net: gluon.Block, *args: Any, **kwargs: Any) -> QuietHistory:
    """Train a ranking model; warn if its scores are probabilities (E20)."""
    last: Deque[Any] = deque(maxlen=1)
    hook = net.register_forward_hook(lambda *call: last.append(call[-1]))
    try:
        history = _train_ranking(net, *args, **kwargs)
    finally:
        hook.detach()
    # A hybridized net may have been called with symbols only.
    arrays = [scores for scores in last if isinstance(scores, np.ndarray)]
    if arrays and _is_share(arrays[0]):
        warnings.warn(
            f"{type(net).__name__} seems to end in a sigmoid, which keeps the distance "
            "of two scores below 1: return x instead of npx.sigmoid(x) (E20)",
            stacklevel=2,
        )
    return history


def train_ch13(
    net: gluon.Block,
    train_iter: Iterable,
    test_iter: Optional[Iterable],
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    num_epochs: int,
    devices: Optional[Sequence[mx.Context]] = None,
    split_f: Optional[Callable] = None,
    **kwargs: Any,
) -> Optional[List[Dict[str, float]]]:
    """Train a CTR model with :func:`d2l_recsys.fm.train_ch13`; return its history.

    Every test row is evaluated once, whatever the ``last_batch`` of Gluon's DataLoader
    (E46). Outputs are taken as logits. If those of an epoch are all in [0, 1], they are
    taken as probabilities, as in the classic edition (E44): there is a warning, and
    the accuracies count those above 1/2 as clicks.

    Classifiers of other chapters, which use SoftmaxCrossEntropyLoss or a `split_f`, are
    trained by d2l's own function.
    """
    devices = kwargs.pop("ctx_list", devices)
    if split_f or isinstance(loss, gluon.loss.SoftmaxCrossEntropyLoss):
        devices = devices or try_all_gpus()
        split_f = split_f or book.split_batch
        return book.train_ch13(
            net, train_iter, test_iter, loss, trainer, num_epochs, devices, split_f
        )
    found = {"probabilities": False}

    def threshold(outputs: List[Sequence]) -> float:
        found["probabilities"] = all(_is_share(scores) for scores, _ in outputs)
        return 0.5 if found["probabilities"] else 0.0

    history = _train_ctr(
        net,
        train_iter,
        _every_row(test_iter),
        loss,
        trainer,
        num_epochs,
        devices,
        threshold=threshold,
        **kwargs,
    )
    if found["probabilities"]:
        warnings.warn(
            f"{type(net).__name__} seems to return probabilities, but the loss expects "
            "logits: return x instead of npx.sigmoid(x) (E44)",
            stacklevel=2,
        )
    return history


def _is_share(scores: Any) -> bool:
    """Tell whether all values of an array are in [0, 1]."""
    return scores.min() >= 0 and scores.max() <= 1


def _every_row(loader: Any) -> Any:
    """Return `loader`, or if it skips rows in an epoch, one that yields every row."""
    sampler: Any = getattr(loader, "_batch_sampler", None)
    if getattr(sampler, "_last_batch", "keep") == "keep":
        return loader
    return gluon.data.DataLoader(
        loader._dataset, sampler._batch_size, batchify_fn=loader._batchify_fn
    )
