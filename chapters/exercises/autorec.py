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
# Change the size of the hidden layer. Is there a size from which the model gets worse?

# %%
rows = exercises.grid(
    "autorec", {k: f"--hidden {k}" for k in (20, 100, 500, 1000)}, "--validation"
)
compare(rows, "hidden units", "valid_rmse", ["test_rmse"], book=500)
figure = draw(rows, "AutoRec, random split", "hidden units", "valid_rmse", log=True)
exercises.save("autorec-hidden", figure)

# %% [markdown]
# **Answer.** TODO

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
# **Answer.** TODO

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
# **Answer.** TODO

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
# **Answer.** TODO
