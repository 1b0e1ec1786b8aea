"""The cells of `ranking`, `neumf` and `seqrec`, in the way that readers type them."""

import random

import mxnet as mx
import pytest
from mxnet import autograd, gluon, np, npx
from mxnet.gluon import nn

from d2l_recsys import d2l

npx.set_np()
pytestmark = pytest.mark.usefixtures("book_data")
LINES = (
    r"train loss (.*), test hit rate (.*), test AUC (.*)\n"
    r".* examples/sec on \[cpu\(0\).*\]\n"
)
TWO = [mx.cpu(0), mx.cpu(1)]


class BPRLoss(gluon.loss.Loss):
    def __init__(self, weight=None, batch_axis=0, **kwargs):
        super().__init__(weight=None, batch_axis=0, **kwargs)

    def forward(self, positive, negative):
        likely = npx.sigmoid(positive - negative)
        return -np.sum(np.log(likely), 0, keepdims=True)


class HingeLossbRec(gluon.loss.Loss):
    def __init__(self, weight=None, batch_axis=0, **kwargs):
        super().__init__(weight=None, batch_axis=0, **kwargs)

    def forward(self, positive, negative, margin=1):
        return np.sum(np.maximum(negative - positive + margin, 0))


@pytest.mark.parametrize("name", ["BPRLoss", "HingeLossbRec"])
def test_ranking(name):
    positive, negative = np.array([[1.5], [0.2]]), np.array([[1.0], [3.0]])
    theirs = globals()[name]()(positive, negative)
    assert getattr(d2l, name)()(positive, negative).item() == pytest.approx(
        theirs.item()
    )


class NeuMF(nn.Block):
    def __init__(self, num_factors, num_users, num_items, nums_hiddens, **kwargs):
        super().__init__(**kwargs)
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.U = nn.Embedding(num_users, num_factors)
        self.V = nn.Embedding(num_items, num_factors)
        self.mlp = nn.Sequential()
        for units in nums_hiddens:
            self.mlp.add(nn.Dense(units, activation="relu", use_bias=True))
        self.prediction_layer = nn.Dense(1, use_bias=False)

    def forward(self, user_id, item_id):
        gmf = self.P(user_id) * self.Q(item_id)
        mlp = self.mlp(np.concatenate([self.U(user_id), self.V(item_id)], axis=1))
        return self.prediction_layer(np.concatenate([gmf, mlp], axis=1))


class FirstNeuMF(nn.Block):
    """The first edition's: another argument name, and the sum as score."""

    def __init__(self, num_factors, num_users, num_items, mlp_layers, **kwargs):
        super().__init__(**kwargs)
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.U = nn.Embedding(num_users, num_factors)
        self.V = nn.Embedding(num_items, num_factors)
        self.mlp = nn.Sequential()
        for units in mlp_layers:
            self.mlp.add(nn.Dense(units, activation="relu", use_bias=True))

    def forward(self, user_id, item_id):
        gmf = self.P(user_id) * self.Q(item_id)
        mlp = self.mlp(np.concatenate([self.U(user_id), self.V(item_id)], axis=1))
        return np.sum(np.concatenate([gmf, mlp], axis=1), axis=-1)


class PRDataset(gluon.data.Dataset):
    def __init__(self, users, items, candidates, num_items, test_items=None):
        self.users, self.items = users, items
        everything, held_out = {*range(num_items)}, test_items or {}
        self.pool = {
            u: list(everything - {*candidates[u]} - {*held_out.get(u, [])})
            for u in candidates
        }

    def __len__(self):
        return len(self.users)

    def __getitem__(self, idx):
        pool = self.pool[int(self.users[idx])]
        return self.users[idx], self.items[idx], pool[random.randint(0, len(pool) - 1)]


def evaluate_user_by_user(
    net, test_input, seq, candidates, num_users, num_items, devices
):
    hit_rate, auc = [], []
    for u in range(0, num_users, 50):  # the reader is in a hurry
        item_ids = list({*range(num_items)} - {*candidates[int(u)]})
        user_ids, scores = [u] * len(item_ids), []
        x = [np.array(user_ids)]
        if seq is not None:
            x.append(seq[user_ids, :])
        x.append(np.array(item_ids))
        test_data_iter = gluon.data.DataLoader(
            gluon.data.ArrayDataset(*x),
            shuffle=False,
            last_batch="keep",
            batch_size=1024,
        )
        for values in test_data_iter:
            x = [
                gluon.utils.split_and_load(v, devices, even_split=False) for v in values
            ]
            scores.extend([list(net(*t).asnumpy()) for t in zip(*x)])
        scores = [score for part in scores for score in part]
        pairs = sorted(zip(item_ids, scores), key=lambda t: t[1], reverse=True)
        hit, area = d2l.hit_and_auc([pair[0] for pair in pairs], test_input[u], 50)
        hit_rate.append(hit)
        auc.append(area)
    return np.mean(np.array(hit_rate)), np.mean(np.array(auc))


def implicit():
    df, num_users, num_items = d2l.read_data_ml100k()
    train_data, test_data = d2l.split_data_ml100k(df, num_users, num_items, "seq-aware")
    users_train, items_train, _, candidates = d2l.load_data_ml100k(
        train_data, num_users, num_items, feedback="implicit"
    )
    _, _, _, test_iter = d2l.load_data_ml100k(
        test_data, num_users, num_items, feedback="implicit"
    )
    return num_users, num_items, users_train, items_train, candidates, test_iter


def trained(net, train_iter, test_seq_iter, devices, evaluator, loss, data, **kwargs):
    num_users, num_items, _, _, candidates, test_iter = data
    lr, num_epochs, wd, optimizer = 0.01, 3, 1e-5, "adam"
    trainer = gluon.Trainer(
        net.collect_params(), optimizer, {"learning_rate": lr, "wd": wd}
    )
    return d2l.train_ranking(
        net,
        train_iter,
        test_iter,
        loss,
        trainer,
        test_seq_iter,
        num_users,
        num_items,
        num_epochs,
        devices,
        evaluator,
        candidates,
        **kwargs,
    )


@pytest.mark.parametrize(
    ("devices", "kind", "model", "evaluator", "loss", "kwargs"),
    [
        (None, "reader", NeuMF, None, BPRLoss(), {"eval_step": 2}),
        (TWO, "reader", NeuMF, None, d2l.BPRLoss(), {}),
        (None, "package", NeuMF, evaluate_user_by_user, d2l.BPRLoss(), {}),
        (TWO, "package", NeuMF, evaluate_user_by_user, HingeLossbRec(), {}),
        (None, "package", d2l.NeuMF, None, BPRLoss(), {}),
        (TWO, "reader", d2l.NeuMF, evaluate_user_by_user, d2l.HingeLossbRec(), {}),
        (None, "reader", FirstNeuMF, None, d2l.BPRLoss(), {}),
    ],
)
def test_neumf(devices, kind, model, evaluator, loss, kwargs, printed):
    devices = devices or d2l.try_all_gpus()
    num_workers = 0 if kwargs else d2l.get_dataloader_workers()
    data = num_users, num_items, users, items, candidates, test_iter = implicit()
    dataset = PRDataset if kind == "reader" else d2l.PRDataset
    train_iter = gluon.data.DataLoader(
        dataset(users, items, candidates, num_items, test_items=test_iter),
        1024,
        True,
        last_batch="rollover",
        num_workers=num_workers,
    )
    layers = "mlp_layers" if model is FirstNeuMF else "nums_hiddens"
    net = model(10, num_users, num_items, **{layers: [10, 10, 10]})
    net.initialize(ctx=devices, force_reinit=True, init=mx.init.Xavier())
    evaluator = evaluator or d2l.evaluate_ranking
    trained(net, train_iter, None, devices, evaluator, loss, data, **kwargs)
    train_loss, hit_rate, auc = printed(LINES)
    assert 0.1 < train_loss < 1.1
    assert 0.1 < hit_rate <= 1
    assert 0.5 < auc < 1


class LikelyNeuMF(NeuMF):
    """The second edition's: it ends in a sigmoid."""

    def forward(self, user_id, item_id):
        return npx.sigmoid(super().forward(user_id, item_id))


def test_a_sigmoid_at_the_end_is_spoken_of(printed):
    data = num_users, num_items, users, items, candidates, _ = implicit()
    train_iter = gluon.data.DataLoader(
        d2l.PRDataset(users, items, candidates, num_items), 1024, True
    )
    net = LikelyNeuMF(10, num_users, num_items, [10, 10, 10])
    net.initialize(init=mx.init.Xavier())
    more = None, d2l.try_all_gpus(), d2l.evaluate_ranking, d2l.BPRLoss(), data
    with pytest.warns(UserWarning, match=r"LikelyNeuMF seems to end in.*\(E20\)"):
        trained(net, train_iter, *more)
    printed(LINES)


@pytest.mark.filterwarnings("ignore:backend2gui is deprecated")
def test_neumf_with_a_training_loop_of_the_reader():
    num_users, num_items, users, items, candidates, test_iter = implicit()
    devices, num_epochs = d2l.try_all_gpus(), 2
    train_iter = gluon.data.DataLoader(
        d2l.PRDataset(users, items, candidates, num_items), 1024, True
    )
    net = NeuMF(10, num_users, num_items, nums_hiddens=[10, 10, 10])
    net.initialize(ctx=devices, force_reinit=True, init=mx.init.Xavier())
    loss = d2l.BPRLoss()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    timer = d2l.Timer()
    animator = d2l.Animator(xlabel="epoch", xlim=[1, num_epochs], ylim=[0, 1])
    for epoch in range(num_epochs):
        metric = d2l.Accumulator(3)
        for values in train_iter:
            data = [gluon.utils.split_and_load(v, devices) for v in values]
            with autograd.record():
                p_pos = [net(*t) for t in zip(*data[:-1])]
                p_neg = [net(*t) for t in zip(*data[:-2], data[-1])]
                ls = [loss(p, n) for p, n in zip(p_pos, p_neg)]
            [part.backward(retain_graph=False) for part in ls]
            batch_loss = sum([part.asnumpy() for part in ls]).mean()
            trainer.step(values[0].shape[0])
            metric.add(batch_loss, values[0].shape[0], values[0].size)
            timer.stop()
        with autograd.predict_mode():
            hit_rate, auc = d2l.evaluate_ranking(
                net, test_iter, None, candidates, num_users, num_items, devices
            )
            animator.add(epoch + 1, (hit_rate, auc))
    d2l.plt.close(animator.fig)
    assert 0.1 < metric[0] / metric[1] < 0.8
    assert metric[1] == len(users)
    assert 0.1 < float(hit_rate) <= 1
    assert 0.5 < float(auc) < 1
