# %% [markdown]
# # AutoRec: Rating Prediction with Autoencoders
#
# An autoencoder learns to reconstruct the ratings of an item from these ratings. Its
# outputs for the missing ratings are the predictions.

# %%
from chapters.runner.options import Options
from chapters.runner.saving import describe_recommender
from chapters.runner.validation import split_validation
from d2l_recsys import mf
from d2l_recsys.autorec import AutoRec, evaluator
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.mf import train_recsys_rating
from d2l_recsys.movielens import (
    load_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import seed_everything
from d2l_recsys.tools.curves import Curves

options = Options("autorec", epochs=25, batch_size=256)
options.add_argument(
    "--by",
    choices=["item", "user"],
    default="item",
    help="whether a row of the rating matrix is an item or a user",
)
options.add_autoencoder()
options.add_training(lr=0.002, wd=1e-5)
options.add_validation()
run = options.parse()
devices, args = run.devices, run.args

# %% [markdown]
# ## Training and Evaluating the Model
#
# The book's settings: 500 hidden units, Adam with learning rate 0.002 and weight decay
# 1e-5, the random split. With `--hidden 500,100`, encoder and decoder have two layers
# each. `--activation relu:none` changes the activations. The printed loss is the
# squared error per *observed* rating. The book prints 0.000, because it divides by all
# cells and by the batch size (E14). It also uses `L2Loss()`, half of this loss, which
# makes no difference to Adam (E16).

# %%
df, num_users, num_items = run.read_ratings()
train_data, test_data = split_data_ml100k(df, num_users, num_items, seed=run.seed)
by_item, valid_inter_mat, known_data = args.by == "item", None, train_data
labels = {"train_loss": "train loss", "test_rmse": "test RMSE"}
if args.validation:
    labels["valid_rmse"] = "validation RMSE"
    train_data, valid_data = split_validation(
        train_data, num_users, num_items, "random", run.seed
    )
    valid_inter_mat = load_data_ml100k(valid_data, num_users, num_items).inter
    valid_inter_mat = valid_inter_mat if by_item else valid_inter_mat.T
train = load_data_ml100k(train_data, num_users, num_items)
test = load_data_ml100k(test_data, num_users, num_items)
train_inter_mat = train.inter if by_item else train.inter.T
test_inter_mat = test.inter if by_item else test.inter.T
train_iter = BatchLoader(train_inter_mat, run.batch_size, shuffle=True, seed=run.seed)
test_iter = BatchLoader(train_inter_mat, batch_size=1024)

activation, out_activation = args.activation
net = AutoRec(
    args.hidden,
    train_inter_mat.shape[1],
    activation=activation,
    out_activation=out_activation,
)
net.initialize(ctx=devices, force_reinit=True, init=mx.init.Normal(0.01))
net.hybridize(static_alloc=True)
lr, num_epochs, wd, optimizer = args.lr, run.epochs, args.wd, args.optimizer
loss = gluon.loss.L2Loss(weight=2)
trainer = make_trainer(net, optimizer, {"learning_rate": lr, "wd": wd})
curves = Curves(num_epochs, labels, ylim=(0.8, 2), book=run.printed(labels))
describe_recommender(run, known_data, ratings=True, rows=args.by)
history = train_recsys_rating(
    net,
    train_iter,
    test_iter,
    loss,
    trainer,
    num_epochs,
    devices,
    evaluator,
    inter_mat=test_inter_mat,
    on_epoch=curves,
    checkpoint=run.checkpoint("main"),
    valid_iter=valid_inter_mat,
)
metrics = {"test_rmse": kept_epoch(history)["test_rmse"]}
run.save(metrics, history)
run.save_model(net)

# %%
figure = curves.figure(f"AutoRec on {run.data_title}, {args.by} based")
run.save_figure(figure)
figure

# %% [markdown]
# ## Is It Better than Matrix Factorization?
#
# The book compares this RMSE with that of matrix factorization, which was measured on
# another test set (E10). For a fair comparison, matrix factorization is trained here on
# the same split, with the settings of its section. With `--validation`, compare with
# `python -m chapters.mf --split random --validation`.

# %%
if not args.validation:
    seed_everything(run.seed)  # so that a resumed run starts with the same parameters
    mf_net = mf.MF(30, num_users, num_items)
    mf_net.initialize(ctx=devices, init=mx.init.Normal(0.01))
    mf_net.hybridize(static_alloc=True, static_shape=True)
    lr, wd = 0.002, 1e-5 / run.scale
    trainer = make_trainer(mf_net, "adam", {"learning_rate": lr, "wd": wd})
    print("matrix factorization on the same split:")
    mf_history = train_recsys_rating(
        mf_net,
        BatchLoader(train[:3], 512 * run.scale, shuffle=True, seed=run.seed),
        BatchLoader(test[:3], batch_size=8192),
        loss,
        trainer,
        min(num_epochs, 20),
        devices,
        mf.evaluator,
        checkpoint=run.checkpoint("mf"),
    )
    run.save({**metrics, "mf_on_this_split": mf_history[-1]["test_rmse"]}, history)
