"""The cells of `ctr`, `fm` and `deepfm`, in the way that readers type them."""

import os
from collections import defaultdict

import mxnet as mx
import pytest
from mxnet import gluon, init, np, npx
from mxnet.gluon import nn

from d2l_recsys import d2l

npx.set_np()
pytestmark = pytest.mark.usefixtures("book_data")
LINES = (
    r"loss (.*), train acc (.*), test acc (.*)\n"
    r".* examples/sec on \[cpu\(0\).*\]\n"
    r"test log loss (.*), test AUC (.*)\n"
)
TWO = [mx.cpu(0), mx.cpu(1)]


class CTRDataset(gluon.data.Dataset):
    def __init__(
        self, data_path, feat_mapper=None, defaults=None, min_threshold=4, num_feat=34
    ):
        self.NUM_FEATS, self.data = num_feat, []
        counts = defaultdict(lambda: defaultdict(int))
        with open(data_path) as f:
            for line in f:
                values = line.rstrip("\n").split("\t")
                for i in range(1, num_feat + 1):
                    counts[i][values[i]] += 1
                self.data.append((values[1:], [np.float32(values[0])]))
        self.feat_mapper, self.defaults = feat_mapper, defaults
        if feat_mapper is None and defaults is None:
            kept = {
                i: sorted(v for v, c in count.items() if c >= min_threshold)
                for i, count in counts.items()
            }
            self.feat_mapper = {
                i: {v: index for index, v in enumerate(values)}
                for i, values in kept.items()
            }
            self.defaults = {i: len(values) for i, values in kept.items()}
        self.field_dims = np.zeros(num_feat, dtype=np.int64)
        for i, mapper in self.feat_mapper.items():
            self.field_dims[i - 1] = len(mapper) + 1
        self.offsets = np.array((0, *np.cumsum(self.field_dims).asnumpy()[:-1]))

    def __len__(self):
        return len(self.data)

    def __getitem__(self, idx):
        x, y = self.data[idx]
        known = enumerate(x, 1)
        index = [self.feat_mapper[i].get(v, self.defaults[i]) for i, v in known]
        return np.array(index) + self.offsets, y


def plus(data_dir, name):
    return data_dir + name


@pytest.mark.parametrize("path", [plus, os.path.join])
def test_ctr(path):
    data_dir = d2l.download_extract("ctr")
    theirs = CTRDataset(data_path=path(data_dir, "train.csv"))
    ours = d2l.CTRDataset(data_path=path(data_dir, "train.csv"))
    assert theirs[0][0].tolist() == ours[0][0].tolist()
    assert theirs[0][1] == ours[0][1]
    assert theirs.field_dims.tolist() == ours.field_dims.tolist()


class FM(nn.Block):
    def __init__(self, field_dims, num_factors):
        super().__init__()
        num_inputs = int(sum(field_dims))
        self.embedding = nn.Embedding(num_inputs, num_factors)
        self.fc = nn.Embedding(num_inputs, 1)
        self.linear_layer = nn.Dense(1, use_bias=True)

    def forward(self, x):
        square_of_sum = np.sum(self.embedding(x), axis=1) ** 2
        sum_of_square = np.sum(self.embedding(x) ** 2, axis=1)
        return self.linear_layer(self.fc(x).sum(1)) + 0.5 * (
            square_of_sum - sum_of_square
        ).sum(1, keepdims=True)


class ProbableFM(FM):
    """As the first two editions have it."""

    def forward(self, x):
        return npx.sigmoid(super().forward(x))


class DeepFM(nn.Block):
    def __init__(self, field_dims, num_factors, mlp_dims, drop_rate=0.1):
        super().__init__()
        num_inputs = int(sum(field_dims))
        self.embedding = nn.Embedding(num_inputs, num_factors)
        self.fc = nn.Embedding(num_inputs, 1)
        self.linear_layer = nn.Dense(1, use_bias=True)
        input_dim = self.embed_output_dim = len(field_dims) * num_factors
        self.mlp = nn.Sequential()
        for dim in mlp_dims:
            self.mlp.add(nn.Dense(dim, "relu", True, in_units=input_dim))
            self.mlp.add(nn.Dropout(rate=drop_rate))
            input_dim = dim
        self.mlp.add(nn.Dense(in_units=input_dim, units=1))

    def forward(self, x):
        embed_x = self.embedding(x)
        square_of_sum = np.sum(embed_x, axis=1) ** 2
        sum_of_square = np.sum(embed_x**2, axis=1)
        inputs = np.reshape(embed_x, (-1, self.embed_output_dim))
        return (
            self.linear_layer(self.fc(x).sum(1))
            + 0.5 * (square_of_sum - sum_of_square).sum(1, keepdims=True)
            + self.mlp(inputs)
        )


def load(dataset, num_workers, batch_size=256):
    data_dir = d2l.download_extract("ctr")
    train_data = dataset(os.path.join(data_dir, "train.csv"))
    test_data = dataset(
        os.path.join(data_dir, "test.csv"),
        feat_mapper=train_data.feat_mapper,
        defaults=train_data.defaults,
    )
    train_iter, test_iter = (
        gluon.data.DataLoader(
            data,
            shuffle=shuffle,
            last_batch="rollover",
            batch_size=batch_size,
            num_workers=num_workers,
        )
        for data, shuffle in ((train_data, True), (test_data, False))
    )
    return train_data.field_dims, train_iter, test_iter


def trained(net, train_iter, test_iter, *devices, **more):
    lr, num_epochs, optimizer = 0.02, 3, "adam"
    trainer = gluon.Trainer(net.collect_params(), optimizer, {"learning_rate": lr})
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    return d2l.train_ch13(
        net, train_iter, test_iter, loss, trainer, num_epochs, *devices, **more
    )


@pytest.mark.parametrize(
    ("devices", "model", "dataset", "num_workers"),
    [
        (None, FM, CTRDataset, d2l.get_dataloader_workers()),
        (TWO, FM, d2l.CTRDataset, d2l.get_dataloader_workers()),
        (TWO, d2l.FM, CTRDataset, 0),
        (TWO, DeepFM, CTRDataset, 0),
        (None, DeepFM, d2l.CTRDataset, 0),
        (None, d2l.DeepFM, CTRDataset, d2l.get_dataloader_workers()),
    ],
)
def test_fm_and_deepfm(devices, model, dataset, num_workers, printed):
    field_dims, train_iter, test_iter = load(dataset, num_workers)
    devices = devices or d2l.try_all_gpus()
    if model in (FM, d2l.FM):
        net = model(field_dims, num_factors=20)
    else:
        net = model(field_dims, num_factors=10, mlp_dims=[30, 20, 10])
    net.initialize(init.Xavier(), ctx=devices)
    trained(net, train_iter, test_iter, devices)
    loss, train_acc, test_acc, log_loss, auc = printed(LINES)
    assert 0 < loss < 0.7
    assert 0.6 < train_acc <= 1
    assert 0.6 < test_acc <= 1
    assert 0.1 < log_loss < 0.7
    assert 0.6 < auc <= 1


def test_every_test_row_counts_though_the_loader_keeps_some_back(printed):
    field_dims, train_iter, test_iter = load(d2l.CTRDataset, 0, batch_size=600)
    net = d2l.FM(field_dims, 4)
    net.initialize(init.Xavier())
    trained(net, train_iter, test_iter)  # 500 rows of the test file are no batch
    _, _, test_acc, _, _ = printed(LINES)
    data, right = test_iter._dataset, 0
    for features, label in gluon.data.DataLoader(data, batch_size=500):
        right += int(((net(features) > 0) == (label > 0)).sum())
    assert test_acc == round(right / 500, 3)


def test_probabilities_in_place_of_logits_are_spoken_of(printed):
    field_dims, train_iter, test_iter = load(d2l.CTRDataset, 0)
    net = ProbableFM(field_dims, 20)
    net.initialize(init.Xavier())
    with pytest.warns(UserWarning, match=r"ProbableFM seems to return prob.*\(E44\)"):
        trained(net, train_iter, test_iter)
    _, train_acc, test_acc, _, _ = printed(LINES)
    right = 0
    for features, label in gluon.data.DataLoader(test_iter._dataset, batch_size=500):
        right += int(((net(features) > 0.5) == (label > 0.5)).sum())
    assert test_acc == round(right / 500, 3) > 0.6
    assert train_acc > 0.6


@pytest.mark.filterwarnings("ignore:backend2gui is deprecated")
@pytest.mark.parametrize("split_f", [[], [d2l.split_batch]])
def test_classifiers_of_other_chapters(split_f, capsys):
    x = np.random.normal(0, 1, (60, 2))
    y = (x[:, 0] > 0).astype("int32")
    train_iter = d2l.load_array((x, y), 10)
    net = nn.Dense(2)
    net.initialize(ctx=d2l.try_all_gpus())
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.5})
    devices = [d2l.try_all_gpus(), *split_f] if split_f else []
    d2l.train_ch13(net, train_iter, train_iter, loss, trainer, 2, *devices)
    d2l.plt.close("all")
    line = capsys.readouterr().out.splitlines()[-2]
    assert float(line.split("test acc ")[1]) > 0.9
    assert d2l.accuracy(net(x), y) > 0.9 * 60
