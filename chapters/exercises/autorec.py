# %% [markdown]
# # Exercises of AutoRec

# %%
import pandas

from chapters.runner.exercises import Exercises, compare, draw

exercises = Exercises()

# %% [markdown]
# ## autorec-hidden
#
# *First, classic and newest edition; 1 min.*
#
# Change the size of the hidden layer. Does the model get worse beyond some size?

# %%
rows = exercises.grid(
    "autorec", {k: f"--hidden {k}" for k in (20, 100, 500, 1000)}, "--validation"
)
compare(rows, "hidden units", "valid_rmse", ["test_rmse"], book=500)
figure = draw(rows, "AutoRec, random split", "hidden units", "valid_rmse", log=True)
exercises.save("autorec-hidden", figure)

# %% [markdown]
# **Answer.** Larger is better up to 1000 units. The error is then 0.010 lower than with
# the book's 500, five times the spread of the difference. In this range, no size makes
# the model worse. Narrow nets lose 0.05 (100 units) and 0.13 (20 units), in part
# because 25 epochs are not enough for them: their training errors are high, too.

# %% [markdown]
# ## autorec-layers
#
# *First, classic and newest edition; 2 min.*
#
# Add hidden layers. Does a deeper autoencoder predict better, and is it a matter of
# capacity or of training?

# %%
settings = {
    "500": "--hidden 500",
    "500-100-500": "--hidden 500,100",
    "500-500-500": "--hidden 500,500",
    "500-100-500, 100 epochs": "--hidden 500,100 --epochs 100",
}
rows = exercises.grid("autorec", settings, "--validation")
compare(rows, "layers", "valid_rmse", ["test_rmse"], book="500")

# %% [markdown]
# **Answer.** At the book's number of epochs, deeper is worse: an inner layer of 100
# units costs 0.044, one of 500 units 0.024. It is a matter of training. The training
# error is higher, too, so the deep nets do not overfit. With 100 epochs, the difference
# from one hidden layer falls to 0.005, less than three standard errors. This does not
# show whether more training or another optimizer would make depth pay.

# %% [markdown]
# ## autorec-activations
#
# *First, classic and newest edition; 2 min.*
#
# Try other activations of the encoder and of the decoder.

# %%
settings = {
    f"{hidden}, {output}": f"--activation {hidden}:{output}"
    for hidden in ("sigmoid", "tanh", "relu", "none")
    for output in ("none", "relu")
}
rows = exercises.grid("autorec", settings, "--validation")
compare(rows, "encoder, decoder", "valid_rmse", ["test_rmse"], book="sigmoid, none")
figure = draw(rows, "AutoRec, random split", "encoder, decoder", "valid_rmse")
exercises.save("autorec-activations", figure)

# %% [markdown]
# **Answer.** Bounded encoders are better: sigmoid is best, tanh costs 0.014 to 0.017,
# relu about 0.09, and a linear encoder 0.27. The unbounded ones have lower training
# errors and earlier best epochs, so they overfit. A relu at the output gains 0.005 with
# a sigmoid encoder and makes no visible difference with the others. All nets have the
# same learning rate, which may suit the sigmoid best.

# %% [markdown]
# ## autorec-mf
#
# *Newest edition's catalogue of problems; 3 min.*
#
# AutoRec has about twelve times as many parameters as matrix factorization, 944,443
# against 81,375. Is this why its error is lower on the same split?

# %%
of_autorec = {
    "AutoRec, 82,084 parameters": "--hidden 43",
    "the same, 100 epochs": "--hidden 43 --epochs 100",
    "AutoRec, 944,443 parameters": "--hidden 500",
}
of_mf = {
    "MF, 81,375 parameters": "--factors 30",
    "MF, 945,000 parameters": "--factors 359",
}
rows = pandas.concat(
    [
        exercises.grid("autorec", of_autorec, "--validation"),
        exercises.grid("mf", of_mf, "--split random --validation"),
    ]
)
compare(rows, "model", "valid_rmse", ["test_rmse"], book="MF, 81,375 parameters")

# %% [markdown]
# **Answer.** The number of parameters alone does not explain it. With twelve times as
# many factors, MF is no better. With as few parameters as MF, AutoRec needs 100 epochs,
# and then its error is about the same as that of MF, or a little lower (0.006, with a
# standard deviation of 0.003). The advantage of 0.019 needs both: the autoencoder and
# its width.
