# %% [markdown]
# # Exercises of Neural Collaborative Filtering

# %%
from chapters.runner.exercises import Exercises, compare, draw

exercises = Exercises()
tests, shown = ["test_hit_rate", "test_auc"], ["train_loss", "valid_hit_rate"]

# %% [markdown]
# ## neumf-factors
#
# *First, classic and newest edition; 1 min.*
#
# Change the number of latent factors. How many does NeuMF need, and do more do harm?

# %%
rows = exercises.grid(
    "neumf", {k: f"--factors {k}" for k in (2, 5, 10, 20, 50)}, "--validation"
)
compare(rows, "factors", "valid_auc", tests, book=10, more=shown)
figure = draw(rows, "NeuMF, sizes of the embeddings", "factors", "valid_auc", log=True)
exercises.save("neumf-factors", figure)

# %% [markdown]
# **Answer.** Two factors cost 0.017 in validation AUC, well beyond the spread between
# seeds. For five, the loss of 0.005 is less than three standard errors. Between 10 and
# 20, no effect on the AUC can be seen. With 50 factors it is 0.003 lower: the training
# loss is the lowest and the best epoch comes earlier, so the model overfits. The table
# does not show what 50 factors would give with a stronger weight decay.

# %% [markdown]
# ## neumf-mlp
#
# *First, classic and newest edition; 50 s.*
#
# Change the depth and the width of the MLP. Does its shape matter?

# %%
settings = {"10,10,10": ""}  # the book's
settings.update({x: f"--mlp {x}" for x in ("10", "100", "64,32,16")})
rows = exercises.grid("neumf", settings, "--validation")
compare(rows, "layers", "valid_auc", tests, book="10,10,10", more=shown)

# %% [markdown]
# **Answer.** No effect can be seen: one layer of 10 or 100 units, the book's three
# layers and a tower of 64, 32 and 16 differ by 0.002 of AUC at most, no more than the
# seeds do. This fits `neumf-branches`, where the MLP adds nothing that can be seen to
# the product of the embeddings. It does not show that depth is useless for inputs other
# than two ids.

# %% [markdown]
# ## neumf-optimizer
#
# *First, classic and newest edition; 2 min.*
#
# Try other optimizers, learning rates and weight decays. Which of them matters most?

# %%
settings = {"adam 0.01": ""}  # the book's
others = "adam 0.001", "adam 0.05", "sgd 1", "sgd 10", "adagrad 0.05", "rmsprop 0.01"
settings.update({x: "--optimizer {} --lr {}".format(*x.split()) for x in others})
rows = exercises.grid("neumf", settings, "--validation")
compare(rows, "optimizer and rate", "valid_auc", tests, book="adam 0.01", more=shown)

# %%
settings = {1e-5: "", **{wd: f"--wd {wd}" for wd in (0, 1e-4, 1e-3)}}
rows = exercises.grid("neumf", settings, "--validation")
print()
compare(rows, "weight decay", "valid_auc", tests, book=1e-5, more=shown)

# %% [markdown]
# **Answer.** All three matter, and each can spoil the model far beyond the spread
# between seeds. Adam with a tenth of the rate loses 0.027 in validation AUC: 10 epochs
# are not enough. With five times the rate, it loses 0.009. SGD does not get beyond
# 0.804 with either rate, no better than Adam with a weight decay of 0.001. A decay of
# 0.0001 costs 0.026, and none at all makes a difference of 0.001 only. Adagrad is 0.006
# behind, and for RMSProp no clear difference can be seen. Both were tried with one rate
# only. More epochs might help the slow optimizers.

# %% [markdown]
# ## neumf-loss
#
# *First, classic and newest edition, and slides; 1 min.*
#
# Train with the hinge loss in place of BPR. Which margin is as good?

# %%
settings = {"BPR": ""}
settings.update({f"hinge {m}": f"--loss hinge --margin {m}" for m in (0.1, 1, 2, 4)})
rows = exercises.grid("neumf", settings, "--validation")
# The training losses of different margins cannot be compared.
compare(rows, "loss", "valid_auc", tests, book="BPR", more=["valid_hit_rate"])

# %% [markdown]
# **Answer.** A margin of 0.1 costs 0.009 in validation AUC, far beyond the spread. With
# 1, 2 or 4, no difference from BPR can be seen. The margin has to fit the scale of the
# scores: with a small one, most pairs soon have no gradient (see `margin`). Learning
# rate and weight decay were those for BPR.

# %% [markdown]
# ## neumf-branches
#
# *Newest edition's catalogue of problems; 40 s.*
#
# Train each branch alone: the product of embeddings (GMF) and the MLP. What does each
# of them contribute?

# %%
settings = {"both": "", "GMF": "--model gmf", "MLP": "--model mlp"}
rows = exercises.grid("neumf", settings, "--validation")
compare(rows, "branches", "valid_auc", tests, book="both", more=shown)

# %% [markdown]
# **Answer.** The MLP alone is worse by 0.022 in AUC and 0.06 in hit rate, far beyond
# the spread. Between GMF alone and both branches, no difference can be seen. So with
# the book's settings, the product does the work, and it is cheaper to train. This does
# not show that an MLP is of no use: this one is small, and the data has nothing but
# ids.
