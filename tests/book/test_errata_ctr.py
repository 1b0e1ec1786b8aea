"""Errata of click-through rates, E41 to E48 and E54: the book's beside ours."""

import os
import subprocess
import sys
from unittest.mock import MagicMock

import numpy
import pytest
from d2l import mxnet as d2l

from d2l_recsys.ctr import CTRDataset
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.clicks import accuracy, evaluate_ctr
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.runtime.backend import gluon, mx, nn, np, npx

CPU = [mx.cpu()]
NAMES = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "jay", "koi", "lynx"]


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch):
    monkeypatch.setattr(d2l, "Animator", MagicMock())


@pytest.fixture
def file(tmp_path):
    def write(*lines, name="train.csv"):
        (tmp_path / name).write_text("".join(line + "\n" for line in lines))
        return tmp_path / name

    return write


FIRST_ROWS = """
import sys
path = sys.argv[1]
from d2l.mxnet import CTRDataset as Book
from d2l_recsys.ctr import CTRDataset
for dataset in (Book, CTRDataset):
    rows = dataset(path, num_feat=1)
    print([int(rows[k][0][0]) for k in range(11)])
"""


class TestCTRDataset:
    def test_e41_the_vocabulary_depends_on_the_seed_of_hashes(self, file):
        path = file(*(f"{k % 2}\t{name}" for k in range(4) for name in NAMES))
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", FIRST_ROWS, str(path)],
                env={**os.environ, "PYTHONHASHSEED": str(seed)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for seed in (0, 1)
        ]
        outputs = [p.communicate(timeout=600)[0].splitlines() for p in processes]
        books, ours = zip(*outputs)
        assert books[0] != books[1]
        assert ours[0] == ours[1] == str(list(range(11)))  # the order of the text

    def test_e42_faulty_lines_vanish(self, file):
        good = ["1\ta\tb"] * 4
        path = file(*good, "1\ta", "0\ta\tb\tc", *good)
        assert len(d2l.CTRDataset(path, num_feat=2)) == 8  # of 10, without a word
        with pytest.raises(ValueError, match=r"train\.csv, line 5"):
            CTRDataset(path, num_feat=2)

    def test_e42_the_wrong_format_gives_no_rows(self, file):
        path = file(*["1,a,b"] * 4)
        books = d2l.CTRDataset(path, num_feat=2)
        assert len(books) == 0
        with pytest.raises(KeyError, match="0"):
            books[0]
        with pytest.raises(ValueError, match=r"train\.csv, line 1"):
            CTRDataset(path, num_feat=2)

    def test_e42_any_label_of_two(self, file):
        path = file(*["-1\ta"] * 4)
        assert d2l.CTRDataset(path, num_feat=1)[0][1] == [-1]
        with pytest.raises(ValueError, match=r"train\.csv, line 1.*-1"):
            CTRDataset(path, num_feat=1)

    def test_e43_a_test_file_without_the_mapper_has_its_own_numbers(self, file):
        train = file(*(f"1\t{name}" for name in NAMES for _ in range(4)))
        test = file(*["1\tlynx"] * 4, name="test.csv")
        for dataset in (d2l.CTRDataset, CTRDataset):
            first = dataset(train, num_feat=1)
            with_mapper = dataset(test, first.feat_mapper, first.defaults, num_feat=1)
            alone = dataset(test, num_feat=1)
            assert int(alone[0][0][0]) == 0
            assert int(with_mapper[0][0][0]) == first.feat_mapper[1]["lynx"]
        assert int(with_mapper[0][0][0]) == 10
        # Half of what belongs together is refused here, where the book fails later.
        late = d2l.CTRDataset(test, first.feat_mapper, num_feat=1)
        with pytest.raises(TypeError, match="NoneType"):
            late[0]
        with pytest.raises(ValueError, match="feat_mapper and defaults belong"):
            CTRDataset(test, first.feat_mapper, num_feat=1)

    def test_e43_nothing_is_learnt_of_unknown_values_where_none_is_rare(self, file):
        """The same here: such a field has an index that no training row has."""
        path = file(*(f"1\t{name}" for name in NAMES for _ in range(4)))
        for dataset in (d2l.CTRDataset, CTRDataset):
            train = dataset(path, num_feat=1)
            used = {int(train[k][0][0]) for k in range(len(train))}
            assert train.defaults[1] == 11
            assert train.defaults[1] not in used

    def test_e43_a_row_is_encoded_at_each_access(self, file):
        class Mapper(dict):
            asked = 0

            def get(self, *key):
                Mapper.asked += 1
                return super().get(*key)

        path = file(*["1\tant"] * 10)
        for dataset, expected in ((d2l.CTRDataset, 30), (CTRDataset, 1)):
            Mapper.asked = 0
            rows = dataset(path, {1: Mapper(ant=0)}, {1: 1}, num_feat=1)
            for _ in range(3):
                assert [int(rows[k][0][0]) for k in range(10)] == [0] * 10
            assert Mapper.asked == expected  # of 10 rows, or of one distinct value


class Sigmoid(nn.HybridBlock):
    """The classic edition's models: a sigmoid on top of the logits."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def hybrid_forward(self, F, x):
        return F.npx.sigmoid(self.net(x))


def clicks(rows, seed=0):
    """Return indices (rows, 2) and labels (rows, 1), known from the fields' parity."""
    x = numpy.random.default_rng(seed).integers(0, 4, (rows, 2)).astype("int32")
    label = (x.sum(axis=1) % 2).astype("float32")
    return x + numpy.array([0, 4], dtype="int32"), label[:, None]


def made(net):
    mx.random.seed(0)
    net.initialize(mx.init.Normal(0.1))
    return net


def train(net, data, batch_size, epochs=1, lr=0.05, function=train_ch13):
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
    loader = BatchLoader(data, batch_size)
    loss = gluon.loss.SigmoidBCELoss()
    return function(net, loader, loader, loss, trainer, epochs, CPU)


class TestLossAndAccuracy:
    def test_e44_a_loss_of_logits_is_given_probabilities(self):
        loss = gluon.loss.SigmoidBCELoss()
        labels = np.array([1.0] * 28 + [0.0] * 72)
        perfect = np.where(labels > 0, np.array(40.0), np.array(-40.0))
        assert loss(perfect, labels).mean().item() == pytest.approx(0, abs=1e-6)
        floor = loss(npx.sigmoid(perfect), labels).mean().item()
        expected = 0.72 * numpy.log(2) + 0.28 * numpy.log1p(numpy.exp(-1))
        assert floor == pytest.approx(expected, rel=1e-6)  # 0.587 at 28 % clicks

    def test_e44_trained_it_stays_above_that_floor(self):
        data = clicks(400)
        share = data[1].mean()
        floor = (1 - share) * numpy.log(2) + share * numpy.log1p(numpy.exp(-1))
        losses = {}
        for name, net in (("book", Sigmoid(FM([4, 4], 4))), ("ours", FM([4, 4], 4))):
            losses[name] = train(made(net), data, 50, 40)[-1]["train_loss"]
        assert losses["book"] >= floor > 0.49
        assert losses["ours"] < 0.1

    def test_e45_outputs_are_compared_with_labels_themselves(self):
        logits = np.array([[2.3], [-1.1], [0.4], [-3.0]])
        labels = np.array([[1.0], [0.0], [1.0], [0.0]])
        assert d2l.accuracy(logits, labels) == 0  # all four are right
        assert d2l.accuracy(npx.sigmoid(logits), labels) == 0
        assert accuracy(logits.asnumpy(), labels.asnumpy()) == 1

    def test_e45_in_training(self, capsys):
        net, data = made(FM([4, 4], 4)), clicks(400)
        train(net, data, 50, 40)
        capsys.readouterr()
        train(net, data, 50, lr=0.0, function=d2l.train_ch13)
        assert "train acc 0.000, test acc 0.000" in capsys.readouterr().out
        train(net, data, 50, lr=0.0)
        assert "train acc 1.000, test acc 1.000" in capsys.readouterr().out


class TestBatches:
    def test_e46_a_test_set_that_rolls_over(self):
        rows = np.arange(3000)
        loader = gluon.data.DataLoader(rows, 2048, last_batch="rollover")
        seen = []
        for _ in range(5):
            seen.append(numpy.concatenate([batch.asnumpy() for batch in loader]))
        assert [len(s) for s in seen] == [2048, 2048, 4096, 2048, 4096]
        assert set(range(2048, 3000)).isdisjoint(seen[0].astype(int))
        assert len(seen[2]) - len(set(seen[2])) == 1096  # counted twice
        ours = BatchLoader(rows, 2048)
        for _ in range(3):
            assert sum(len(batch) for batch in ours) == 3000

    def test_e46_a_test_set_smaller_than_a_batch(self):
        net, (x, y) = made(FM([4, 4], 4)), clicks(30)
        dataset = gluon.data.ArrayDataset(np.array(x), np.array(y))
        loader = gluon.data.DataLoader(dataset, 50, last_batch="rollover")
        with pytest.raises(ZeroDivisionError):
            d2l.evaluate_accuracy_gpus(net, loader)
        found = evaluate_ctr(net, BatchLoader((x, y), 50))
        assert found["acc"] == accuracy(net(np.array(x)).asnumpy(), y[:, 0])

    @pytest.mark.parametrize("batches", [1, 2, 4, 5])
    def test_e47_fewer_than_five_batches(self, batches):
        data = clicks(batches * 10)
        if batches < 5:
            with pytest.raises(ZeroDivisionError, match="modulo by zero"):
                train(made(FM([4, 4], 4)), data, 10, function=d2l.train_ch13)
        else:
            train(made(FM([4, 4], 4)), data, 10, function=d2l.train_ch13)
        assert len(train(made(FM([4, 4], 4)), data, 10)) == 1

    def test_e48_fewer_rows_than_a_batch(self):
        net = made(MF(2, 9, 9))
        rows = [np.arange(9).astype("int32")] * 2 + [np.ones((9,))]
        loader = gluon.data.DataLoader(
            gluon.data.ArrayDataset(*rows), 10, last_batch="rollover"
        )
        trainer = gluon.Trainer(net.collect_params(), "sgd")
        rest = gluon.loss.L2Loss(), trainer, 1, CPU, lambda *_: 0.0
        with pytest.raises(UnboundLocalError, match="'i'"):
            d2l.train_recsys_rating(net, loader, loader, *rest)
        ours = BatchLoader(tuple(rows), 10)
        assert len(train_recsys_rating(net, ours, ours, *rest)) == 1

    def test_e48_the_number_of_batches_changes(self):
        rows = np.arange(15)
        loader = gluon.data.DataLoader(rows, 2, last_batch="rollover")
        assert len(loader) == 7
        assert [len(list(loader)) for _ in range(4)] == [7, 8, 7, 8]
        ours = BatchLoader(rows, 2)
        assert {len(list(ours)) for _ in range(4)} == {len(ours)} == {8}


def test_e54_a_second_weight_on_the_linear_part():
    """The book's layer is kept, so that its files load; 1 gives the formula."""
    factors = []
    for seed in range(8):
        mx.random.seed(seed)
        net = FM([4, 4], 0)
        net.initialize(mx.init.Xavier())
        factors.append(net.linear_layer.weight.data().item())
        weight = net.fc.weight.data().asnumpy()[:, 0]
        x, _ = clicks(5)
        formula = weight[x].sum(axis=1)
        # float32
        scores = net(np.array(x))[:, 0].asnumpy()
        assert scores == pytest.approx(formula * factors[-1], abs=1e-6)
        net.linear_layer.weight.set_data(np.ones((1, 1)))
        assert net(np.array(x))[:, 0].asnumpy() == pytest.approx(formula, abs=1e-6)
    assert min(factors) < 0 < max(factors)
    assert min(abs(numpy.array(factors))) < 0.1
