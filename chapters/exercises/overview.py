# %% [markdown]
# # Exercises of the Overview

# %%
from contextlib import redirect_stdout

import numpy
import pandas

from chapters.runner.exercises import Exercises, print_table, table
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.rating_fields import rating_fields
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.fm import FM
from d2l_recsys.mf import train_recsys_rating
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import PRDataset
from d2l_recsys.runtime.backend import gluon, mx, np
from d2l_recsys.runtime.devices import seed_everything

exercises = Exercises()

# %% [markdown]
# ## daily-life
#
# *First and classic edition; 0 s.*
#
# Where do recommender systems influence what you see, buy and read in a day?

# %% [markdown]
# **Answer.** In most feeds: they choose the order of posts, videos and news, the
# products below the one you look at, the next song, the shows in the first row, routes,
# restaurants, jobs and advertisements. Two effects are worth watching for. What is
# shown shapes what is clicked, so a system trained on clicks learns from its own
# choices. And what is never shown cannot be clicked: the data has no row for it. The
# exercises `false-negatives` and `negatives` come back to this.

# %% [markdown]
# ## other-tasks
#
# *First and classic edition; 0 s.*
#
# Which recommendation tasks exist besides those of the chapter, and which of its models
# fit them?

# %% [markdown]
# **Answer.** The chapter predicts ratings (`mf`, `autorec`), ranks items (`neumf`),
# ranks the next item of a sequence (`seqrec`), and predicts clicks from features
# (`ctr`, `fm`, `deepfm`). Further tasks are sessions without a known user (see
# `sessions`), new items (see `cold-start`) and new users, lists that are good as a
# whole, groups of users, explanations of recommendations, and choosing what to show
# while learning from the feedback (bandits).

# %% [markdown]
# ## order
#
# *Newest edition; 20 s.*
#
# Two users have seen the same items in different orders. Which models give both users
# the same scores?

# %%
mf, autorec, neumf, plain, caser = (
    exercises.script(slug, f"--epochs 2 {options}")
    for slug, options in [
        ("mf", ""),
        ("autorec", "--by user"),
        ("neumf", ""),
        ("seqrec", "--without both"),
        ("seqrec", ""),
    ]
)
num_items, L = mf["num_items"], caser["L"]
items = np.arange(num_items, dtype="int32")
user = np.zeros(1, dtype="int32")
stars = autorec["train_inter_mat"][0].asnumpy()


def row_of(history):
    """Return a row of the rating matrix that holds the ratings of these items."""
    row = numpy.zeros((1, num_items), dtype="float32")
    row[0, history] = stars[history]
    return np.array(row)


def window_of(history):
    return np.array(history[None, -L:], dtype="int32")


models = {
    "MF": lambda history: mf["net"](user, items),
    "AutoRec, by user": lambda history: autorec["net"](row_of(history)),
    "NeuMF": lambda history: neumf["net"](user, items),
    "Caser without filters": lambda history: plain["net"](
        user, window_of(history), items[None]
    ),
    "Caser": lambda history: caser["net"](user, window_of(history), items[None]),
}
history = caser["test_seq_iter"][0]
rng, lines = numpy.random.default_rng(0), [["model", "largest change of a score"]]
for name, scores in models.items():
    before = scores(history).asnumpy()
    changes = [
        numpy.abs(scores(rng.permutation(history)).asnumpy() - before).max()
        for _ in range(20)
    ]
    lines.append([name, f"{max(changes):.3g}"])
print_table(lines)

# %% [markdown]
# **Answer.** Only Caser tells the orders apart, and only with a filter. The scores of
# all other models do not change at all. For MF and NeuMF, a user is a vector that is
# trained on a set of items. For AutoRec, a user is a row of ratings. The change in
# Caser's scores shows that order has an effect, not that the effect is useful: see
# `seqrec-filters`.

# %% [markdown]
# ## false-negatives
#
# *Newest edition; 5 s.*
#
# An item that a user has not seen may be one that the user would like. How often does
# uniform sampling draw the held-out item as a negative, and what does that do?

# %%
folder, _ = exercises.find("ml-100k")
df, num_users, num_items = read_data_ml100k(folder)
train, test = split_data_ml100k(df, num_users, num_items, "seq-aware")
users, items, _, seen = load_data_ml100k(train, num_users, num_items, "implicit")
held_out = load_data_ml100k(test, num_users, num_items, "implicit").inter
ids = [x for x in range(num_users) if x in held_out]
unseen = {user: num_items - len(seen.get(user, [])) for user in ids}
expected = sum(len(seen.get(user, [])) / unseen[user] for user in ids)
target = numpy.array([held_out.get(user, [-1])[0] for user in range(num_users)])
dataset = PRDataset(users, items, seen, num_items)
drawn = [
    (dataset[numpy.arange(len(users))][2] == target[users]).sum() for _ in range(10)
]
print(
    f"Of {len(users)} draws in an epoch, {expected:.1f} are expected to hit the "
    f"held-out item ({expected / len(users):.3%}). In 10 epochs, {sum(drawn)} did."
)

# %% [markdown]
# **Answer.** About 0.07% of the draws hit the held-out item, less than one per user and
# epoch. Each such draw pushes the item down, by the gradient $\sigma(\hat y_{uj} - \hat
# y_{ui})$ of BPR, which is larger the better the model already ranks the item. So the
# error is small, but it always points the wrong way. This does not show how many items
# a user would like but has never seen. They are drawn as often as all others, and
# nothing in the data tells them apart.

# %% [markdown]
# ## cold-start
#
# *Newest edition; 40 s.*
#
# Hold out all ratings of some items. Which models can predict ratings of a new item,
# and what do they need to know about it?

# %%
folder, _ = exercises.find("ml-100k")
df, num_users, num_items = read_data_ml100k(folder)
rows = []
for seed in exercises.seeds:
    parts = split_data_ml100k(df, num_users, num_items, "item-cold", seed=seed)
    for name, fields in {
        "user": ["user"],
        "user, item": ["user", "item"],
        "user, genres, year": ["user", "genres", "year"],
        "user, item, genres, year": ["user", "item", "genres", "year"],
    }.items():
        train, test = (rating_fields(x, folder, fields) for x in parts)
        train = CTRDataset.from_table(train)
        test = CTRDataset.from_table(test, train.feat_mapper, train.defaults)
        seed_everything(seed)
        net = FM(train.field_dims, 10)
        net.initialize(mx.init.Normal(0.01))
        net.hybridize(static_alloc=True)
        with redirect_stdout(None):
            history = train_recsys_rating(
                net,
                BatchLoader(train, 512, shuffle=True, seed=seed),
                BatchLoader(test, 8192),
                gluon.loss.L2Loss(weight=2),
                make_trainer(net, "adam", {"learning_rate": 0.002}),
                2 if exercises.smoke else 10,
            )
        rows.append({"setting": name, "seed": seed, **history[-1]})
rows = pandas.DataFrame(rows)
table(rows, "fields of the FM", ["train_loss", "test_rmse"])

# %% [markdown]
# **Answer.** A model that knows movies only by their ids cannot judge a new one. What
# remains is the user bias, as in MF (RMSE 1.05). Genres and the year of release, which
# are known before the first rating, lower the RMSE to 1.015, a gain of three times the
# spread between seeds. Adding the id makes it worse, although the training error falls:
# a new movie gets the index that all rare movies share, and rare movies are rated lower
# than new ones. So a cold-start model needs item features, and training that does not
# rely on the id. A warm-start split, with some ratings of each item in training, is the
# random split of the chapter, where ids help.
