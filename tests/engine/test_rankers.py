"""Loaded models recommend to known and to new users, on data with a known answer."""

import tracemalloc
from functools import lru_cache

import numpy
import pytest
from conftest import checkerboard

from d2l_recsys import (
    MF,
    AutoRec,
    BPRLoss,
    Caser,
    NeuMF,
    PRDataset,
    SeqDataset,
    recommend,
    train_ranking,
    train_recsys_rating,
)
from d2l_recsys.autorec import evaluator
from d2l_recsys.data.interactions import Interactions
from d2l_recsys.engine import full_ranking, rankers
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.full_ranking import top_unseen
from d2l_recsys.engine.rankers import ranker_of, ranker_of_new_user
from d2l_recsys.engine.saved import Histories, load, save
from d2l_recsys.runtime.backend import gluon, mx, np

SIZE = 20
IDS = [f"u{i}" for i in range(SIZE)], [f"i{i}" for i in range(SIZE)]
RANKING = {
    "mf": lambda: MF(4, SIZE, SIZE),
    "neumf": lambda: NeuMF(4, SIZE, SIZE, [8, 8]),
    "gmf": lambda: NeuMF(4, SIZE, SIZE, []),
    "mlp": lambda: NeuMF(4, SIZE, SIZE, [16, 8], gmf=False),
    "caser": lambda: Caser(4, SIZE, SIZE, L=3, drop_ratio=0),
}
RATING = {
    "mf": (lambda: MF(4, SIZE, SIZE), None),
    "item": (lambda: AutoRec(16, SIZE, dropout=0), "item"),
    "deep item": (lambda: AutoRec([16, 8], SIZE, dropout=0), "item"),
    "user": (lambda: AutoRec(16, SIZE, dropout=0), "user"),
}


def adam(net, lr=0.02):
    return gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})


@pytest.fixture(scope="module")
def ranking(tmp_path_factory):
    """Return a function that trains on a checkerboard and loads what was saved."""

    def train(name):
        mx.random.seed(1)
        (users, items), _ = checkerboard(SIZE)
        test = {user: [user] for user in range(SIZE)}
        order = numpy.random.default_rng(0).permutation(len(users))
        users, items = users[order], items[order]
        seen = Interactions(users, items, SIZE, SIZE)
        net = RANKING[name]()
        net.initialize(mx.init.Xavier(magnitude=6))
        if name == "caser":
            data = SeqDataset(users, items, 3, SIZE, SIZE, seen, test)
        else:
            data = PRDataset(users, items, seen, SIZE, test)
        loader = BatchLoader(data, 64, shuffle=True)
        rest = None, SIZE, SIZE, 30, None, None, seen
        train_ranking(net, loader, None, BPRLoss(), adam(net), *rest)
        folder = tmp_path_factory.mktemp(name)
        save(folder, net, Histories(*IDS, seen))
        return load(folder)

    return lru_cache(maxsize=None)(train)


@pytest.mark.parametrize("name", RANKING)
def test_new_users_get_what_the_trained_ones_get(name, ranking):
    net = ranking(name)
    data = net.trained_on
    for user in range(
        0, SIZE, 3
    ):  # the diagonal is all that is left of the user's group
        ((item, _),) = recommend(net, user, 1)
        history = data.seen.of_user(user).tolist()
        ((folded, _),) = recommend(net, None, 1, history=history)
        assert item == folded == user


def opinions():
    """Return the checkerboard as ratings 5 and 1; two cells of a row are left out."""
    users, items = numpy.indices((SIZE, SIZE)).reshape(2, -1)
    ratings = numpy.where((users + items) % 2, 1.0, 5.0).astype("float32")
    train = (items != users) & (items != (users + 1) % SIZE)
    return users[train], items[train], ratings[train]


@pytest.fixture(scope="module")
def rating(tmp_path_factory):
    def train(name):
        mx.random.seed(1)
        make, rows = RATING[name]
        users, items, ratings = opinions()
        net, loss = make(), gluon.loss.L2Loss()
        net.initialize(mx.init.Xavier())
        if rows:
            matrix = numpy.zeros((SIZE, SIZE), dtype="float32")
            matrix[(items, users) if rows == "item" else (users, items)] = ratings
            loader, epochs = BatchLoader(np.array(matrix), 5, shuffle=True), 150
            more = {"evaluator": evaluator}
        else:
            data = users.astype("int32"), items.astype("int32"), ratings
            loader, epochs, more = BatchLoader(data, 64, shuffle=True), 60, {}
        train_recsys_rating(net, loader, None, loss, adam(net), epochs, **more)
        seen = Interactions(users, items, SIZE, SIZE)
        folder = tmp_path_factory.mktemp(name.replace(" ", ""))
        save(folder, net, Histories(*IDS, seen, ratings, rows=rows))
        return load(folder)

    return lru_cache(maxsize=None)(train)


@pytest.mark.parametrize("name", RATING)
def test_ratings_of_new_users_are_those_of_the_trained_ones(name, rating):
    net = rating(name)
    seen, ratings = net.trained_on.seen, net.trained_on.ratings
    for user in range(0, SIZE, 3):
        own = seen.places(numpy.array([user]))
        history = dict(zip(seen.items[own].tolist(), ratings[own].tolist()))
        for found in (
            recommend(net, user, 5),
            recommend(net, None, 5, history=history),
        ):
            (first, high), (second, low) = found
            assert (first, second) == (user, (user + 1) % SIZE)
            assert low < 3 < high


def test_without_ratings_the_items_are_liked(rating):
    net = rating("user")
    liked = [0, 2, 4]
    best = recommend(net, None, 7, history=liked)
    assert best == recommend(net, None, 7, history=dict.fromkeys(liked, 5))
    assert not {item for item, _ in best} & {0, 2, 4}


def test_a_user_based_autoencoder_completes_the_row(rating):
    net = rating("user")
    row = np.zeros((1, SIZE))
    row[0, 3], row[0, 6] = 5, 1
    best = recommend(net, None, SIZE, history={6: 1.0, 3: 5})
    expected = net(row).asnumpy()[0]
    assert [item for item, _ in best] == [
        i for i in numpy.argsort(-expected, kind="stable") if i not in (3, 6)
    ]


def test_all_users_as_one_by_one(ranking, rating):
    nets = (ranking("caser"), ranking("neumf"), rating("item"), rating("user"))
    for net in (*nets, rating("mf")):
        ranker = ranker_of(net)
        users = numpy.arange(SIZE)
        found = dict(top_unseen(ranker.net, users, 3, ranker.seen, ranker.seq))
        assert list(found) == list(range(SIZE))
        for user in (0, 7, 19):
            assert [item for item, _ in found[user]] == [
                item for item, _ in recommend(net, user, 3)
            ]


def test_an_item_based_autoencoder_streams_its_scores(tmp_path, monkeypatch):
    """All scores take 24 MB, and a chunk of rows or scores less than a tenth of it."""
    num_users, num_items, chunk = 2000, 3000, 500_000
    monkeypatch.setattr(rankers, "_CELLS", chunk)
    monkeypatch.setattr(full_ranking, "PAIRS", chunk)
    rng = numpy.random.default_rng(0)
    users, items = numpy.arange(num_users), rng.integers(0, num_items, num_users)
    seen = Interactions(users, items, num_users, num_items)
    net = AutoRec([8, 4], num_users, out_activation="sigmoid")
    net.initialize(mx.init.Normal(1))
    ids = [*range(num_users)], [*range(num_items)]
    save(tmp_path, net, Histories(*ids, seen, numpy.ones(num_users, "f"), rows="item"))
    net = load(tmp_path)
    tracemalloc.start()
    ranker = ranker_of(net)
    found = dict(top_unseen(ranker.net, users, 2, ranker.seen))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 4 * chunk
    matrix = numpy.zeros((num_items, num_users), dtype="float32")
    matrix[items, users] = 1
    expected = net(np.array(matrix)).asnumpy()
    for user in (0, 999, 1999):
        (first, high), (second, low) = found[user]
        unseen = numpy.delete(expected[:, user], items[user])
        assert [high, low] == pytest.approx(sorted(unseen)[:-3:-1], rel=1e-5)
        assert expected[[first, second], user] == pytest.approx([high, low], rel=1e-5)


def test_the_loaded_net_is_left_as_it_was(ranking):
    net = ranking("neumf")
    before = {k: p.data().asnumpy() for k, p in net.collect_params().items()}
    ranker_of_new_user(net, [0, 2])
    for name, parameter in net.collect_params().items():
        assert numpy.array_equal(parameter.data().asnumpy(), before[name])


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], "the history is empty"),
        ([20], r"item 20 is not in 0\.\.19"),
        ([-1], r"item -1 is not in 0\.\.19"),
        ([2.0], r"item 2\.0 is not in 0\.\.19"),
        ([2, 2], "item i2 appears twice"),
        ({2: 5}, "trained without ratings"),
    ],
)
def test_histories_that_cannot_be_used(history, message, ranking):
    with pytest.raises(ValueError, match=message):
        recommend(ranking("gmf"), None, 1, history=history)


@pytest.mark.parametrize("rating_", [0, 6, float("nan"), "5"])
def test_ratings_outside_of_the_scale(rating_, rating):
    message = rf"rating {rating_} of item i2 is not in 1\.\.5"
    with pytest.raises(ValueError, match=message):
        recommend(rating("user"), None, 1, history={2: rating_})


def test_an_item_without_training(tmp_path):
    net = MF(2, 2, 3)
    net.initialize()
    save(tmp_path, net, Histories([1, 2], [10, 20, 30], Interactions([0], [1], 2, 3)))
    with pytest.raises(ValueError, match="nobody has item 30 in the training data"):
        recommend(load(tmp_path), None, 1, history=[1, 2])
    assert len(recommend(load(tmp_path), 1, 9)) == 3  # a user without a history


def test_who_is_meant():
    net = MF(2, 2, 3)
    net.initialize()
    for arguments, message in (
        ((0, 1), "this MF knows no users: pass candidates, num_users"),
        ((0, 1, {}), "candidates need num_users and num_items"),
        ((None, 1, {}, 2, 3), "user must be an integer, not None"),
    ):
        with pytest.raises(ValueError, match=message):
            recommend(net, *arguments)
    with pytest.raises(ValueError, match="pass a user or a history"):
        recommend(net, 0, 1, history=[1])
