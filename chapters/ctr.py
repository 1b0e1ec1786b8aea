# %% [markdown]
# # Feature-Rich Recommender Systems
#
# Will this person click this advertisement? What is known comes as fields: of the
# page, the device, the ad. Their values have been made anonymous; whether somebody
# clicked is the label, 1 or 0.

# %%
import numpy

from chapters.runner.ctr_data import load_ctr
from chapters.runner.options import Options
from d2l_recsys.tools.curves import new_figure

run = Options("ctr").parse()

# %% [markdown]
# ## A Data Set of Advertisements
#
# The files are encoded once. With the book's files, `load_ctr` does no more than
#
# ```python
# train_data = CTRDataset(folder / "train.csv")
# test_data = CTRDataset(
#     folder / "test.csv", train_data.feat_mapper, train_data.defaults
# )
# ```
#
# The vocabulary is that of the training file, in the order of its text (E41). Values
# that it holds fewer than four times, and all others, share each field's last index.

# %%
train_data, test_data, _ = load_ctr(run.folder, run.data_name, run.seed)
num_fields, num_values = len(train_data.field_dims), int(train_data.field_dims.sum())
clicks = float(train_data.labels.mean())
print(f"{len(train_data)} training and {len(test_data)} test rows")
print(f"{num_fields} fields with {num_values} indices in all; clicks {clicks:.1%}")

# %% [markdown]
# A row: its indices, which count through all fields, and its label.

# %%
features, label = train_data[0]
print(f"record 0: {features}, label {label}")

# %% [markdown]
# How much of the test file is new? The share of each field's entries that have no
# index of their own.

# %%
rare = train_data.offsets + numpy.array(
    [train_data.defaults[field] for field in range(1, num_fields + 1)]
)
unknown = (test_data.features == rare).mean(axis=0)
print(f"test entries without an index of their own: {unknown.mean():.1%}")

# %%
figure, axes = new_figure(
    f"Values of the fields of {run.data_title}", "field", "indices (log scale)"
)
axes.bar(range(1, num_fields + 1), train_data.field_dims)
axes.set_yscale("log")
figure

# %%
run.save(
    {
        "fields": num_fields,
        "indices": num_values,
        "clicks": clicks,
        "unknown_in_test": float(unknown.mean()),
    },
    ctr=figure,
)
