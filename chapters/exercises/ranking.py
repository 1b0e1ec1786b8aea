# %% [markdown]
# # Exercises of Personalized Ranking for Recommender Systems

# %%
import io
from contextlib import redirect_stdout

import numpy
import pandas as pd

from chapters.runner.exercises import Exercises, compare, print_table, table
from d2l_recsys.data.sampling import NegativeSampler
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.mf import MF
from d2l_recsys.neumf import PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss, HingeLossbRec
from d2l_recsys.runtime.backend import autograd, mx, np, npx
from d2l_recsys.tools.figures import new_figure

exercises = Exercises()
bpr, hinge = BPRLoss(), HingeLossbRec()


def gradients(loss, scores):
    """Return the gradients of a loss with respect to an array of scores."""
    scores = np.array(scores)
    scores.attach_grad()
    with autograd.record():
        value = loss(scores)
    value.backward()
    return scores.grad.asnumpy()


# %% [markdown]
# ## loss-variants
#
# *First and classic edition; 1 s.*
#
# Which variants of the BPR and hinge losses are there? Compare what they do with five
# negative items of one positive item.

# %%
# The first score is that of the positive item.
scores = numpy.array([0, -3, -1.5, -0.5, 0.5, 2], dtype="float32")
variants = {
    "BPR": lambda s: bpr(s[:1], s[1:]),
    "hinge": lambda s: hinge(s[:1], s[1:]),
    "squared hinge": lambda s: (npx.relu(1 - s[:1] + s[1:]) ** 2).sum(),
    "hinge, worst negative": lambda s: hinge(s[:1], s[1:].max(keepdims=True)),
    "softmax (listwise)": lambda s: -npx.log_softmax(s)[:1],
}
lines = [["share of the gradient at a negative with score", *scores[1:]]]
for name, loss in variants.items():
    pushes = gradients(loss, scores)[1:]
    lines.append([name, *(f"{x:.0%}" for x in pushes / pushes.sum())])
print_table(lines)

# %% [markdown]
# **Answer.** Among them are the squared hinge, WARP (the hinge of the first negative
# found within the margin, weighted by its estimated rank), the hinge of the worst of
# several negatives, the listwise softmax, and BPR with negatives drawn by popularity
# (see `negatives`). They differ in which negatives they push down. The hinge loss
# pushes all negatives within the margin equally. BPR pushes every one. The last three
# in the table push the worst one most. The table does not show which of them ranks
# best.

# %% [markdown]
# ## loss-models
#
# *First and classic edition; 30 s.*
#
# Which models are trained with these losses? Try one that the book trains in another
# way.

# %%
neumf = exercises.script("neumf", "--epochs 1 --validation")
sizes = num_users, num_items = neumf["num_users"], neumf["num_items"]
users, items, seen = (neumf[x] for x in ("users_train", "items_train", "candidates"))


def train_mf(seed, epochs=2 if exercises.smoke else 10):
    """Train MF with BPR and NeuMF's settings; return hit rate and AUC of the test."""
    net = MF(10, *sizes)
    mx.random.seed(seed)
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)
    data = PRDataset(users, items, seen, num_items, seed=seed)
    batches = BatchLoader(data, neumf["run"].batch_size, shuffle=True, seed=seed)
    trainer = make_trainer(net, "adam", {"learning_rate": 0.01, "wd": 1e-5})
    settings = bpr, trainer, None, *sizes, epochs, neumf["devices"], evaluate_ranking
    valid = neumf["valid_iter"], None, seen  # chooses the epoch
    with redirect_stdout(io.StringIO()):
        train_ranking(net, batches, None, *settings, None, valid=valid)
    return evaluate_ranking(net, neumf["test_iter"], None, neumf["known"], *sizes)


rows = exercises.grid("neumf", {"NeuMF": ""}, "--validation")
tests, of_mf = ["test_hit_rate", "test_auc"], rows.assign(setting="MF")
of_mf[tests] = [train_mf(seed) for seed in exercises.seeds]
table(pd.concat([rows, of_mf]), "model", tests)

# %% [markdown]
# **Answer.** Most models of implicit feedback. BPR trains NeuMF and Caser in this
# chapter, GRU4Rec, and the graph models NGCF and LightGCN. A hinge loss trains
# collaborative metric learning and, in the form of WARP, LightFM. The loss only needs
# two scores, so it also trains MF, which the book trains on ratings. Between MF and
# NeuMF, with the settings chosen for NeuMF, no difference can be seen in either metric.
# This does not show that they would be equal if each had its own settings.

# %% [markdown]
# ## gradients
#
# *Newest edition; 1 s.*
#
# Differentiate both losses with respect to the difference d of the scores. What happens
# for d far below zero, at zero, and beyond the margin?

# %%
losses = {
    "BPR": lambda d: bpr(d, np.zeros_like(d)),
    "hinge, margin 1": lambda d: hinge(d, np.zeros_like(d)),
}
distances = numpy.array([-100, -6, -1, 0, 0.5, 1.5, 6, 20], dtype="float32")
head, columns = ["difference"], [distances]
for name, loss in losses.items():
    head += [f"{name}: loss", "gradient"]
    columns += [[loss(np.array([d])).item() for d in distances]]
    columns += [gradients(loss, distances) + 0.0]  # without negative zeros
print_table([head, *([f"{x:.4g}" for x in row] for row in zip(*columns))])

figure, axes = new_figure(
    "Gradients of the losses of one pair", "difference of the scores", "gradient"
)
distances = numpy.linspace(-6, 6, 241, dtype="float32")
for (name, loss), style in zip(losses.items(), ("-", "--")):
    axes.plot(distances, gradients(loss, distances), style, label=name)
axes.legend()
exercises.save("gradients", figure)

# %% [markdown]
# **Answer.** The gradient of BPR is -sigma(-d): it tends to -1 far below zero, is -1/2
# at zero and tends to 0 above, without being 0. (At 20 it is -2e-9, which is lost in
# single precision.) The gradient of the hinge loss is -1 up to the margin, also at
# zero, and 0 beyond it. So pairs whose difference exceeds the margin are no longer
# trained.

# %% [markdown]
# ## negatives
#
# *Newest edition; 30 s.*
#
# Draw negative items uniformly or in proportion to their popularity. What does this
# change, and which importance weights make popularity draws stand for uniform ones?

# %%
neumf = exercises.script("neumf", "--epochs 1 --validation")
users, items, seen = (neumf[x] for x in ("users_train", "items_train", "candidates"))
counts = numpy.bincount(items, minlength=neumf["num_items"])
popular = numpy.argsort(-counts)[:100]
uniform, by_count = (
    PRDataset(users, items, seen, len(counts), negatives=name)
    for name in ("uniform", "popularity")
)
everyone, drawn = numpy.arange(len(users)), {}
for name, data in (("uniform", uniform), ("popularity", by_count)):
    drawn[name] = data[everyone][2], numpy.ones(len(users))
# The weight of a draw is the ratio of its two probabilities.
chances = counts[drawn["popularity"][0]] / by_count.sampler.allowed[users]
weights = 1 / uniform.sampler.allowed[users] / chances
drawn["popularity, weighted"] = drawn["popularity"][0], weights
lines = [["negatives", "share from the 100 most popular items", "100 draws are worth"]]
for name, (ids, w) in drawn.items():
    share = w[numpy.isin(ids, popular)].sum() / w.sum()
    effective = w.sum() ** 2 / (w**2).sum() / len(w)
    lines.append([name, f"{share:.3f}", f"{100 * effective:.0f}"])
print_table(lines)
print(
    f"\nThe weights are between {weights.min():.2g} and {weights.max():.2g}. "
    f"{(counts == 0).sum()} of {len(counts)} items have no rating in training: "
    "in proportion to popularity, they are never drawn.\n"
)

# %%
settings = {"uniform": "", "popularity": "--negatives popularity"}
rows = exercises.grid("neumf", settings, "--validation")
shown, tests = ["train_loss", "valid_hit_rate"], ["test_hit_rate", "test_auc"]
compare(rows, "negatives", "valid_auc", tests, book="uniform", more=shown)

# %% [markdown]
# **Answer.** Popularity draws come from the top 100 items six times as often. They cost
# 0.052 in validation AUC and 0.06 in hit rate, far beyond the spread. The model learns
# to tell a user's items from other popular ones, but it hardly sees the rare items,
# which the evaluation also ranks. Weighted by the ratio of the two probabilities, a
# draw stands for a uniform one, except for the items that are never drawn. But the
# weights vary so much that 100 such draws are worth only 12 uniform ones. The table
# shows neither training with these weights nor a test among popular items.

# %% [markdown]
# ## validation-item
#
# *Newest edition; 30 s.*
#
# Write down a history whose held-out item is drawn as a negative. Then compare three
# protocols: never draw held-out items, draw them like all unseen items, and choose the
# epoch on a validation item.

# %%
history, held_out, num_items = [0, 1, 2, 3, 4], 5, 8
print(f"Of {num_items} items, a user has {history}; item {held_out} is held out.\n")
for name, test_items in (("Newest edition", {0: [held_out]}), ("Strict", None)):
    data = PRDataset([0] * 5, history, {0: history}, num_items, test_items)
    negatives = data[numpy.arange(300) % 5][2]
    times = ", ".join(f"{(negatives == x).sum()} are item {x}" for x in (5, 6, 7))
    print(f"{name}: of 300 draws, {times}.\n")

# %%
runs = exercises.grid("neumf", {"held-out items never drawn": ""})
renamed = {f"test_{x}": runs[f"strict_test_{x}"] for x in ("hit_rate", "auc")}
strict = runs.assign(setting="strict", **renamed)
metrics = ["test_hit_rate", "test_auc"]
differences = (runs[metrics] - strict[metrics]).to_dict("list")
leak = runs.assign(setting="difference, seed by seed", **differences)
chosen = exercises.grid("neumf", {"strict, epoch chosen": ""}, "--validation")
table(pd.concat([runs, strict, leak, chosen]), "protocol", metrics)

# %% [markdown]
# **Answer.** The strict protocol draws the held-out item, 5, as often as the other
# unseen ones, and BPR pushes it down like them. If it is the only unseen item that is
# never drawn, the model can tell it from the others. With three seeds, no effect on
# either metric can be seen: 0.003 ± 0.002 in AUC is not enough. With eight seeds, the
# effect is clear: see E23 in `docs/errata.md`. Nor has choosing the epoch on a
# validation item a visible effect, although it takes the latest training item from each
# user. Only this protocol makes no choice on the test set.

# %% [markdown]
# ## margin
#
# *Newest edition's catalogue of problems; 15 s.*
#
# Take 200 random pairs of a rated and an unseen item. For how many is the hinge loss
# zero if the margin is 0.5, 1, 2 or 4?


# %%
def distances_of(net, users, items, seed=0):
    """Return score differences of 200 random rows and drawn negative items."""
    rng = numpy.random.default_rng(seed)
    rows = rng.choice(len(users), 200)
    users, items = numpy.array(users)[rows], numpy.array(items)[rows]
    sampler = NegativeSampler(known, *sizes, seed=seed)
    pairs = numpy.stack([items, sampler.sample(users)], axis=1)
    scores = net(np.array(users), np.array(pairs)).asnumpy()
    return scores[:, 0] - scores[:, 1]


found = {}
for name, options in {"BPR": "", "hinge, margin 1": "--loss hinge"}.items():
    neumf = exercises.script("neumf", f"{options} --validation")
    known, sizes = neumf["known"], (neumf["num_users"], neumf["num_items"])
    training = neumf["users_train"], neumf["items_train"]
    found[f"{name}, training pairs"] = distances_of(neumf["net"], *training)
    held_out = neumf["users_test"], neumf["items_test"]
    found[f"{name}, held-out pairs"] = distances_of(neumf["net"], *held_out)
neumf["net"].initialize(mx.init.Xavier(), force_reinit=True)
found = {"before training": distances_of(neumf["net"], *training), **found}

margins = (0.5, 1, 2, 4)
lines = [["zero hinge loss", *(f"margin {m}" for m in margins)]]
figure, axes = new_figure(
    "Pairs without hinge loss", "margin", "share of 200 random pairs"
)
for name, distances in found.items():
    lines.append([name, *(f"{(distances >= m).mean():.2f}" for m in margins)])
    few = numpy.linspace(0, 8, 161)
    axes.plot(few, [(distances >= m).mean() for m in few], label=name)
axes.set_xticks([0, *margins, 8], ["0", *map(str, margins), "8"])
axes.legend(fontsize="small")
print_table(lines)
exercises.save("margin", figure)

# %% [markdown]
# **Answer.** Before training, all differences are close to zero, so every pair has a
# loss with every margin. After training with BPR, nine of ten training pairs are beyond
# a margin of 1, and two of three beyond 4: the hinge loss would learn from few
# uniformly drawn pairs. After training with a margin of 1, the scores spread less,
# because nothing pushes pairs further apart than the margin. The shares are lower for
# held-out pairs. A share of 200 pairs has a standard error of up to 0.035, and each
# model was trained only once.
