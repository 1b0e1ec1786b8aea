# %% [markdown]
# # Exercises of The MovieLens Dataset

# %%
from contextlib import redirect_stdout

import numpy
import pandas as pd

from chapters.runner.data import DATA_TITLES
from chapters.runner.exercises import Exercises, print_table, table
from d2l_recsys.data.catalog import DATASETS
from d2l_recsys.data.movies import read_movies
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.predict import predict
from d2l_recsys.mf import MF, train_recsys_rating
from d2l_recsys.movielens import rating_loader, read_data_ml100k, split_data_ml100k
from d2l_recsys.runtime.backend import gluon, mx
from d2l_recsys.runtime.devices import seed_everything

exercises = Exercises()


def read():
    """Read MovieLens 100K, or else synthetic ratings."""
    folder, _ = exercises.find("ml-100k")
    return (folder, *read_data_ml100k(folder))


# %% [markdown]
# ## other-data
#
# *First, classic and newest edition; 1 s.*
#
# Which other data sets are there for recommender systems, and what would they need?

# %%
# Numbers of users and items that occur in the ratings. For the data sets of the
# package, the numbers of ratings are those that it checks.
USERS_ITEMS = {
    "ml-latest-small": (610, 9_724),
    "ml-1m": (6_040, 3_706),
    "ml-10m": (69_878, 10_677),
    "ml-20m": (138_493, 26_744),
    "ml-25m": (162_541, 59_047),
    "ml-32m": (200_948, 84_432),
}
_, data, num_users, num_items = read()
stars = "stars, time"
sets = [("MovieLens 100K", num_users, num_items, len(data), stars, "as in the book")]
for name, size in USERS_ITEMS.items():
    half = "the same" if name == "ml-1m" else "half stars; ids have gaps"
    sets.append((DATA_TITLES[name], *size, DATASETS[name].ratings, stars, half))
sets += [
    ("Netflix Prize", 480_189, 17_770, 100_480_507, "stars, day", "ties within a day"),
    ("Last.fm 360K", 359_347, 294_015, None, "play counts", "implicit, no time"),
    ("Jester", 73_421, 100, 4_136_360, "-10 to 10", "no time: random split only"),
]
lines = [["data", "users", "items", "ratings", "sparsity", "feedback", "protocol"]]
for name, users, items, ratings, feedback, protocol in sets:
    sparsity = f"{1 - ratings / (users * items):.2%}" if ratings else ""
    counts = [f"{x:,}" if x else "" for x in (users, items, ratings)]
    lines.append([name, *counts, sparsity, feedback, protocol])
print_table(lines)
print("\nData of clicks, for the last three sections:\n")
print_table(
    [
        ["data", "rows", "fields", "clicks", "protocol"],
        ["Criteo", "45,840,617", "13 of numbers, 26 others", "26%", "last of 7 days"],
        ["Avazu", "40,428,967", "22, and the hour", "17%", "last of 10 days"],
    ]
)

# %% [markdown]
# **Answer.** The larger MovieLens sets are sparser, but need no other protocol: they
# have the same four columns. Without times, as in Last.fm 360K and Jester, there is no
# last rating to hold out. With days only, as in Netflix's data, users have many last
# ratings. Play counts do not show what users dislike. Jester is an exception, since
# more than half of its matrix is filled. The table does not show whether the model that
# is best on one data set is best on another.

# %% [markdown]
# ## movielens-org
#
# *First, classic and newest edition; 1 s.*
#
# Visit https://movielens.org. What does the site reveal about the ratings that it has
# collected?

# %%
_, data, *_ = read()
times = data.sort_values(["user_id", "timestamp"]).groupby("user_id")["timestamp"]
period, gaps = times.max() - times.min(), times.diff().dropna()
print(
    f"The median user gave all ratings within {period.median() / 60:.0f} minutes, and "
    f"{(period < 86400).mean():.0%} of the users within a day. Of the gaps between two "
    f"successive ratings of a user, {(gaps < 60).mean():.0%} are shorter than a minute."
)

# %% [markdown]
# **Answer.** GroupLens, a research group of the University of Minnesota, has run the
# site since 1997. New users rate movies from lists until the site knows enough to
# recommend, so the ratings depend on what it showed. The times agree: most users gave
# all ratings within a day, often several in a minute. So a timestamp says when users
# rated a movie, not when they saw it. The times do not show which lists users saw, or
# which movies they skipped.

# %% [markdown]
# ## subgroups
#
# *Newest edition's catalogue; 30 s.*
#
# How sparse are the ratings of users with fewer than 20 and with more than 100 ratings?
# Does the seq-aware split train on a user's future? Which movies have the five highest
# mean ratings, and which have the most ratings? How well does a movie's mean rating
# predict on either split, and what changes if all test ratings are later than all
# training ratings?

# %%
folder, data, num_users, num_items = read()
counts = data.groupby("user_id").size()
lines = [["users with", "users", "ratings", "sparsity"]]
for group, users in {
    "fewer than 20 ratings": counts[counts < 20],
    "20 to 100 ratings": counts[counts.between(20, 100)],
    "more than 100 ratings": counts[counts > 100],
    "any number": counts,
}.items():
    cells = num_items * len(users)
    sparsity = f"{1 - users.sum() / cells:.2%}" if cells else ""
    lines.append([group, len(users), users.sum(), sparsity])
print_table(lines)

# %%
train, test = split_data_ml100k(data, num_users, num_items, "seq-aware")
ends = train["user_id"].map(test.set_index("user_id")["timestamp"])
print(
    f"In the seq-aware split, {(train['timestamp'] > ends).sum()} training ratings are "
    "later than the test rating of the same user. "
    f"{(train['timestamp'] > test['timestamp'].min()).mean():.0%} are later than the "
    "earliest test rating of any user."
)

# %%
has_titles = (folder / "u.item").is_file()
titles = read_movies(folder)["title"] if has_titles else {}
movies = data.groupby("item_id")["rating"].agg(["mean", "size"])
often = movies[movies["size"] >= 100]
for words, top in {
    "the highest means": movies.sort_values(["mean", "size"], ascending=False),
    "the highest means, of those with 100 ratings": often.sort_values("mean")[::-1],
    "the most ratings": movies.sort_values("size", ascending=False),
}.items():
    print(f"\nThe five movies with {words}:\n")
    lines = [["movie", "mean", "ratings"]]
    for item, movie in top.head(5).iterrows():
        name = titles[item] if has_titles else f"movie {item}"
        lines.append([name, f"{movie['mean']:.2f}", int(movie["size"])])
    print_table(lines)


# %%
def rmse_of_means(mode, seed):
    """Return test RMSEs of the movies' means and the overall mean, as predictions."""
    train, test = split_data_ml100k(data, num_users, num_items, mode, seed=seed)
    mean = train["rating"].mean()
    means = train.groupby("item_id")["rating"].mean()
    predicted = test["item_id"].map(means).fillna(mean)
    errors = [test["rating"] - x for x in (predicted, mean)]
    names = ["RMSE, movie's mean", "RMSE, overall mean"]
    rmse = [float(numpy.sqrt((x**2).mean())) for x in errors]
    test_mean = {"mean test rating": test["rating"].mean()}
    return {"setting": mode, **dict(zip(names, rmse)), **test_mean}


modes = ["random", "seq-aware"]
rows = pd.DataFrame([rmse_of_means(x, seed) for x in modes for seed in exercises.seeds])
table(rows, "split", [*rows.columns[1:]])


# %%
def rmse_of_mf(mode, seed):
    """Return test RMSEs of matrix factorization with about one test row per user."""
    ratio = [] if mode == "seq-aware" else [num_users / len(data)]
    train, test = split_data_ml100k(data, num_users, num_items, mode, *ratio, seed=seed)
    seed_everything(seed)
    net = MF(30, num_users, num_items)
    net.initialize(mx.init.Normal(0.01))
    net.hybridize(static_alloc=True, static_shape=True)
    with redirect_stdout(None):
        train_recsys_rating(
            net,
            rating_loader(train, num_users, num_items, 512, shuffle=True, seed=seed),
            None,
            gluon.loss.L2Loss(weight=2),
            make_trainer(net, "adam", {"learning_rate": 0.002, "wd": 1e-5}),
            2 if exercises.smoke else 20,
        )
    predicted, stars = predict(net, rating_loader(test, num_users, num_items, 8192))
    known = test["user_id"].isin({*train["user_id"]}).to_numpy()
    squares = (predicted - stars) ** 2
    return {
        "setting": mode,
        "rows of new users": 1 - known.mean(),
        "RMSE, overall mean": ((stars - train["rating"].mean()) ** 2).mean() ** 0.5,
        "RMSE, MF": squares.mean() ** 0.5,
        "RMSE, MF, known users": squares[known].mean() ** 0.5,
    }


_, test = split_data_ml100k(data, num_users, num_items, "time", num_users / len(data))
print(
    "\nMatrix factorization, with about as many test rows as there are users. In the "
    f"time split, they belong to {test['user_id'].nunique()} users.\n"
)
modes = ["random", "seq-aware", "time"]
rows = pd.DataFrame([rmse_of_mf(x, seed) for x in modes for seed in exercises.seeds])
table(rows, "split", [*rows.columns[1:]])

# %% [markdown]
# **Answer.** No user has fewer than 20 ratings: GroupLens left out such users. The 361
# users with more than 100 ratings, 38% of all users, gave 74% of the ratings. No
# training rating is later than the test rating of the same user, but nearly all are
# later than some other user's. The highest means are of movies with at most three
# ratings, so means without counts make a poor list. The movie's mean has an RMSE of
# 1.026 ± 0.005 on the random split and 1.111 on the seq-aware one. The seq-aware split
# is harder: the last ratings of users are lower and vary more. Matrix factorization has
# an RMSE of 0.920 on the random split and 1.038 on the seq-aware one. On the time
# split, it fails with 2.243. A third of the test rows belong to users without training
# ratings. Their biases, which have to carry the mean rating, are not trained. For the
# other users, the RMSE of 1.051 ± 0.028 differs by less than three standard errors from
# that of the seq-aware split. Only the time split asks what a running system has to
# answer. But its test ratings come from 33 users. Others would give another error,
# which the spread over seeds does not show. Nor do the tables show that training
# ratings from the future help on the random split.
