# %% [markdown]
# # Matrix Factorization
#
# The predicted rating of user $u$ for item $i$ is
# $\mathbf{p}_u^\top\mathbf{q}_i + b_u + b_i$. The inner product measures how well user
# and item match, and the biases tell how each of them is usually rated.

# %%
from chapters.runner import pictures
from chapters.runner.options import Options
from chapters.runner.saving import describe_recommender
from chapters.runner.validation import split_validation
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.baseline import BiasBaseline
from d2l_recsys.engine.snapshot import kept_epoch
from d2l_recsys.mf import MF, evaluator, train_recsys_rating
from d2l_recsys.movielens import rating_loader, split_data_ml100k
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.tools.curves import Curves

options = Options("mf", epochs=20, batch_size=512, of_ratings=True)
options.add_argument(
    "--split",
    choices=["seq-aware", "random"],
    default="seq-aware",
    help="how to split the data; the book uses seq-aware here and random for AutoRec",
)
options.add_training(factors=30, lr=0.002, wd=1e-5)
options.add_biases()
options.add_validation()
run = options.parse()

# %% [markdown]
# ## Training and Evaluating the Model
#
# The book's settings: 30 factors, Adam with learning rate 0.002 and weight decay 1e-5.
# `--factors`, `--optimizer`, `--lr` and `--wd` change them.
# `L2Loss(weight=2)` is the squared error itself, without the factor 1/2, which makes no
# difference to Adam (E16). If the data set is larger than the book's by a factor of
# `run.scale`, batches grow by this factor, and weight decay shrinks by it. Without
# `--validation`, the loaders are those of `split_and_load_ml100k`.

# %%
devices, args = run.devices, run.args
ratings = run.read_ratings()
num_users, num_items = sizes = ratings[1:]
batch_size, seed = run.batch_size, run.seed
known_data, test_data = split_data_ml100k(*ratings, args.split, seed=seed)
labels = {"train_loss": "train loss", "test_rmse": "test RMSE"}
train_data, valid_iter = known_data, None
if args.validation:
    labels["valid_rmse"] = "validation RMSE"
    train_data, valid_data = split_validation(known_data, *sizes, args.split, seed)
    valid_iter = rating_loader(valid_data, *sizes, batch_size)
train_iter = rating_loader(train_data, *sizes, batch_size, shuffle=True, seed=seed)
test_iter = rating_loader(test_data, *sizes, batch_size)
net = MF(args.factors, num_users, num_items, biases=args.biases)
net.initialize(ctx=devices, force_reinit=True, init=mx.init.Normal(0.01))
net.hybridize(static_alloc=True, static_shape=True)
lr, num_epochs, wd, optimizer = args.lr, run.epochs, args.wd, args.optimizer
loss = gluon.loss.L2Loss(weight=2)
trainer = make_trainer(net, optimizer, {"learning_rate": lr, "wd": wd / run.scale})
book = run.printed(labels) if args.split == "seq-aware" else None
describe_recommender(run, known_data, ratings=True)
curves = Curves(num_epochs, labels, ylim=(0.8, 2), book=book)
history = train_recsys_rating(
    net,
    train_iter,
    test_iter,
    loss,
    trainer,
    num_epochs,
    devices,
    evaluator,
    on_epoch=curves,
    checkpoint=run.checkpoint("main"),
    valid_iter=valid_iter,
)

# %% [markdown]
# Do the factors help? This is the error of the mean rating and the biases alone.

# %%
users, items, stars = train_iter.dataset.arrays
baseline = BiasBaseline.fit(users, items, stars, num_users, num_items)
users, items, stars = test_iter.dataset.arrays
error = baseline.predict(users, items) - stars
baseline_rmse = float((error**2).mean() ** 0.5)
test_rmse = kept_epoch(history)["test_rmse"]
run.save({"test_rmse": test_rmse, "biases_alone": baseline_rmse}, history)
print(f"biases alone: test RMSE {baseline_rmse:.3f}")

# %% [markdown]
# The model is saved with the users' ratings, for `python -m d2l_recsys recommend`.

# %%
run.save_model(net)

# %%
figure = curves.figure(f"MF on {run.data_title}, {args.split} split")
run.save_figure(figure)
figure

# %% [markdown]
# The predicted rating of the user with *index* 20 for the item with index 30. In the
# file of MovieLens 100K, these are user 21 and item 31 (E15). If the data set is
# smaller, its last user or item is used.

# %%
user, item = min(20, num_users - 1), min(30, num_items - 1)
scores = net(
    np.array([user], dtype="int32", ctx=devices[0]),
    np.array([item], dtype="int32", ctx=devices[0]),
)
user_id, item_id = ratings.ids.users[user], ratings.ids.items[item]
print(f"predicted rating of user {user_id} for item {item_id}: {scores.item():.3f}")

# %% [markdown]
# ## What the Vectors Show
#
# The model sees ratings only, no titles and no genres. Yet movies that the same users
# like have similar vectors. The figure shows the vectors of the most rated items,
# projected onto the two directions in which they differ most.

# %%
vectors = net.Q.weight.data(devices[0]).asnumpy()
rated, item_ids = train_iter.dataset.arrays[1], ratings.data.attrs["item_ids"]
run.draw("map", pictures.embedding_map, vectors, rated, run.folder, item_ids)
