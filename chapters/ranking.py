# %% [markdown]
# # Personalized Ranking for Recommender Systems
#
# Both losses compare a pair of items: one that the user has interacted with, and one
# that the user has not. They depend only on the distance between the two scores, the
# first minus the second.

# %%
import numpy

from chapters.runner import pictures
from chapters.runner.options import Options
from d2l_recsys.ranking import BPRLoss, HingeLossbRec
from d2l_recsys.runtime.backend import autograd, np
from d2l_recsys.tools.figures import new_figure

run = Options("ranking").parse()

# %% [markdown]
# ## The Losses of a Pair
#
# BPR is the negative logarithm of a sigmoid. The book computes exactly that, and
# overflows if the distance is below -88.7 (E18). Here, loss and gradient are correct
# for all distances.

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
# The hinge loss is zero once the distance exceeds the margin. BPR is never zero.

# %%
distances = numpy.linspace(-3, 3, 121, dtype="float32")
zero = np.array([0.0])
run.save(
    {
        "bpr_at_0": BPRLoss()(zero, zero).item(),
        "hinge_at_0": HingeLossbRec()(zero, zero).item(),
    }
)
figure, axes = new_figure(
    "Losses of one pair", "positive score - negative score", "loss"
)
losses = (
    ("BPR", BPRLoss(), "-"),
    ("hinge, margin 1", HingeLossbRec(), "--"),
    ("hinge, margin 2", HingeLossbRec(margin=2), ":"),
)
for name, loss, style in losses:
    values = [loss(np.array([d]), zero).item() for d in distances]
    axes.plot(distances, values, style, label=name)
axes.legend()
run.save_figure(figure)
figure

# %% [markdown]
# The gradient pulls the two scores apart. With the hinge loss, the pull is the same for
# all pairs within the margin, and zero for all others. With BPR, it is strongest for
# pairs in the wrong order, and fades gradually.

# %%
run.draw("gradients", pictures.gradients, losses)
