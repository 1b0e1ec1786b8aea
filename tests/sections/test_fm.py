import io
import re
from contextlib import redirect_stdout
from itertools import combinations

import numpy
import pytest

from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.clicks import (
    accuracy,
    evaluate_ctr,
    log_loss,
    roc_auc,
)
from d2l_recsys.engine.predict import predict
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.fm import FM, pairwise, train_ch13
from d2l_recsys.mf import MF
from d2l_recsys.runtime.backend import autograd, gluon, mx, nn, np

CPU, TWO = [mx.cpu()], [mx.cpu(0), mx.cpu(1)]
DIMS = [3, 4, 5]


def made(num_factors=6, ctx=CPU, sigma=0.5, dims=DIMS, seed=0):
    mx.random.seed(seed)
    net = FM(dims, num_factors)
    net.initialize(mx.init.Normal(sigma), ctx=ctx)
    return net


def clicks(rows=50, seed=0, dims=DIMS):
    """Return indices (rows, fields) and labels (rows, 1)."""
    rng = numpy.random.default_rng(seed)
    offsets = numpy.cumsum(dims) - dims
    x = (rng.integers(0, dims, (rows, len(dims))) + offsets).astype("int32")
    # The first two fields decide together: same parity or not.
    label = (x[:, 0] + x[:, 1]) % 2
    return x, label[:, None].astype("float32")


def train(net, data, test=None, epochs=3, batch_size=16, devices=CPU, lr=0.05, **more):
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
    out = io.StringIO()
    with redirect_stdout(out):
        history = train_ch13(
            net,
            BatchLoader(data, batch_size),
            BatchLoader(test or data, batch_size),
            gluon.loss.SigmoidBinaryCrossEntropyLoss(),
            trainer,
            epochs,
            devices,
            **more,
        )
    return history, out.getvalue()


def parameters(net):
    return {
        name: [data.asnumpy() for data in p.list_data()]
        for name, p in net._collect_params_with_prefix().items()
    }


class TestModel:
    def test_pairs_are_those_of_nested_loops(self):
        vectors = numpy.random.default_rng(0).normal(0, 1, (5, 7, 3))
        expected = [
            sum(row[i] @ row[j] for i, j in combinations(range(7), 2))
            for row in vectors
        ]
        result = pairwise(mx.nd, np.array(vectors.astype("float32"))).asnumpy()
        assert result.shape == (5, 1)
        # float32, sums of 21 numbers of size 3
        assert result[:, 0] == pytest.approx(numpy.array(expected), abs=1e-4)

    @pytest.mark.parametrize("num_factors", [0, 1, 6])
    def test_is_the_formula(self, num_factors):
        net = made(num_factors)
        net.linear_layer.bias.set_data(np.array([0.7]))
        x, _ = clicks(9)
        weight = net.fc.weight.data().asnumpy()[:, 0]
        extra = net.linear_layer.weight.data().item()  # not in the formula: E54
        expected = 0.7 + extra * weight[x].sum(axis=1)
        if num_factors:
            v = net.embedding.weight.data().asnumpy()[x]
            for i, j in combinations(range(3), 2):
                expected += (v[:, i] * v[:, j]).sum(axis=1)
        scores = net(np.array(x)).asnumpy()
        assert scores[:, 0] == pytest.approx(expected, rel=1e-5)

    def test_with_user_and_item_it_is_matrix_factorization(self):
        net = made(4, dims=[5, 6])
        mf = MF(4, 5, 6)
        mf.initialize()
        net.linear_layer.weight.set_data(np.ones((1, 1)))
        for block, table in ((mf.P, net.embedding), (mf.user_bias, net.fc)):
            block.weight.set_data(table.weight.data()[:5])
        for block, table in ((mf.Q, net.embedding), (mf.item_bias, net.fc)):
            block.weight.set_data(table.weight.data()[5:])
        users, items = (a.ravel().astype("int32") for a in numpy.indices((5, 6)))
        together = numpy.stack([users, items + 5], axis=1)
        assert net(np.array(together))[:, 0].asnumpy() == pytest.approx(
            mf(np.array(users), np.array(items)).asnumpy(), abs=1e-6
        )

    def test_gradient_is_that_of_differences(self):
        net = made(3)
        x = np.array(clicks(4)[0])
        weight = net.embedding.weight
        with autograd.record():
            total = net(x).sum()
        total.backward()
        gradient = weight.grad().asnumpy().copy()
        values = weight.data().asnumpy()
        for at in [(0, 0), (2, 1), (8, 2)]:
            sums = []
            for step in (0.5, -0.5):  # the score is quadratic: any step will do
                moved = values.copy()
                moved[at] += step
                weight.set_data(np.array(moved))
                sums.append(net(x).sum().item())
            assert gradient[at] == pytest.approx(sums[0] - sums[1], abs=1e-4)


class TestContract:
    @pytest.mark.parametrize("num_factors", [0, 6])
    def test_a_batch_is_its_rows_and_the_graph_is_the_program(self, num_factors):
        net = made(num_factors)
        x = np.array(clicks(6)[0])
        whole = net(x).asnumpy()
        assert whole.shape == (6, 1)
        rows = [net(x[i : i + 1]).asnumpy() for i in range(6)]
        assert {row.shape for row in rows} == {(1, 1)}
        assert numpy.concatenate(rows) == pytest.approx(whole, rel=1e-6)
        net.hybridize(static_alloc=True)
        assert net(x).asnumpy() == pytest.approx(whole, rel=1e-6)
        assert net(x[:2]).asnumpy() == pytest.approx(whole[:2], rel=1e-6)

    def test_saved_and_loaded_it_scores_the_same(self, tmp_path):
        net, other = made(), made(seed=1)
        x = np.array(clicks(6)[0])
        assert not numpy.array_equal(net(x).asnumpy(), other(x).asnumpy())
        net.save_parameters(str(tmp_path / "fm"))
        other.load_parameters(str(tmp_path / "fm"))
        assert numpy.array_equal(net(x).asnumpy(), other(x).asnumpy())

    @pytest.mark.parametrize("batch_size", [16, 7, 49])  # the last one leaves one row
    def test_two_devices_give_the_parameters_of_one(self, batch_size):
        one, two = made(), made(ctx=TWO)
        a, _ = train(one, clicks(), batch_size=batch_size)
        b, _ = train(two, clicks(), batch_size=batch_size, devices=TWO)
        first, second = parameters(one), parameters(two)
        for name, (x,) in first.items():
            for y in second[name]:
                # float32 sums in another order, through Adam: up to 5e-6 in 40 steps
                assert numpy.allclose(x, y, atol=2e-5)
        assert [e["train_acc"] for e in a] == [e["train_acc"] for e in b]
        assert a[-1]["test_auc"] == b[-1]["test_auc"]

    def test_hybridized_it_trains_to_the_same_parameters(self):
        one, two = made(), made()
        two.hybridize(static_alloc=True)
        a, _ = train(one, clicks())
        b, _ = train(two, clicks())
        for name, (x,) in parameters(one).items():
            assert numpy.allclose(x, parameters(two)[name][0], atol=2e-5)
        assert [e["train_acc"] for e in a] == [e["train_acc"] for e in b]


class TestTraining:
    def test_prints_the_lines_of_the_book_and_one_more(self):
        history, printed = train(made(), clicks(), clicks(30, seed=1))
        first, second, third = printed.splitlines()
        last = history[-1]
        assert first == (
            f"loss {last['train_loss']:.3f}, train acc {last['train_acc']:.3f}, "
            f"test acc {last['test_acc']:.3f}"
        )
        assert re.fullmatch(r"\d+\.\d examples/sec on \[cpu\(0\)\]", second)
        assert third == (
            f"test log loss {last['test_log_loss']:.3f}, "
            f"test AUC {last['test_auc']:.3f}"
        )
        assert kept_epoch(history) == last

    def test_finds_what_two_fields_mean_together(self):
        data, test = clicks(600), clicks(200, seed=1)
        with_pairs, _ = train(made(4, sigma=0.1), data, test, 20, 64)
        without, _ = train(made(0, sigma=0.1), data, test, 20, 64)
        # The parity of two fields is known exactly, and to neither of them alone.
        assert with_pairs[-1]["test_acc"] > 0.99
        assert without[-1]["test_acc"] < 0.7

    @pytest.mark.parametrize("batch_size", [1, 16, 49, 50, 1000])
    @pytest.mark.parametrize("devices", [CPU, TWO])
    def test_train_acc_is_of_the_predictions_trained_on(self, batch_size, devices):
        # At rate 0 the net stays the same, so that these are its predictions.
        net = made(ctx=devices)
        x, y = clicks()
        history, _ = train(net, (x, y), batch_size=batch_size, devices=devices, lr=0.0)
        logits = net(np.array(x)).asnumpy()
        for epoch in history:
            assert epoch["train_acc"] == accuracy(logits, y[:, 0])
            assert epoch["test_acc"] == accuracy(logits, y[:, 0])
            # float32 losses against float64
            assert epoch["train_loss"] == pytest.approx(
                log_loss(logits, y[:, 0]), rel=1e-5
            )

    def test_train_acc_is_of_the_epoch(self):
        x, y = clicks()
        for epochs in (1, 2):
            net = made()
            history, _ = train(net, (x, y), batch_size=50, epochs=epochs, lr=0.5)
            if epochs == 1:
                before = accuracy(net(np.array(x)).asnumpy(), y[:, 0])
        assert history[1]["train_acc"] == before != history[0]["train_acc"]

    def test_a_net_may_return_a_column(self):
        net = nn.HybridSequential()
        net.add(nn.Embedding(12, 2), nn.Dense(1, in_units=6))
        net.initialize(mx.init.Normal(0.5))
        x, y = clicks()
        history, _ = train(net, (x, y), epochs=1, lr=0.0)
        expected = accuracy(net(np.array(x)).asnumpy()[:, 0], y[:, 0])
        assert history[0]["train_acc"] == history[0]["test_acc"] == expected

    def test_with_fewer_batches_than_five(self):
        history, _ = train(made(), clicks(3), batch_size=2, epochs=1)
        assert len(history) == 1

    def test_devices_default_to_those_of_the_net(self):
        _, printed = train(made(ctx=TWO), clicks(), devices=None)
        assert "on [cpu(0), cpu(1)]" in printed

    def test_patience_needs_rows_to_validate_on(self):
        with pytest.raises(ValueError, match="patience= needs valid_iter="):
            train(made(), clicks(), patience=2)


class TestEvaluation:
    @pytest.mark.parametrize("devices", [CPU, TWO, None])
    @pytest.mark.parametrize("batch_size", [1, 7, 100])
    def test_each_row_counts_once(self, devices, batch_size):
        net = made(ctx=TWO)
        x, y = clicks(22)
        logits, labels = predict(net, BatchLoader((x, y), batch_size), devices)
        assert labels.tolist() == y[:, 0].tolist()
        # float32; the order of a sum depends on the number of rows
        assert logits == pytest.approx(net(np.array(x)).asnumpy()[:, 0], abs=2e-6)
        assert evaluate_ctr(net, BatchLoader((x, y), batch_size), devices) == {
            "acc": accuracy(logits, labels),
            "log_loss": log_loss(logits, labels),
            "auc": roc_auc(logits, labels),
        }

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_ratings_are_no_labels(self, part):
        x, y = clicks()
        parts = [(x, y + 3.0 * (part == name)) for name in ("train", "test")]
        with pytest.raises(ValueError, match=r"^labels must be 0 or 1, not [34]\.0: "):
            train(made(), *parts)
