"""Ratings: load MovieLens, and train matrix factorization and AutoRec."""

from benchmarks import trainings
from benchmarks.books import prepare, timed
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.runtime.backend import mx


def reading(read, split, load, feedback):
    """Read the data, split it (seq-aware) and load both parts."""
    data, num_users, num_items = read()
    for part in split(data, num_users, num_items, "seq-aware"):
        load(part, num_users, num_items, feedback)


def products(users=943, items=1682, hidden=500, epochs=25, batch_size=256):
    """Compute the matrix products of AutoRec's training, and no more.

    There are five for each batch: the outputs and the weights' gradient of each layer,
    and the gradient of the hidden units. The inputs need no gradient.
    """
    dot, across = mx.nd.dot, {"transpose_a": True}
    shapes = (items, users), (users, hidden), (hidden, users), (items, hidden)
    ratings, encoder, decoder, codes = (mx.nd.random.uniform(shape=s) for s in shapes)
    for _ in range(epochs):
        for start in range(0, items, batch_size):
            x, h = (a[start : start + batch_size] for a in (ratings, codes))
            forward = dot(x, encoder), dot(h, decoder)
            gradients = dot(h, x, **across), dot(x, h, **across)
            _ = forward, gradients, dot(x, decoder, transpose_b=True)
    mx.nd.waitall()


def rows():
    """Yield the rows of the table."""
    d2l = prepare()
    ours = read_data_ml100k, split_data_ml100k, load_data_ml100k
    theirs = d2l.read_data_ml100k, d2l.split_data_ml100k, d2l.load_data_ml100k
    for feedback in ("explicit", "implicit"):
        mine, _ = timed(reading, *ours, feedback, repeat=5)
        books, _ = timed(reading, *theirs, feedback)
        what = f"read, split and load ml-100k, {feedback}"
        yield {"work": what, "ours": mine, "book": books}
    yield trainings.row("mf", "MF, 20 epochs")
    bound, _ = timed(products, repeat=3)
    yield trainings.row("autorec", "AutoRec, 25 epochs", bound)
