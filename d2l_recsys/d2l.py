"""The book's namespace: all of ``d2l.mxnet``, with this package's names over it.

``from d2l_recsys import d2l`` in place of ``from d2l import mxnet as d2l``, and the
chapter's cells run as they stand in the book. The installed d2l is left as it is.

In a notebook the training functions draw with d2l's Animator, as the book's do; in a
script they print only. They take the first edition's ``ctx_list=`` for ``devices=``.
``accuracy`` is d2l's: that of classifiers. Sections: all.
"""

import os
import warnings
from collections import deque
from functools import wraps
from importlib import import_module
from inspect import signature
from typing import Callable, Dict, Optional, Tuple

import d2l_recsys
from d2l_recsys import fm, mf, neumf
from d2l_recsys.data import catalog
from d2l_recsys.runtime import compat
from d2l_recsys.runtime.backend import gluon, np
from d2l_recsys.runtime.devices import try_all_gpus
from d2l_recsys.tools.curves import Curves, in_notebook

# Not by an import statement, which has to stand above: the backend is to be the first
# to load MXNet.
try:
    book = import_module("d2l.mxnet")
except ModuleNotFoundError:
    raise ImportError(compat.HOW_TO_ADD_D2L) from None


def __getattr__(name):
    return getattr(d2l_recsys if name in d2l_recsys.__all__ else book, name)


def __dir__():
    return sorted({*globals(), *d2l_recsys.__all__, *dir(book)})


def download_extract(name: str, folder: Optional[str] = None) -> str:
    """Return the folder with the files of a data set, ending in a separator.

    So ``data_dir + 'u.data'``, as the first edition has it, and
    ``os.path.join(data_dir, 'u.data')`` are the same. 'ml-100k', 'ctr' and the others
    that this package knows come from :func:`d2l_recsys.data.catalog.fetch`,
    unless ``DATA_HUB`` has another archive for the name; all others by d2l's function.
    """
    known = catalog.DATASETS.get(name)
    hub = book.DATA_HUB.get(name)
    if known and (hub is None or getattr(known, "hash", "") == f"sha1:{hub[1]}"):
        path = catalog.fetch(name)
    else:
        path = book.download_extract(name)
    if folder:  # as d2l has it, beside the one that is called like the archive
        path = os.path.join(os.path.dirname(path), folder)
    return os.path.join(path, "")


class QuietHistory(list):
    """A history that a notebook does not show when a cell ends with the training."""

    def _ipython_display_(self):
        pass


def _as_in_the_book(train: Callable, labels: Dict[str, str], ylim: Tuple[float, float]):
    """Return `train` with curves in a notebook, and with the first edition's names."""
    parameters = signature(train)

    @wraps(train)
    def train_and_draw(*args, **kwargs):
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
train_ranking = _as_in_the_book(
    neumf.train_ranking,
    {"test_hit_rate": "test hit rate", "test_auc": "test AUC"},
    ylim=(0, 1),
)
_train_clicks = _as_in_the_book(
    fm.train_ch13,
    {"train_loss": "train loss", "train_acc": "train acc", "test_acc": "test acc"},
    ylim=(0, 1),
)


def train_ch13(
    net: gluon.Block,
    train_iter,
    test_iter,
    loss: gluon.loss.Loss,
    trainer: gluon.Trainer,
    num_epochs: int,
    devices=None,
    split_f: Optional[Callable] = None,
    **kwargs,
):
    """Train a model of clicks with :func:`d2l_recsys.fm.train_ch13`.

    The test rows count once each, whatever the ``last_batch`` of gluon's DataLoader
    (E46). Warns of a net whose outputs are probabilities, as in the classic edition,
    for they are taken as logits (E44).

    Classifiers of other chapters, that is SoftmaxCrossEntropyLoss or a `split_f`, are
    trained by d2l's own function.
    """
    devices = kwargs.pop("ctx_list", devices)
    if split_f or isinstance(loss, gluon.loss.SoftmaxCrossEntropyLoss):
        devices = devices or try_all_gpus()
        split_f = split_f or book.split_batch
        return book.train_ch13(
            net, train_iter, test_iter, loss, trainer, num_epochs, devices, split_f
        )
    last = deque(maxlen=1)
    hook = net.register_forward_hook(lambda *call: last.append(call[-1]))
    try:
        test_iter = _every_row(test_iter)
        history = _train_clicks(
            net, train_iter, test_iter, loss, trainer, num_epochs, devices, **kwargs
        )
    finally:
        hook.detach()
    # Without a test set, a hybridized net was called with symbols at most.
    arrays = [scores for scores in last if isinstance(scores, np.ndarray)]
    if arrays and arrays[0].min() >= 0 and arrays[0].max() <= 1:
        warnings.warn(
            f"{type(net).__name__} seems to return probabilities, but the loss and the "
            "accuracy take logits: return x, not npx.sigmoid(x) (E44)",
            stacklevel=2,
        )
    return history


def _every_row(loader):
    """Return `loader`, or if it keeps rows for the next epoch one that doesn't."""
    sampler = getattr(loader, "_batch_sampler", None)
    if getattr(sampler, "_last_batch", "keep") == "keep":
        return loader
    return gluon.data.DataLoader(
        loader._dataset, sampler._batch_size, batchify_fn=loader._batchify_fn
    )
