"""DeepFM: factorization machine and MLP on shared embeddings. Section: ``deepfm``."""

from functools import reduce
from operator import add
from typing import Any, Sequence

from d2l_recsys.data.sizes import (
    check_each_positive,
    check_positive,
    check_rate,
    field_sizes,
)
from d2l_recsys.engine.layers import Model, sum_of_rows
from d2l_recsys.fm import pairwise
from d2l_recsys.runtime.backend import nn


class DeepFM(Model):
    """DeepFM: the logit of a factorization machine plus the logit of an MLP.

    Both use the same embeddings. The MLP gets them concatenated. It has a ReLU layer
    for each size in `mlp_dims`, each followed by dropout with rate `drop_rate`, and a
    last layer with one unit. ``mlp_dims=[]`` leaves out the MLP (FM alone).
    ``fm=False`` leaves out the factorization machine with its linear part (MLP alone).
    `field_dims` (fields,) holds the number of values of each field.

    Raises ValueError if both parts are left out.

    Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR
    Prediction", IJCAI 2017. As in the book, the linear part has one more weight than
    the formula (E54). Differs from the book's classic edition: the output is a logit,
    not a probability (E44). Section: ``deepfm``.
    """

    def __init__(
        self,
        field_dims: Sequence[int],
        num_factors: int,
        mlp_dims: Sequence[int],
        drop_rate: float = 0.1,
        fm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_each_positive(mlp_dims, "mlp_dims")
        if not fm and not mlp_dims:
            raise ValueError("fm=False and mlp_dims=[] leave out both parts")
        self.fm = fm
        num_inputs = sum(field_sizes(field_dims))
        check_positive(num_factors=num_factors)
        check_rate(drop_rate, "drop_rate")
        self.embedding = nn.Embedding(num_inputs, num_factors)
        if fm:
            self.fc = nn.Embedding(num_inputs, 1)
            self.linear_layer = nn.Dense(1, in_units=1)
        self.mlp = nn.HybridSequential()
        width = len(field_dims) * num_factors
        for units in mlp_dims:
            self.mlp.add(nn.Dense(units, activation="relu", in_units=width))
            self.mlp.add(nn.Dropout(drop_rate))
            width = units
        if mlp_dims:
            self.mlp.add(nn.Dense(1, in_units=width))

    def hybrid_forward(self, F, x):
        """Return the logits (B, 1) of rows of indices `x`, int (B, fields)."""
        embed_x, logits = self.embedding(x), []  # (B, fields, k)
        if self.fm:
            logits.append(self.linear_layer(sum_of_rows(F, self.fc(x))))
            logits.append(pairwise(F, embed_x))
        if len(self.mlp):
            logits.append(self.mlp(F.npx.batch_flatten(embed_x)))
        return reduce(add, logits)
