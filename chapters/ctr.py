# %% [markdown]
# # Feature-Rich Recommender Systems
#
# Click-through rate (CTR) data tells which online advertisements users clicked. Each
# row has anonymized fields that describe the page, the device and the advertisement.
# The label is 1 for a click and 0 otherwise.

# %%
import numpy

from chapters.runner.ctr_data import load_for
from chapters.runner.options import Options
from d2l_recsys.tools.figures import new_figure

options = Options("ctr")
options.add_vocabulary()
run = options.parse()

# %% [markdown]
# ## The CTR Data Set
#
# The files are encoded once. For the book's files, `load_for` does the same as
#
# ```python
# train_data = CTRDataset(folder / "train.csv")
# test_data = CTRDataset(
#     folder / "test.csv", train_data.feat_mapper, train_data.defaults
# )
# ```
#
# The vocabulary is built from the training file and sorted as text (E41). In each
# field, all values that occur fewer than four times in it share the last index.
# `--min-count` changes this number.

# %%
train_data, test_data, *_ = load_for(run)
num_fields, num_values = len(train_data.field_dims), int(train_data.field_dims.sum())
click_rate = float(train_data.labels.mean())
print(f"{len(train_data)} training and {len(test_data)} test rows")
print(f"{num_fields} fields, {num_values} indices, click rate {click_rate:.1%}")

# %% [markdown]
# A row consists of its indices, which differ between fields, and its label.

# %%
features, label = train_data[0]
print(f"record 0: {features}, label {label}")

# %% [markdown]
# How many test values are rare or new? This is the share of entries without an index of
# their own.

# %%
rare = train_data.offsets + numpy.array(
    [train_data.defaults[field] for field in range(1, num_fields + 1)]
)
unknown = (test_data.features == rare).mean(axis=0)
print(f"rare or unknown test entries: {unknown.mean():.1%}")
run.save(
    {
        "fields": num_fields,
        "indices": num_values,
        "clicks": click_rate,
        "unknown_in_test": float(unknown.mean()),
    }
)

# %%
figure, axes = new_figure(
    f"Indices per field of {run.data_title}", "field", "indices (log scale)"
)
axes.bar(range(1, num_fields + 1), train_data.field_dims)
axes.set_yscale("log")
run.save_figure(figure)
figure
