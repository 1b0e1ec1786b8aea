# %% [markdown]
# # Factorization Machines
#
# Logistic regression has one weight per value. A factorization machine also has one
# vector per value, and adds the inner products of all pairs in a row. So it can learn
# that an advertisement suits a page, even if neither gets many clicks otherwise.
# $\hat y = w_0 + \sum_i w_i + \sum_{i<j}\langle\mathbf{v}_i,\mathbf{v}_j\rangle$,
# over the indices $i$ of the row.

# %%
from chapters.runner import pictures
from chapters.runner.ctr_data import load_for
from chapters.runner.options import Options
from chapters.runner.saving import describe_ctr_model
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.predict import predict
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.fm import FM, train_ch13
from d2l_recsys.mf import train_recsys_rating
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import seed_everything
from d2l_recsys.tools.curves import Curves

options = Options("fm", epochs=30, batch_size=2048, movielens=True)
options.add_training(factors=20, lr=0.02, wd=0.0, fewest_factors=0)
options.add_patience()
options.add_vocabulary()
run = options.parse()
args = run.args

# %% [markdown]
# ## Loading the CTR Dataset
#
# With `--data ml-100k`, the rows are ratings of MovieLens, and `--fields` names their
# fields. The labels are the ratings. With `--threshold 4`, they say whether a rating
# has at least four stars.

# %%
parts = load_for(run)

# %% [markdown]
# ## Training the Model
#
# The book's settings: 20 factors, Adam with learning rate 0.02. The model returns
# logits, and the loss applies the sigmoid (E44). The training accuracy is that of the
# predictions made during training.
#
# If the labels are ratings, the loss is the squared error and the initial parameters
# are small, as in matrix factorization. MovieLens needs a lower learning rate and
# smaller batches: try `--lr 0.002 --batch-size 512 --epochs 20`.

# %%
devices = run.devices
of_ratings = args.data == "ml-100k" and args.threshold is None
if of_ratings:
    names, labels = ["test_rmse"], {"test_rmse": "test RMSE"}
else:
    names = ["test_acc", "test_log_loss", "test_auc"]
    labels = {"train_acc": "train acc", "test_acc": "test acc"}
curves = Curves(
    run.epochs,
    {"train_loss": "train loss", **labels},
    ylim=(0.8, 2) if of_ratings else (0, 1),
    book=run.printed(labels),
)


def train(name, num_factors, on_epoch=None):
    """Train a factorization machine; return it and its history."""
    seed_everything(run.seed)
    train_iter, test_iter, valid_iter = parts.loaders(run.batch_size, run.seed)
    net = FM(parts.train.field_dims, num_factors)
    init = mx.init.Normal(0.01) if of_ratings else mx.init.Xavier()
    net.initialize(init, ctx=devices)
    net.hybridize(static_alloc=True)
    lr, num_epochs, wd, optimizer = args.lr, run.epochs, args.wd, args.optimizer
    trainer = make_trainer(net, optimizer, {"learning_rate": lr, "wd": wd})
    if of_ratings:
        history = train_recsys_rating(
            net,
            train_iter,
            test_iter,
            gluon.loss.L2Loss(weight=2),
            trainer,
            num_epochs,
            devices,
            on_epoch=on_epoch,
            checkpoint=run.checkpoint(name),
        )
        return net, history
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
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
        on_epoch,
        run.checkpoint(name),
    )
    return net, history


describe_ctr_model(run, parts, "rating" if of_ratings else "probability")
net, history = train("main", args.factors, curves)
last = kept_epoch(history)
metrics = {name: last[name] for name in names}
run.save(metrics, history)
run.save_model(net)

# %%
figure = curves.figure(f"FM on {run.data_title}")
run.save_figure(figure)
figure

# %% [markdown]
# Can the probabilities be trusted? Among the rows for which the model predicts a click
# with a probability of about 20%, a fifth should be clicks. After many epochs, the
# model is overconfident: the points lie off the diagonal.

# %%
if not of_ratings:
    logits, clicks = predict(net, parts.loaders(run.batch_size, run.seed)[1], devices)
    title = f"FM on {run.data_title}"
    run.draw("calibration", pictures.reliability, logits, clicks, title)

# %% [markdown]
# Do the pairs help? Without factors, the model is logistic regression, or linear
# regression if the labels are ratings.

# %%
print("without factors:")
_, linear = train("without-factors", 0)
name = names[-1].replace("test_", "") + "_without_factors"
run.save({**metrics, name: kept_epoch(linear)[names[-1]]}, history)
