# %% [markdown]
# # Exercises of Factorization Machines

# %%
from shlex import quote
from timeit import repeat

import numpy
import pandas as pd

from chapters.runner.ctr_data import load_ctr
from chapters.runner.exercises import Exercises, compare, draw, print_table, table
from d2l_recsys.fm import pairwise
from d2l_recsys.runtime.backend import mx, np
from d2l_recsys.tools.figures import new_figure

exercises = Exercises()
tests = ["test_log_loss", "test_auc"]
small_steps = "--lr 0.001 --batch-size 256"

# %% [markdown]
# ## fm-data
#
# *First, classic and newest edition; 150 s.*
#
# How good is a factorization machine on other data: on the clicks of Criteo and Avazu,
# and on the ratings of MovieLens, as numbers or as "at least four stars"?

# %%
settings = {
    "linear, book's steps": "--factors 0",
    "FM, book's steps": "",
    "linear, small steps": f"--factors 0 {small_steps}",
    "FM, small steps": small_steps,
}


def constant(folder, name):
    """Print the log loss of predicting the click rate for every test row."""
    parts = load_ctr(folder, name)
    rate, clicks = float(parts.train.labels.mean()), float(parts.test.labels.mean())
    loss = -clicks * numpy.log(rate) - (1 - clicks) * numpy.log(1 - rate)
    print(f"The click rate as a constant: log loss {loss:.3f}, AUC 0.500.")


for name in ("criteo", "avazu"):
    folder, found = exercises.find(name)
    rows = exercises.grid("fm", settings, f"--data {found} --patience 5")
    compare(rows, found, "valid_log_loss", tests, book="linear, small steps")
    constant(folder, found)
    print()

# %% [markdown]
# Predict the ratings as numbers, on the random split, with the learning rate, batch
# size, weight decay and epochs of matrix factorization. Nothing is chosen here.

# %%
folder, found = exercises.find("ml-100k")
movielens = f"--data ml-100k --data-dir {quote(str(folder))}"
movielens += " --batch-size 512 --lr 0.002"
more = "user,item,age,gender,occupation,genres,year"
settings = {
    "linear": "--factors 0",
    "FM, 30 factors": "--factors 30",
    "FM, 30 factors, 24 fields": f"--factors 30 --fields {more}",
}
if not (folder / "u.user").is_file():
    settings.popitem()
rows = exercises.grid("fm", settings, f"{movielens} --epochs 20 --wd 1e-5")
mf = exercises.grid("mf", {"MF, 30 factors": ""}, "--split random")
table(pd.concat([rows, mf]), "model", ["train_loss", "test_rmse"])

# %% [markdown]
# Whether a rating has at least four stars:

# %%
rows = exercises.grid(
    "fm",
    {k: f"--factors {k}" for k in (0, 4, 20)},
    f"{movielens} --threshold 4 --patience 5",
)
compare(rows, "factors", "valid_log_loss", tests, book=20)

# %% [markdown]
# **Answer.** On the samples of Criteo and Avazu, the steps matter, and no effect of the
# factors can be seen. With small steps (a learning rate of 0.001 and batches of 256),
# the validation log losses of the two models differ by 0.009 ± 0.011 and 0.001 ± 0.002.
# On MovieLens, 20 factors lower the log loss of "at least four stars" by 0.014 ± 0.001.
# In regression, the test RMSE of FM with users and items is lower than that of matrix
# factorization by 0.008 ± 0.002. The 22 further fields raise it by 0.014 ± 0.004 after
# the same number of epochs, which does not show that they are useless: with fewer
# epochs or more weight decay, they may help.

# %% [markdown]
# ## fm-factors
#
# *First, classic and newest edition; 120 s.*
#
# How does the number of factors matter? Is the pattern that of matrix factorization?

# %%
factors = {k: f"--factors {k}" for k in (0, 4, 8, 20, 40)}
common = "--data synthetic --patience 5"
rows = exercises.grid("fm", factors, common)
print("Synthetic data, the book's steps:\n")
compare(rows, "factors", "valid_log_loss", tests, book=20)

# %%
rows = exercises.grid("fm", factors, f"{common} {small_steps}")
print("Synthetic data, small steps:\n")
compare(rows, "factors", "valid_log_loss", tests, book=20)
figure = draw(rows, "FM on synthetic data, small steps", "factors", "valid_log_loss")
exercises.save("fm-factors", figure)

# %%
for name in ("criteo", "avazu"):
    found = exercises.find(name)[1]
    rows = exercises.grid("fm", factors, f"--data {found} --patience 5 {small_steps}")
    compare(rows, f"factors, {found}", "valid_log_loss", tests, book=20)
    print()

# %% [markdown]
# **Answer.** No: matrix factorization gets better up to 30 factors, while here four are
# enough. On the synthetic data with the book's steps, 4 factors are better than 20 by
# 0.040 ± 0.003 in validation log loss, and 40 are worse by 0.037 ± 0.016. With small
# steps, this nearly disappears: 4 are better than 20 by 0.010 ± 0.004. Any number of
# factors is better than none by about 0.18. On Criteo's and Avazu's samples, no
# difference from 20 can be seen. This does not show how many factors millions of rows
# could use.

# %% [markdown]
# ## fm-timing
#
# *Newest edition's catalogue; 10 s.*
#
# The sum over all pairs of fields can be computed in time linear in the number of
# fields. Does it equal the double loop over the pairs, and how much faster is it?


# %%
def double_loop(vectors):
    """Add the inner products of all pairs, one pair at a time."""
    total = 0
    for j in range(vectors.shape[1]):
        for i in range(j):
            total = total + (vectors[:, i] * vectors[:, j]).sum(axis=1, keepdims=True)
    return total


def all_products(vectors):
    """Compute the inner products of all pairs at once, as a matrix for each row."""
    products = mx.npx.batch_dot(vectors, vectors, transpose_b=True)
    with_themselves = np.square(vectors).sum(axis=(1, 2))
    return 0.5 * (products.sum(axis=(1, 2)) - with_themselves)[:, None]


def linear(vectors):
    """Compute the same sum as FM does."""
    return pairwise(mx.nd, vectors)


def milliseconds(way, vectors):
    """Return the shortest of seven times."""
    return 1000 * min(repeat(lambda: way(vectors).asnumpy(), number=1, repeat=7))


# %%
ways = {"double loop": double_loop, "all products": all_products, "linear": linear}
number_of_fields = (5, 10) if exercises.smoke else (5, 10, 20, 40, 80)
figure, axes = new_figure("256 rows, 20 factors", "fields", "milliseconds")
lines, times = [["fields", *(f"{x}, ms" for x in ways), "largest difference"]], []
for n in number_of_fields:
    vectors = np.random.normal(size=(256, n, 20))
    results = [way(vectors).asnumpy() for way in ways.values()]
    apart = max(abs(other - results[0]).max() for other in results)
    times.append([milliseconds(way, vectors) for way in ways.values()])
    size = abs(results[0]).mean()
    lines.append([n, *(f"{x:.2f}" for x in times[-1]), f"{apart / size:.0e}"])
print_table(lines)
for way, series in zip(ways, zip(*times)):
    axes.loglog(number_of_fields, series, "o-", label=way)
axes.set_xticks(number_of_fields, [*map(str, number_of_fields)])
axes.minorticks_off()
axes.legend()
exercises.save("fm-timing", figure)

# %% [markdown]
# **Answer.** The three ways agree up to the rounding of 32-bit numbers. From 5 to 80
# fields, the time of the linear sum grows by a small factor, and that of all products
# at once by a factor of more than fifty. The loop is slower still, because it takes
# 3160 separate steps. The times depend on the machine. They do not show how fast
# training is, which also looks up and updates vectors.
