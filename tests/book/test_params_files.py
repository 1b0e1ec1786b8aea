"""Files of parameters: what the book's classes save, ours load, and vice versa.

The classes below have the layers of the book's, literally, and its way of scoring.
"""

import numpy
import pytest

from d2l_recsys import FM, MF, AutoRec, Caser, DeepFM, NeuMF
from d2l_recsys.runtime.backend import mx, nn, np, npx

USERS, ITEMS, K, L, FIELDS = 7, 9, 4, 3, [3, 4, 5]


class BookMF(nn.Block):
    def __init__(self):
        super().__init__()
        self.P, self.Q = nn.Embedding(USERS, K), nn.Embedding(ITEMS, K)
        self.user_bias, self.item_bias = nn.Embedding(USERS, 1), nn.Embedding(ITEMS, 1)

    def forward(self, u, i):
        product = (self.P(u) * self.Q(i)).sum(axis=1)
        return product + self.user_bias(u).squeeze(1) + self.item_bias(i).squeeze(1)


class BookAutoRec(nn.Block):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Dense(6, activation="sigmoid", use_bias=True)
        self.decoder = nn.Dense(USERS, use_bias=True)
        self.dropout = nn.Dropout(0.05)

    def forward(self, rows):
        return self.decoder(self.dropout(self.encoder(rows)))


class BookNeuMF(nn.Block):
    def __init__(self):
        super().__init__()
        self.P, self.Q = nn.Embedding(USERS, K), nn.Embedding(ITEMS, K)
        self.U, self.V = nn.Embedding(USERS, K), nn.Embedding(ITEMS, K)
        self.mlp = nn.Sequential()
        for units in (6, 5):
            self.mlp.add(nn.Dense(units, activation="relu", use_bias=True))
        self.prediction_layer = nn.Dense(1, use_bias=False)

    def forward(self, u, i):
        mlp = self.mlp(np.concatenate([self.U(u), self.V(i)], axis=1))
        both = np.concatenate([self.P(u) * self.Q(i), mlp], axis=1)
        return self.prediction_layer(both).squeeze(1)


class BookCaser(nn.Block):
    def __init__(self, d=2, d_prime=3):
        super().__init__()
        self.P, self.Q = nn.Embedding(USERS, K), nn.Embedding(ITEMS, K)
        self.conv_v = nn.Conv2D(d_prime, (L, 1), in_channels=1)
        self.conv_h, self.max_pool = nn.Sequential(), nn.Sequential()
        for h in range(1, L + 1):
            self.conv_h.add(nn.Conv2D(d, (h, K), in_channels=1))
            self.max_pool.add(nn.MaxPool1D(L - h + 1))
        self.fc = nn.Dense(K, activation="relu", in_units=d_prime * K + d * L)
        self.Q_prime, self.b = nn.Embedding(ITEMS, 2 * K), nn.Embedding(ITEMS, 1)
        self.dropout = nn.Dropout(0.05)

    def forward(self, u, seq, i):
        image = np.expand_dims(self.Q(seq), 1)
        out = [self.conv_v(image).reshape(len(u), -1)]
        for conv, pool in zip(self.conv_h, self.max_pool):
            over_time = npx.relu(conv(image)).squeeze(3)
            out.append(pool(over_time).squeeze(2))
        z = self.fc(self.dropout(np.concatenate(out, axis=1)))
        x = np.concatenate([z, self.P(u)], axis=1)
        return (self.Q_prime(i) * x).sum(axis=1) + self.b(i).squeeze(1)


class BookFM(nn.Block):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(sum(FIELDS), K)
        self.fc = nn.Embedding(sum(FIELDS), 1)
        self.linear_layer = nn.Dense(1, use_bias=True)

    def forward(self, x):
        vectors = self.embedding(x)
        pairs = vectors.sum(axis=1) ** 2 - (vectors**2).sum(axis=1)
        linear = self.linear_layer(self.fc(x).sum(axis=1))
        return linear + 0.5 * pairs.sum(axis=1, keepdims=True)


class BookDeepFM(BookFM):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential()
        for units in (6, 5):
            self.mlp.add(nn.Dense(units, activation="relu"), nn.Dropout(0.1))
        self.mlp.add(nn.Dense(1))

    def forward(self, x):
        return super().forward(x) + self.mlp(self.embedding(x).reshape(len(x), -1))


def ids(*shape, below):
    drawn = numpy.random.default_rng(below).integers(0, below, shape)
    return np.array(drawn.astype("int32"))


PAIRS = [ids(8, below=USERS), ids(8, below=ITEMS)]
ROWS = [np.random.normal(size=(8, USERS))]
WITH_SEQUENCES = [PAIRS[0], ids(8, L, below=ITEMS), PAIRS[1]]
INDICES = [ids(8, 3, below=3) + np.array([0, 3, 7], dtype="int32")]
MODELS = {
    "MF": (BookMF, lambda: MF(K, USERS, ITEMS), PAIRS),
    "AutoRec": (BookAutoRec, lambda: AutoRec(6, USERS), ROWS),
    "NeuMF": (BookNeuMF, lambda: NeuMF(K, USERS, ITEMS, [6, 5]), PAIRS),
    "Caser": (BookCaser, lambda: Caser(K, USERS, ITEMS, L, 2, 3), WITH_SEQUENCES),
    "FM": (BookFM, lambda: FM(FIELDS, K), INDICES),
    "DeepFM": (BookDeepFM, lambda: DeepFM(FIELDS, K, [6, 5]), INDICES),
}


@pytest.fixture(params=MODELS)
def both(request):
    """Return the book's net and ours, with other parameters, and inputs for them."""
    book, ours, inputs = MODELS[request.param]
    nets = book(), ours()
    for net in nets:
        net.initialize(mx.init.Normal(0.5))
        net(*inputs)  # the book leaves sizes to the first call
        for parameter in net.collect_params(".*bias").values():
            parameter.set_data(np.random.normal(size=parameter.shape))
    return (*nets, inputs)


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("way", ["from the book", "to the book"])
def test_a_saved_net_scores_the_same_on_the_other_side(both, way, hybridize, tmp_path):
    book, ours, inputs = both
    if hybridize:
        ours.hybridize()
    assert abs(ours(*inputs) - book(*inputs)).max() > 0.01
    saved, loaded = (book, ours) if way == "from the book" else (ours, book)
    saved.save_parameters(str(tmp_path / "net.params"))
    loaded.load_parameters(str(tmp_path / "net.params"))
    # float32: sums of some ten terms in another order
    assert ours(*inputs).asnumpy() == pytest.approx(book(*inputs).asnumpy(), abs=1e-5)
    assert ours(*inputs).shape == book(*inputs).shape


def test_layers_stand_in_the_books_order_and_shape(both):
    book, ours, _ = both
    theirs, mine = (
        {name: p.shape for name, p in net._collect_params_with_prefix().items()}
        for net in (book, ours)
    )
    assert list(mine) == list(theirs)
    assert mine == theirs


def xavier_variance(shape):
    """Return the variance that Xavier's formula gives a weight of a book's layer."""
    kernel = numpy.prod(shape[2:])
    return 2 / ((shape[0] + shape[1]) * kernel)


@pytest.mark.parametrize("name", ["NeuMF", "Caser", "DeepFM"])
def test_xavier_draws_from_the_ranges_of_the_books_layers(name):
    book, ours, inputs = MODELS[name]
    theirs = book()
    theirs.initialize()
    theirs(*inputs)
    squares, net = {}, ours()
    for seed in range(300):
        mx.random.seed(seed)
        net.initialize(mx.init.Xavier(), force_reinit=True)
        for key, parameter in net._collect_params_with_prefix().items():
            values = parameter.data().asnumpy()
            squares.setdefault(key, []).append((values**2).mean())
    for key, parameter in theirs._collect_params_with_prefix().items():
        expected = xavier_variance(parameter.shape) if "weight" in key else 0
        # A square of a uniform number has a standard deviation of 0.9 of its mean; the
        # smallest weight has 5 numbers, and split layers were off by 50 %.
        assert numpy.mean(squares[key]) == pytest.approx(expected, rel=0.15), key
