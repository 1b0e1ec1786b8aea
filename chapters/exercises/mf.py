# %% [markdown]
# # Exercises of Matrix Factorization

# %%
from chapters.runner.exercises import Exercises, compare, draw

exercises = Exercises()

# %% [markdown]
# ## mf-factors
#
# *First, classic and newest edition; 50 s.*
#
# Change the number of latent factors. How does the model get better or worse?

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
# **Answer.** TODO
