# %% [markdown]
# # The MovieLens Dataset
#
# MovieLens 100K contains 100,000 ratings of 1 to 5 stars, given by 943 users to 1682
# movies. All sections up to `seqrec` use it.

# %%
from chapters.runner import pictures
from chapters.runner.options import Options
from d2l_recsys.movielens import split_data_ml100k
from d2l_recsys.tools.figures import histogram

run = Options("movielens").parse()

# %% [markdown]
# ## Statistics of the Dataset
#
# Most users have rated few movies. The sparsity is the share of empty cells in the
# matrix of users and items.

# %%
data, num_users, num_items = run.read_ratings()
sparsity = 1 - len(data) / (num_users * num_items)
run.save({"users": num_users, "items": num_items, "sparsity": f"{sparsity:f}"})
print(f"number of users: {num_users}, number of items: {num_items}")
print(f"matrix sparsity: {sparsity:f}")
print(data.head(5))

# %%
figure = histogram(
    data["rating"], f"Distribution of Ratings in {run.data_title}", "rating"
)
run.save_figure(figure)
figure

# %% [markdown]
# The ratings are not spread evenly over the matrix. If users and items are sorted by
# their numbers of ratings, one corner is almost full, and most of the rest is empty.

# %%
title = f"Sparsity of {run.data_title}"
run.draw("sparsity", pictures.sparsity, data, num_users, num_items, title)

# %% [markdown]
# ## Splitting the Dataset
#
# *random* puts a tenth of the ratings into the test set. *seq-aware* holds out the last
# rating of each user. This is not a split at one point in time: many training ratings
# of other users are later than a test rating (E03 in `docs/errata.md`).

# %%
for mode in ("random", "seq-aware"):
    train_data, test_data = split_data_ml100k(
        data, num_users, num_items, mode, seed=run.seed
    )
    print(f"{mode}: {len(train_data)} training ratings, {len(test_data)} test ratings")
