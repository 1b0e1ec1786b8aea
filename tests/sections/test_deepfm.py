import io
from contextlib import redirect_stdout

import numpy
import pytest
from test_fm import CPU, DIMS, TWO, clicks, parameters, train

from chapters.runner.ctr_data import load_ctr
from d2l_recsys.data.synthetic_ctr import write_ctr
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.runtime.backend import autograd, gluon, mx, np


def made(ctx=CPU, drop_rate=0.0, mlp_dims=(8, 4), seed=0):
    mx.random.seed(seed)
    net = DeepFM(DIMS, 6, mlp_dims, drop_rate)
    net.initialize(mx.init.Normal(0.5), ctx=ctx)
    return net


def zero(*weights):
    for weight in weights:
        weight.set_data(weight.data() * 0)


def by_hand(net, x):
    """Return the logits of the network alone, in NumPy."""
    layers = [layer for layer in net.mlp if hasattr(layer, "weight")]
    h = net.embedding.weight.data().asnumpy()[x].reshape(len(x), -1)
    for at, layer in enumerate(layers):
        h = h @ layer.weight.data().asnumpy().T + layer.bias.data().asnumpy()
        h = h if at == len(layers) - 1 else numpy.maximum(h, 0)
    return h[:, 0]


class TestModel:
    @pytest.mark.parametrize("mlp_dims", [(8, 4), (5,)])
    def test_is_a_factorization_machine_and_a_network(self, mlp_dims):
        net, fm = made(mlp_dims=mlp_dims), FM(DIMS, 6)
        fm.initialize()
        net.linear_layer.bias.set_data(np.array([0.3]))
        for name in ("fc", "embedding", "linear_layer"):
            getattr(fm, name).weight.set_data(getattr(net, name).weight.data())
        fm.linear_layer.bias.set_data(net.linear_layer.bias.data())
        x, _ = clicks(9)
        machine, network = fm(np.array(x)).asnumpy()[:, 0], by_hand(net, x)
        assert abs(machine).min() > 1e-3
        # float32: a few units in the last place of numbers of size 5
        whole = net(np.array(x)).asnumpy()[:, 0]
        assert whole == pytest.approx(machine + network, abs=1e-5)
        last = net.mlp[len(net.mlp) - 1]
        zero(last.weight, last.bias)
        whole = net(np.array(x)).asnumpy()[:, 0]
        assert whole == pytest.approx(machine, abs=1e-5)

    def test_each_part_alone(self):
        x = clicks(9)[0]
        net, fm = made(mlp_dims=[]), FM(DIMS, 6)
        fm.initialize()
        assert list(parameters(net)) == list(parameters(fm))
        for name, value in parameters(net).items():
            fm._collect_params_with_prefix()[name].set_data(np.array(value[0]))
        assert numpy.array_equal(net(np.array(x)).asnumpy(), fm(np.array(x)).asnumpy())
        deep = DeepFM(DIMS, 6, [8, 4], fm=False)
        deep.initialize(mx.init.Normal(0.5))
        names = {name.split(".")[0] for name in parameters(deep)}
        assert names == {"embedding", "mlp"}
        assert deep(np.array(x)).shape == (9, 1)
        # float32: a few units in the last place
        found = deep(np.array(x)).asnumpy()[:, 0]
        assert found == pytest.approx(by_hand(deep, x), abs=1e-5)
        with pytest.raises(ValueError, match="leave out both parts"):
            DeepFM(DIMS, 6, [], fm=False)

    def test_dropout_follows_each_layer(self):
        net = made(drop_rate=0.4, mlp_dims=(8, 4))
        names = [type(layer).__name__ for layer in net.mlp]
        assert names == ["Dense", "Dropout"] * 2 + ["Dense"]
        assert net.mlp[1]._rate == net.mlp[3]._rate == 0.4

    def test_dropout_acts_in_training_only(self):
        x = np.array(clicks(9)[0])
        for drop_rate in (0.0, 0.5):
            net = made(drop_rate=drop_rate)
            net.hybridize(static_alloc=True)
            still = net(x).asnumpy()
            assert numpy.array_equal(net(x).asnumpy(), still)
            with autograd.record():
                moved = net(x).asnumpy()
            assert numpy.allclose(moved, still, atol=1e-6) == (drop_rate == 0)

    def test_the_rate_of_the_book_is_the_default(self):
        assert DeepFM(DIMS, 4, [8]).mlp[1]._rate == 0.1


class TestContract:
    def test_a_batch_is_its_rows_and_the_graph_is_the_program(self):
        net = made()
        x = np.array(clicks(6)[0])
        whole = net(x).asnumpy()
        assert whole.shape == (6, 1)
        rows = [net(x[i : i + 1]).asnumpy() for i in range(6)]
        assert {row.shape for row in rows} == {(1, 1)}
        # matrix products of other shapes: other orders of float32 sums
        assert numpy.concatenate(rows) == pytest.approx(whole, abs=1e-5)
        net.hybridize(static_alloc=True)
        assert net(x).asnumpy() == pytest.approx(whole, abs=1e-5)
        assert net(x[:2]).asnumpy() == pytest.approx(whole[:2], abs=1e-5)

    def test_saved_and_loaded_it_scores_the_same(self, tmp_path):
        net, other = made(), made(seed=1)
        x = np.array(clicks(6)[0])
        assert not numpy.array_equal(net(x).asnumpy(), other(x).asnumpy())
        net.save_parameters(str(tmp_path / "deepfm"))
        other.load_parameters(str(tmp_path / "deepfm"))
        assert numpy.array_equal(net(x).asnumpy(), other(x).asnumpy())

    @pytest.mark.parametrize("batch_size", [16, 7])
    def test_two_devices_give_the_parameters_of_one(self, batch_size):
        one, two = made(), made(ctx=TWO)
        train(one, clicks(), batch_size=batch_size)
        train(two, clicks(), batch_size=batch_size, devices=TWO)
        for name, (x,) in parameters(one).items():
            for y in parameters(two)[name]:
                # float32 sums in another order, through Adam at this rate
                assert numpy.allclose(x, y, atol=1e-4)

    def test_hybridized_it_trains_to_the_same_parameters(self):
        one, two = made(), made()
        two.hybridize(static_alloc=True)
        train(one, clicks())
        train(two, clicks())
        for name, (x,) in parameters(one).items():
            assert numpy.allclose(x, parameters(two)[name][0], atol=1e-4)


def test_models_come_in_the_order_of_what_they_can_find(tmp_path):
    """Logistic regression < FM < DeepFM in test AUC, at the book's settings."""
    for seed in range(3):
        write_ctr(tmp_path, seed=seed)
        parts = load_ctr(tmp_path, "synthetic")
        dims, found = parts.train.field_dims, []
        for net, lr in (
            (FM(dims, 0), 0.02),
            (FM(dims, 20), 0.02),
            (DeepFM(dims, 10, [30, 20, 10], 0.1), 0.01),
        ):
            mx.random.seed(seed)
            net.initialize(mx.init.Xavier())
            net.hybridize(static_alloc=True)
            trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
            loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
            train_iter, test_iter, _ = parts.loaders(2048, seed)
            with redirect_stdout(io.StringIO()):
                history = train_ch13(net, train_iter, test_iter, loss, trainer, 30)
            found.append(history[-1]["test_auc"])
        # Seeds 0-2: 0.71-0.74, 0.84-0.85, 0.93-0.94; the standard error is 0.01.
        assert found[0] + 0.05 < found[1]
        assert found[1] + 0.05 < found[2]
