# %% [markdown]
# # Deep Factorization Machines
#
# A factorization machine models pairs of values only. DeepFM also feeds the vectors of
# a row into a multilayer perceptron, which can learn interactions of three or more
# values. Both parts share the vectors, and their logits are added.

# %%
from chapters.runner import pictures
from chapters.runner.ctr_data import load_for
from chapters.runner.options import Options
from chapters.runner.saving import describe_ctr_model
from d2l_recsys.deepfm import DeepFM
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.fm import train_ch13
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.tools.curves import Curves

options = Options("deepfm", epochs=30, batch_size=2048)
options.add_training(factors=10, lr=0.01, wd=0.0)
options.add_mlp("30,20,10", dropout=0.1)
options.add_patience()
options.add_vocabulary()
options.add_argument(
    "--without",
    choices=["fm", "mlp"],
    help="leave out one part: the factorization machine (with the linear part) or the "
    "MLP",
)
for option in ("--mlp", "--dropout"):
    what = "the MLP, which --without mlp leaves out"
    options.need(option, what, lambda args: args.without != "mlp")
run = options.parse()

# %% [markdown]
# ## Training and Evaluating the Model
#
# The book's settings: 10 factors, layers of 30, 20 and 10 units, dropout 0.1, Adam
# with learning rate 0.01. The model returns logits, and the loss applies the sigmoid.
# With a second sigmoid in the model, it would not learn at all (E44).

# %%
args, parts = run.args, load_for(run)
train_iter, test_iter, valid_iter = parts.loaders(run.batch_size, run.seed)
devices = run.devices
net = DeepFM(
    parts.train.field_dims,
    args.factors,
    mlp_dims=[] if args.without == "mlp" else args.mlp,
    drop_rate=args.dropout,
    fm=args.without != "fm",
)
net.initialize(mx.init.Xavier(), ctx=devices)
net.hybridize(static_alloc=True)
lr, num_epochs, wd, optimizer = args.lr, run.epochs, args.wd, args.optimizer
trainer = make_trainer(net, optimizer, {"learning_rate": lr, "wd": wd})
loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
curves = Curves(
    num_epochs,
    {"train_loss": "train loss", "train_acc": "train acc", "test_acc": "test acc"},
    ylim=(0, 1),
    book=None if args.without else run.printed(["test_acc"]),
)
describe_ctr_model(run, parts)
history = train_ch13(
    net,
    train_iter,
    test_iter,
    loss,
    trainer,
    num_epochs,
    devices,
    args.patience,
    valid_iter,
    on_epoch=curves,
    checkpoint=run.checkpoint("main"),
)
last = kept_epoch(history)
run.save({k: last[k] for k in ("test_acc", "test_log_loss", "test_auc")}, history)
run.save_model(net)

# %%
figure = curves.figure(f"DeepFM on {run.data_title}")
run.save_figure(figure)
figure

# %% [markdown]
# ## Which Epoch Is Best?
#
# AUC depends only on the order of the rows. Log loss also depends on the probabilities,
# and its best epoch comes early. After it, the order of the rows changes little, but
# the model becomes overconfident, and each row where it is wrong costs more.
# `--patience` keeps the epoch that is best on validation rows.

# %%
title = f"DeepFM on {run.data_title}, test set"
run.draw("overfitting", pictures.overfitting, history, title)
