# %% [markdown]
# # Exercises of Deep Factorization Machines

# %%
import numpy
import pandas as pd

from chapters.runner.ctr_data import load_ctr
from chapters.runner.exercises import Exercises, compare, draw, table

exercises = Exercises()
tests = ["test_log_loss", "test_auc"]
small_steps = "--lr 0.001 --batch-size 256"

# %% [markdown]
# ## deepfm-mlp
#
# *First, classic and newest edition; 80 s.*
#
# Change the number of layers of the MLP, their sizes, and the dropout. What makes
# DeepFM better or worse?

# %%
shapes = ("30,20,10", "10,20,30", "10,30,10", "20,20,20", "10", "100,100")
settings = {x.replace(",", "-"): f"--mlp {x}" for x in shapes}
rows = exercises.grid("deepfm", settings, "--data synthetic --patience 5")
compare(rows, "layers", "valid_log_loss", tests, book="30-20-10")
figure = draw(rows, "DeepFM on synthetic data", "layers", "valid_log_loss")
exercises.save("deepfm-mlp", figure)

# %%
print("Dropout, with layers 30-20-10:\n")
dropout = {x: f"--dropout {x}" for x in (0.0, 0.1, 0.3, 0.5)}
rows = exercises.grid("deepfm", dropout, "--data synthetic --patience 5")
compare(rows, "dropout", "valid_log_loss", tests, book=0.1)

# %%
few = {x: settings[x] for x in ("30-20-10", "10", "100-100")}
print("Small steps:\n")
for found in ("synthetic", *(exercises.find(x)[1] for x in ("criteo", "avazu"))):
    rows = exercises.grid("deepfm", few, f"--data {found} --patience 5 {small_steps}")
    compare(rows, f"layers, {found}", "valid_log_loss", tests, book="30-20-10")
    print()

# %% [markdown]
# **Answer.** On the synthetic data, a single layer of 10 units is worse than 30-20-10
# by 0.051 ± 0.012 in validation log loss. With small steps (a learning rate of 0.001
# and batches of 256), this is 0.041 ± 0.011, and 100-100 is better by 0.029 ± 0.008.
# With the book's steps, which are too large, no gain from 100-100 can be seen, and no
# difference between the shapes of three layers. Without dropout, the log loss is higher
# by 0.015 ± 0.005. Between the other rates and 0.1, no difference can be seen. On the
# samples of Criteo and Avazu, all shapes differ from 30-20-10 by at most 0.003. This
# does not show which MLP would be best for millions of rows.

# %% [markdown]
# ## deepfm-criteo
#
# *First, classic and newest edition; 30 s.*
#
# Train DeepFM on Criteo's data. Is it better than a factorization machine?

# %%
folder, found = exercises.find("criteo")
steps = {"book's steps": "", "small steps": small_steps}
models = {
    "logistic regression": ("fm", "--factors 0"),
    "FM": ("fm", ""),
    "DeepFM": ("deepfm", ""),
}
rows, chosen = [], []
for model, (slug, options) in models.items():
    settings = {f"{model}, {x}": f"{options} {steps[x]}" for x in steps}
    rows.append(exercises.grid(slug, settings, f"--data {found} --patience 5"))
    means = rows[-1].groupby("setting")["valid_log_loss"].mean()
    chosen.append(rows[-1][rows[-1]["setting"] == means.idxmin()])
table(pd.concat(rows), "model", ["train_loss", "valid_log_loss", "epoch"])

# %% [markdown]
# Each model has the steps that are better on its validation data. All are compared with
# a constant, the click rate of the training rows.

# %%
parts = load_ctr(folder, found)
rate, clicks = float(parts.train.labels.mean()), float(parts.test.labels.mean())
loss = -clicks * numpy.log(rate) - (1 - clicks) * numpy.log(1 - rate)
constant = {**chosen[0].iloc[0], "setting": "constant", **dict(zip(tests, (loss, 0.5)))}
table(pd.concat([pd.DataFrame([constant]), *chosen]), "model", tests)
print(f"\nThere are {len(parts.test)} test rows.")

# %% [markdown]
# **Answer.** Not on this sample. The book's steps make DeepFM look much better than FM,
# with a validation log loss of 0.473 ± 0.004 against 0.539 ± 0.035, but only because
# they are too large for FM, which does no better than a constant. With small steps, no
# difference between the log losses of the three models can be seen: all differences are
# below three standard errors over the seeds. With so few test rows, an AUC has a
# standard error of 0.03. This does not show how good DeepFM is on all 46 million rows.

# %% [markdown]
# ## deepfm-branches
#
# *Newest edition's catalogue; 60 s.*
#
# DeepFM adds a factorization machine and an MLP. What is each of them worth alone?

# %%
settings = {"both": "", "MLP alone": "--without fm", "FM alone": "--without mlp"}
for name, steps in {"book's steps": "", "small steps": small_steps}.items():
    rows = exercises.grid("deepfm", settings, f"--data synthetic --patience 5 {steps}")
    compare(rows, f"parts, {name}", "valid_log_loss", tests, book="both")
    print()

# %%
for name in ("criteo", "avazu"):
    found = exercises.find(name)[1]
    common = f"--data {found} --patience 5 {small_steps}"
    rows = exercises.grid("deepfm", settings, common)
    compare(rows, f"parts, {found}", "valid_log_loss", tests, book="both")
    print()

# %% [markdown]
# **Answer.** On the synthetic data, FM alone is worse than both parts by 0.072 ± 0.005
# in validation log loss, and with small steps by 0.083 ± 0.010. Between the MLP alone
# and both parts, no difference can be seen. The data is made this way: the clicks also
# depend on a product of three traits, which no sum over pairs can express. On the
# samples of Criteo and Avazu, no effect of either part can be seen. This does not show
# what the FM is worth on data where only pairs matter.
