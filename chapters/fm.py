# %% [markdown]
# # Factorization Machines
#
# Logistic regression has one weight per value. A factorization machine also has one
# vector per value, and adds the inner products of all pairs in a row. So it can learn
# that an advertisement suits a page, even if neither gets many clicks otherwise.
# $\hat y = w_0 + \sum_i w_i + \sum_{i<j}\langle\mathbf{v}_i,\mathbf{v}_j\rangle$,
# over the indices $i$ of the row.

# %%
from chapters.runner.ctr_data import load_ctr
from chapters.runner.options import Options
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import seed_everything
from d2l_recsys.tools.curves import Curves

options = Options("fm", epochs=30, batch_size=2048)
options.add_ctr_training(lr=0.02)
run = options.parse()

# %% [markdown]
# ## Loading the CTR Dataset

# %%
valid_share = 0.1 if run.args.patience else 0
parts = load_ctr(run.folder, run.data_name, run.seed, valid_share)

# %% [markdown]
# ## Training the Model
#
# The book's settings: 20 factors, Adam with learning rate 0.02. The model returns
# logits, and the loss applies the sigmoid (E44). The training accuracy is that of the
# predictions made during training.

# %%
devices = run.devices
curves = Curves(
    run.epochs,
    {"train_loss": "train loss", "train_acc": "train acc", "test_acc": "test acc"},
    ylim=(0, 1),
)


def train(name, num_factors, on_epoch=None):
    """Train a factorization machine; return its history."""
    seed_everything(run.seed)
    train_iter, test_iter, valid_iter = parts.loaders(run.batch_size, run.seed)
    net = FM(parts.train.field_dims, num_factors)
    net.initialize(mx.init.Xavier(), ctx=devices)
    net.hybridize(static_alloc=True)
    lr, num_epochs, optimizer = run.args.lr, run.epochs, "adam"
    trainer = make_trainer(net, optimizer, {"learning_rate": lr})
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    return train_ch13(
        net,
        train_iter,
        test_iter,
        loss,
        trainer,
        num_epochs,
        devices,
        run.args.patience,
        valid_iter,
        on_epoch,
        run.checkpoint(name),
    )


history = train("main", 20, curves)
last = kept_epoch(history)
metrics = {name: last[name] for name in ("test_acc", "test_log_loss", "test_auc")}
run.save(metrics, history)

# %%
figure = curves.figure(f"FM on {run.data_title}")
run.save_figure(figure)
figure

# %% [markdown]
# Do the pairs help? Without factors, the model is logistic regression.

# %%
print("without factors:")
linear = train("without-factors", 0)
run.save({**metrics, "auc_without_factors": kept_epoch(linear)["test_auc"]}, history)
