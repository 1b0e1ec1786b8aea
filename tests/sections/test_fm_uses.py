"""What a factorization machine is used for besides: ratings, ranking, real samples."""

import io
from contextlib import redirect_stdout

import numpy
import pytest
from test_fm import CPU, TWO, clicks, made, train

from chapters.runner.ctr_data import load_ctr
from d2l_recsys import d2l
from d2l_recsys.data import catalog
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.clicks import log_loss, roc_auc
from d2l_recsys.engine.predict import predict
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import train_recsys_rating
from d2l_recsys.movielens import load_data_ml100k, read_data_ml100k, split_data_ml100k
from d2l_recsys.runtime.backend import autograd, gluon, mx, np, npx


class TestOtherLosses:
    def test_ratings(self, ml100k):
        data, num_users, num_items = read_data_ml100k(ml100k)
        loaders = []
        for part in split_data_ml100k(data, num_users, num_items):
            users, items, ratings, _ = load_data_ml100k(part, num_users, num_items)
            fields = numpy.stack([users, items + num_users], axis=1)
            loaders.append(BatchLoader((fields, ratings), 512))
        net = made(10, sigma=0.01, dims=[num_users, num_items])
        net.hybridize(static_alloc=True)
        settings = {"learning_rate": 0.005, "wd": 1e-4}
        trainer = gluon.Trainer(net.collect_params(), "adam", settings)
        with redirect_stdout(io.StringIO()):
            history = train_recsys_rating(
                net, *loaders, gluon.loss.L2Loss(), trainer, 6
            )
        # The mean alone gives 1.128, biases 0.938 (BiasBaseline).
        assert history[-1]["test_rmse"] < 0.97

    def test_ranking(self):
        # The fields are [user, item]. User u prefers item u, then u + 1, and so on.
        net = made(6, dims=[5, 5], sigma=0.1)
        trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.05})
        user, better, worse = (
            a.ravel().astype("int32") for a in numpy.indices((5, 5, 5))
        )
        keep = (better - user) % 5 < (worse - user) % 5
        positive, negative = (
            np.array(numpy.stack([user, item + 5], axis=1)[keep])
            for item in (better, worse)
        )
        for _ in range(100):
            with autograd.record():
                gap = net(positive) - net(negative)
                loss = npx.activation(-gap, act_type="softrelu")
            loss.backward()
            trainer.step(len(gap))
        assert (net(positive) > net(negative)).all()


class TestWithoutTestSet:
    def fit(self, test_iter, function=train_ch13, hybridize=False, **more):
        net = made()
        if hybridize:
            net.hybridize()
        trainer = gluon.Trainer(net.collect_params(), "adam")
        loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
        rows = BatchLoader(clicks(), 16)
        return function(net, rows, test_iter, loss, trainer, 2, **more)

    @pytest.mark.filterwarnings("ignore:(?s).*hooks will not take effect")
    @pytest.mark.parametrize("hybridize", [False, True])
    @pytest.mark.parametrize("function", [train_ch13, d2l.train_ch13])
    def test_prints_the_rest(self, function, hybridize, printed):
        history = self.fit(None, function, hybridize)
        assert [epoch["epoch"] for epoch in history] == [1, 2]
        assert "test_acc" not in history[-1]
        number = r"(\d\.\d{3})"
        speed = r"[\d.]+ examples/sec on \[cpu\(0\)\]"
        loss, acc = printed(rf"loss {number}, train acc {number}\n{speed}\n")
        assert loss == round(history[-1]["train_loss"], 3)
        assert acc == round(history[-1]["train_acc"], 3)

    def test_a_notebook_draws_the_rest(self, monkeypatch):
        monkeypatch.setattr("d2l_recsys.d2l.in_notebook", lambda: True)
        curves = []
        monkeypatch.setattr(
            "d2l_recsys.d2l.Curves",
            lambda epochs, labels, ylim: curves.append([*labels]) or print,
        )
        self.fit(None, d2l.train_ch13)
        self.fit(BatchLoader(clicks(), 16), d2l.train_ch13)
        rest = ["train_loss", "train_acc"]
        assert curves == [rest, [*rest, "test_acc"]]

    def test_with_patience_tells_of_validation(self, capsys):
        valid = BatchLoader(clicks(seed=1), 16)
        kept = kept_epoch(self.fit(None, patience=2, valid_iter=valid))
        first, *_, last = capsys.readouterr().out.splitlines()
        assert first.endswith(
            f" (epoch {kept['epoch']} of 2, the best on validation data)"
        )
        assert last == (
            f"valid log loss {kept['valid_log_loss']:.3f}, "
            f"valid AUC {kept['valid_auc']:.3f}"
        )

    def test_an_empty_one_is_named(self):
        with pytest.raises(ValueError, match=r"^there is no batch to ev.*=None"):
            self.fit([])


class TestPatience:
    def test_below_one(self):
        with pytest.raises(ValueError, match="patience must be at least 1, not 0"):
            self.trained(patience=0)

    def trained(self, patience=2, devices=CPU):
        rng = numpy.random.default_rng(0)
        x, y = clicks(60)
        y = numpy.where(rng.random(y.shape) < 0.3, 1 - y, y)  # there is much to overfit
        valid, test = clicks(200, seed=1), clicks(100, seed=2)
        net = made(ctx=devices)
        history, printed = train(
            net,
            (x, y),
            test,
            40,
            devices=devices,
            patience=patience,
            valid_iter=BatchLoader(valid, 64),
        )
        return net, history, printed, valid, test

    @pytest.mark.parametrize("devices", [CPU, TWO])
    def test_the_best_epoch_is_kept_on_all_devices(self, devices):
        net, history, printed, valid, test = self.trained(devices=devices)
        losses = [epoch["valid_log_loss"] for epoch in history]
        best = int(numpy.argmin(losses))
        assert len(history) == best + 1 + 2 < 40
        kept = kept_epoch(history)
        assert kept["epoch"] == best + 1
        for device in devices:
            scores = net(np.array(valid[0], ctx=device)).asnumpy()
            assert log_loss(scores, valid[1][:, 0]) == pytest.approx(losses[best])
        assert f"test acc {kept['test_acc']:.3f}" in printed
        assert f"(epoch {best + 1} of {best + 3}, the best on valid" in printed
        logits, labels = predict(net, BatchLoader(test, 7))
        assert roc_auc(logits, labels) == kept["test_auc"]


@pytest.mark.parametrize(
    "model", [lambda dims: FM(dims, 20), lambda dims: DeepFM(dims, 10, [30, 20, 10])]
)
@pytest.mark.parametrize("name", ["criteo", "avazu"])
def test_beats_a_constant_on_real_samples(name, model):
    folder = catalog.find(name)
    if folder is None:
        pytest.skip(f"{name} is not in the folder that D2L_RECSYS_DATA names")
    parts = load_ctr(folder, name, valid_share=0.1)
    mx.random.seed(0)
    net = model(parts.train.field_dims)
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.001})
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    train_iter, test_iter, valid_iter = parts.loaders(256, seed=0)
    with redirect_stdout(io.StringIO()):
        history = train_ch13(
            net,
            train_iter,
            test_iter,
            loss,
            trainer,
            60,
            patience=5,
            valid_iter=valid_iter,
        )
    mean, labels = parts.train.labels.mean(), parts.test.labels[:, 0]
    constant = log_loss(numpy.full(len(labels), numpy.log(mean / (1 - mean))), labels)
    # Seeds 0-2: 0.04 to 0.05 below it.
    assert kept_epoch(history)["test_log_loss"] < constant - 0.02
