# %% [markdown]
# # Personalized Ranking for Recommender Systems
#
# Both losses look at a pair: an item that the user had to do with, and one that he had
# not. All that counts is by how much the first one is scored higher.

# %%
import numpy

from chapters.runner.options import Options
from d2l_recsys.ranking import BPRLoss, HingeLossbRec
from d2l_recsys.runtime.backend import autograd, np
from d2l_recsys.tools.curves import new_figure

run = Options("ranking").parse()

# %% [markdown]
# ## The Losses of a Pair
#
# BPR takes the logarithm of a sigmoid. The book computes just that, and overflows where
# the distance is below -88.7 (E18); here loss and gradient are right everywhere.

# %%
for distance in (-100.0, -1.0, 0.0, 1.0, 100.0):
    positive, negative = np.array([distance]), np.array([0.0])
    positive.attach_grad()
    with autograd.record():
        loss = BPRLoss()(positive, negative)
    loss.backward()
    print(
        f"distance {distance:6.1f}: BPR loss {loss.item():8.4f}, "
        f"gradient {positive.grad.item():7.4f}, "
        f"hinge loss {HingeLossbRec()(positive, negative).item():8.4f}"
    )

# %% [markdown]
# The hinge loss is content with a distance of its margin; BPR never quite is.

# %%
distances = numpy.linspace(-3, 3, 121, dtype="float32")
zero = np.array([0.0])
figure, axes = new_figure(
    "Losses of one pair", "positive score - negative score", "loss"
)
for name, loss, style in (
    ("BPR", BPRLoss(), "-"),
    ("hinge, margin 1", HingeLossbRec(), "--"),
    ("hinge, margin 2", HingeLossbRec(margin=2), ":"),
):
    values = [loss(np.array([d]), zero).item() for d in distances]
    axes.plot(distances, values, style, label=name)
axes.legend()
run.save(
    {
        "bpr_at_0": BPRLoss()(zero, zero).item(),
        "hinge_at_0": HingeLossbRec()(zero, zero).item(),
    },
    ranking=figure,
)
figure
