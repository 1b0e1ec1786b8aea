# %% [markdown]
# # Exercises of Feature-Rich Recommender Systems

# %%
import numpy

from chapters.runner.ctr_data import load_ctr
from chapters.runner.data import DATA_TITLES
from chapters.runner.exercises import Exercises, compare, print_table
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.data.ctr_files import Table, read_table
from d2l_recsys.data.ctr_layouts import LAYOUTS

exercises = Exercises()
tests = ["test_log_loss", "test_auc"]


def shared(parts, part):
    """Return the share of entries of a part whose value is rare, new or missing."""
    train = parts.train
    rare = [train.defaults[f + 1] + x for f, x in enumerate(train.offsets)]
    return float((part.features == numpy.array(rare)).mean())


# %% [markdown]
# ## ctr-data
#
# *First and classic edition; 5 s.*
#
# Can `CTRDataset` read the data of Criteo and Avazu? Some of Criteo's fields are
# numbers. Avazu's files have commas and a column for the time.

# %%
lines = [["data", "rows", "fields", "of numbers", "indices", "clicks", "shared, test"]]
for name in ("criteo", "avazu"):
    folder, found = exercises.find(name)
    parts = load_ctr(folder, found)
    train, layout = parts.train, LAYOUTS.get(found)
    cells = [DATA_TITLES[found], len(train), len(train.field_dims)]
    cells += [len(layout.numeric) if layout else 0, train.field_dims.sum()]
    cells += [f"{train.labels.mean():.1%}", f"{shared(parts, parts.test):.1%}"]
    lines.append(cells)
print_table(lines)

# %% [markdown]
# **Answer.** Yes: `layout` describes the columns, and the layouts of both data sets are
# in the package. Numbers become bins, and Avazu's time becomes two fields, weekday and
# hour. In the test rows, 22% of the entries of Criteo's sample have no index of their
# own, and 6% of Avazu's. These are samples, so their click rates and vocabularies say
# little about the full files.

# %% [markdown]
# ## ctr-numeric
#
# *Newest edition; 25 s.*
#
# Give numeric fields a path of their own that leaks nothing from the test rows. What do
# the numbers contribute?

# %%
folder, found = exercises.find("criteo")


def read(part, seed):
    """Read a file of Criteo's, or make up one field of counts."""
    if found == "criteo":
        return read_table(folder / f"{part}.csv", LAYOUTS["criteo"])
    numbers = numpy.random.default_rng(seed).lognormal(2, 2, 1000).astype(int)
    values, codes = numpy.unique(numbers, return_inverse=True)
    labels = numpy.zeros(1000, "float32")
    codes = codes[:, None].astype("int32")
    return Table(("I6",), ("I6",), [values.astype(str).tolist()], codes, labels)


train_rows, test_rows = read("train", 0), read("test", 1)
column = train_rows.fields.index("I6")
for bins in (5, 20):
    train = CTRDataset.from_table(train_rows, num_bins=bins)
    edges = train.feat_mapper[column + 1].edges
    print(f"{bins} bins of I6: edges {', '.join(f'{x:g}' for x in edges)}.\n")

# %%
fitted, missing = train.feat_mapper[column + 1], train.defaults[column + 1]
own = CTRDataset.from_table(test_rows, num_bins=20).feat_mapper[column + 1]
numbers = [x for x in test_rows.values[column] if x]
moved = numpy.mean([fitted.get(x, missing) != own.get(x, missing) for x in numbers])
largest = max(numbers, key=float)
print(
    f"The largest number of the test rows, {largest}, is in bin "
    f"{fitted.get(largest, missing)} of 0 to {len(edges)}. Missing numbers have index "
    f"{missing}. With edges of the test rows, {moved:.0%} of their distinct numbers "
    "would be in another bin."
)

# %%
settings = {1: "--bins 1", 5: "--bins 5", 20: "", 100: "--bins 100"}
if found != "criteo":
    settings = {20: ""}  # the synthetic data has no numbers
rows = exercises.grid(
    "fm",
    settings,
    f"--data {found} --factors 0 --patience 5 --lr 0.001 --batch-size 256",
)
compare(rows, "bins", "valid_log_loss", tests, book=20)

# %% [markdown]
# **Answer.** The bins of a field have about equal numbers of training rows, so there
# are fewer bins where many rows share a number. The edges come from the training rows
# alone: a larger number in the test rows falls into the last bin and moves no edge. A
# single bin tells only whether a number is missing. In logistic regression, its
# validation log loss is higher than that of 20 bins by 0.025 ± 0.006. No difference
# between 20 bins and 5 or 100 can be seen. This does not show what a path without bins,
# such as a weight times the logarithm of the number, would gain.

# %% [markdown]
# ## ctr-threshold
#
# *Newest edition's catalogue; 45 s.*
#
# Values that occur fewer than four times share an index. What happens with a threshold
# of 1, 10 or 50?

# %%
counts = (1, 4) if exercises.smoke else (1, 4, 10, 50)
for name in ("criteo", "avazu"):
    folder, found = exercises.find(name)
    lines = [["threshold", "indices", "largest field", "shared, train", "shared, test"]]
    for count in counts:
        parts = load_ctr(folder, found, min_count=count)
        dims = parts.train.field_dims
        shares = [shared(parts, part) for part in (parts.train, parts.test)]
        lines.append([count, dims.sum(), dims.max(), *(f"{x:.1%}" for x in shares)])
    print(f"{DATA_TITLES[found]}:\n")
    print_table(lines)
    settings = {count: f"--min-count {count}" for count in counts}
    common = f"--data {found} --patience 5 --lr 0.001 --batch-size 256"
    rows = exercises.grid("fm", settings, common)
    print("\nA factorization machine:\n")
    compare(rows, "threshold", "valid_log_loss", tests, book=4)
    print()

# %% [markdown]
# **Answer.** A threshold of 1 gives eight times as many indices as one of 4. Most of
# them are for values that occur fewer than four times. On Avazu's sample, no training
# row then has the shared index, so its vector is never trained, although 3.6% of the
# test entries use it. With 50, a third of Criteo's entries share an index. The
# validation log loss hardly changes. No threshold differs from 4 by more than three
# standard errors, with one exception: on Avazu's sample, 1 is better by 0.004 ± 0.002,
# just above that. This does not show what the threshold does on millions of rows, where
# even rare values occur often enough to be learned.
