# %% [markdown]
# # Exercises
