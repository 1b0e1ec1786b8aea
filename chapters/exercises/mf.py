# %% [markdown]
# # Exercises of Matrix Factorization

# %%
import numpy

from chapters.runner.exercises import Exercises, compare, draw, print_table
from chapters.runner.recommendations import titles_of
from d2l_recsys.runtime.backend import np
from d2l_recsys.tools.figures import new_figure

exercises = Exercises()

# %% [markdown]
# ## mf-factors
#
# *First, classic and newest edition; 50 s.*
#
# Change the number of latent factors. Does the model get better or worse?

# %%
rows = exercises.grid(
    "mf",
    {k: f"--factors {k}" for k in (2, 5, 10, 30, 100)},
    "--split random --validation",
)
compare(rows, "factors", "valid_rmse", ["test_rmse"], book=30)
figure = draw(rows, "MF on the random split", "factors", "valid_rmse", log=True)
exercises.save("mf-factors", figure)

# %% [markdown]
# **Answer.** More factors are better up to 30. Two or five factors cost 0.028 in
# validation RMSE and ten cost 0.024, several times the spread between seeds. With so
# few, 20 epochs hardly get beyond the biases. Between 30 and 100 factors, no difference
# can be seen if each stops at its best epoch. With 100, this is the tenth; after it,
# the model overfits. So the number of factors and the number of epochs must be chosen
# together.

# %% [markdown]
# ## mf-optimizer
#
# *First, classic and newest edition; 2 min.*
#
# Try other optimizers, learning rates and weight decays. Which of them matters most?

# %%
settings = {
    f"{name} {lr}": f"--optimizer {name} --lr {lr}"
    for name, lrs in {
        "adam": (0.0005, 0.002, 0.01),
        "sgd": (0.1, 1, 10),
        "adagrad": (0.01, 0.05),
        "rmsprop": (0.002,),
    }.items()
    for lr in lrs
}
rows = exercises.grid("mf", settings, "--split random --validation")
compare(rows, "optimizer and rate", "valid_rmse", ["test_rmse"], book="adam 0.002")

# %%
settings = {wd: f"--wd {wd}" for wd in (0, 1e-5, 1e-4, 1e-3, 1e-2)}
rows = exercises.grid("mf", settings, "--split random --validation")
print()
compare(rows, "weight decay", "valid_rmse", ["test_rmse"], book=1e-5)

# %% [markdown]
# **Answer.** The learning rate matters most. For Adagrad with 0.05 and SGD with 10, no
# difference from the book's setting can be seen. With a rate four or five times too low
# or too high, Adam loses 0.04, and SGD with 0.1 has hardly begun after 20 epochs.
# Weight decay hurts from 0.0001 on: this costs 0.010, and 0.001 costs 0.2. It also
# pulls the biases to zero, and these have to carry the mean rating, because the model
# has no global mean. Between no decay and the book's, no difference can be seen. The
# table does not show what longer training would change.

# %% [markdown]
# ## mf-movie
#
# *First, classic and newest edition; 5 s.*
#
# Predict every user's rating of one movie. How do the predictions differ from the real
# ratings?

# %%
mf = exercises.script("mf", "--split random")
index, data, users = 30, mf["ratings"].data, np.arange(mf["num_users"])
predicted = mf["net"](users, np.array([index])).asnumpy()
stars = data[data["item_id"] == index + 1].set_index("user_id")["rating"]
of_raters = predicted[stars.index - 1]
title = titles_of(mf["run"].folder, data.attrs["item_ids"])[index]
print(f"{title}:\n")
parts = {
    "predicted, all users": predicted,
    "predicted, users who rated it": of_raters,
    "rated": stars.to_numpy(),
}
figures = [[n, len(x), x.mean(), x.std(), x.min(), x.max()] for n, x in parts.items()]
head = ["ratings", "number", "mean", "standard deviation", "lowest", "highest"]
print_table(
    [head, *[[x if i < 2 else f"{x:.2f}" for i, x in enumerate(f)] for f in figures]]
)

figure, axes = new_figure("Ratings of one movie", "stars", "share of the ratings")
bins = numpy.arange(0.75, 6, 0.5)
for name in ("predicted, all users", "rated"):
    weights = numpy.full(len(parts[name]), 1 / len(parts[name]))
    axes.hist(parts[name], bins, weights=weights, alpha=0.6, label=name)
axes.legend()
exercises.save("mf-movie", figure)

# %% [markdown]
# **Answer.** The mean is right, but the predictions spread half as much as the ratings.
# A model trained on the squared error predicts a mean where it is uncertain, so it
# rarely predicts one or five stars. Predictions can be above five, because nothing in
# the model limits them. The table does not show how the other users would rate the
# movie. They may have had a reason not to watch it.

# %% [markdown]
# ## mf-biases
#
# *Newest edition's catalogue of problems; 15 s.*
#
# Leave out the biases. Can the factors make up for them?

# %%
settings = {"with": "--biases", "without": "--no-biases"}
rows = exercises.grid("mf", settings, "--split random --validation")
compare(rows, "biases", "valid_rmse", ["test_rmse"], book="with")

# %% [markdown]
# **Answer.** Without biases, the error is 0.007 higher. With a standard deviation of
# 0.004 over three seeds, this is at the limit of what can be seen. The loss is small
# because a factor that is the same for all users acts as an item bias, and the other
# way round. So the factors make up for most of the biases, at the cost of two of them.

# %% [markdown]
# ## choosing
#
# *Newest edition (validation); 2 min, less after mf-factors and neumf-factors.*
#
# Readers of the book choose factors, learning rates and epochs on the test set that
# also gives the reported metrics. How large is the optimistic bias of such a choice?

# %%
models = {"mf": "--split random --validation", "neumf": "--validation"}
grids = {"mf": (2, 5, 10, 30, 100), "neumf": (2, 5, 10, 20, 50)}
runs = {
    slug: exercises.grid(slug, {k: f"--factors {k}" for k in grids[slug]}, options)
    for slug, options in models.items()
}
figure, axes = new_figure("Choosing on the test set", "", "better by (bias)")
lines = [["model, test metric", "chosen on validation data", "on the test set", "bias"]]
for place, (slug, metric) in enumerate(
    [("mf", "rmse"), ("neumf", "auc"), ("neumf", "hit_rate")]
):
    chosen, best = [], []
    for _, rows in runs[slug].groupby("seed"):
        valid, low = rows[f"valid_{metric}"], metric == "rmse"
        chosen.append(
            rows.loc[valid.idxmin() if low else valid.idxmax(), f"test_{metric}"]
        )
        tested = rows[f"best_test_{metric}"]
        best.append(tested.min() if low else tested.max())
    gains = numpy.abs(numpy.subtract(best, chosen))
    spreads = [
        f"{x.mean():.4f} ± {x.std(ddof=min(1, len(x) - 1)):.4f}"
        for x in (numpy.array(chosen), numpy.array(best), gains)
    ]
    lines.append([f"{slug}, {metric.replace('_', ' ')}", *spreads])
    axes.plot([place] * len(gains), gains, "o", color="C0", alpha=0.6)
print_table(lines)
axes.set_xticks(range(3), [line[0] for line in lines[1:]])
axes.set_ylim(bottom=0)
exercises.save("choosing", figure)

# %% [markdown]
# **Answer.** On the test set, MF looks 0.002 better and the hit rate of NeuMF 0.014, as
# much as many differences between models. The AUC hardly moves. The bias grows with the
# variance of the metric and with the number of settings and epochs that are tried: a
# hit rate over 943 users has a standard error of 0.015. Three seeds give only the order
# of magnitude: each bias varies about as much as it is large. And few settings were
# tried here.
