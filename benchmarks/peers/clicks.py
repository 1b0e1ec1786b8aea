"""The factorization machine and DeepFM in PyTorch.

Each function named after a section reads the data and returns the training, a function
that returns the last test metrics.
"""

from pathlib import Path

import numpy
import pandas as pd
import torch
from torch import nn


class FM(nn.Module):
    """A factorization machine; with `mlp_dims`, DeepFM."""

    def __init__(self, field_dims, num_factors, mlp_dims=(), dropout=0.1):
        super().__init__()
        self.embedding = nn.Embedding(sum(field_dims), num_factors)
        self.fc = nn.Embedding(sum(field_dims), 1)
        self.linear_layer = nn.Linear(1, 1)  # the book's extra weight, and the bias
        layers, width = [], len(field_dims) * num_factors
        for units in mlp_dims:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
            width = units
        self.mlp = nn.Sequential(*layers, nn.Linear(width, 1)) if mlp_dims else None
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(self, x):
        vectors = self.embedding(x)
        square_of_sum, sum_of_square = vectors.sum(1) ** 2, (vectors**2).sum(1)
        out = self.linear_layer(self.fc(x).sum(1))[:, 0]
        out = out + 0.5 * (square_of_sum - sum_of_square).sum(1)
        return out if self.mlp is None else out + self.mlp(vectors.flatten(1))[:, 0]


def encoded(folder, min_count=4):
    """Return rows and clicks of both parts, and the number of values per field.

    Values that are rarer in the training rows share an index, as in the book.
    """
    train, test = (
        pd.read_csv(f"{folder}/{part}.csv", sep="\t", header=None, dtype=str)
        for part in ("train", "test")
    )
    field_dims, encodings = [], []
    for field in train.columns[1:]:
        counts = train[field].value_counts()
        known = sorted(counts.index[counts >= min_count])
        index = pd.Series(range(len(known)), index=known)
        encodings.append((field, index, sum(field_dims)))
        field_dims.append(len(known) + 1)
    parts = []
    for frame in (train, test):
        x = [
            frame[field].map(index).fillna(len(index)).to_numpy("int64") + offset
            for field, index, offset in encodings
        ]
        clicks = torch.from_numpy(frame[0].to_numpy("float32"))
        parts.append((torch.from_numpy(numpy.stack(x, 1)), clicks))
    return (*parts, field_dims)


def loaded(folder, tested=10_000):
    """Return what :func:`encoded` returns, from FOLDER/clicks.npz."""
    data = numpy.load(f"{folder}/clicks.npz")
    x, y = torch.from_numpy(data["x"].astype("int64")), torch.from_numpy(data["y"])
    return (x, y), (x[:tested], y[:tested]), data["field_dims"].tolist()


def training(folder, num_factors, lr, mlp_dims=(), batch_size=2048):
    many = Path(folder, "clicks.npz").exists()
    epochs, read = (1, loaded) if many else (30, encoded)
    (x, y), (test_x, test_y), field_dims = read(folder)
    net = FM(field_dims, num_factors, mlp_dims)
    adam = torch.optim.Adam(net.parameters(), lr, fused=True)
    loss = nn.functional.binary_cross_entropy_with_logits

    def run():
        for _ in range(epochs):
            net.train()
            for rows in torch.randperm(len(x)).split(batch_size):
                adam.zero_grad()
                loss(net(x[rows]), y[rows]).backward()
                adam.step()
            net.eval()
            with torch.no_grad():
                right = (net(test_x) > 0) == (test_y > 0.5)
        return {"test_acc": right.double().mean().item()}

    return run


def fm(folder):
    return training(folder, 20, 0.02)


def deepfm(folder):
    return training(folder, 10, 0.01, (30, 20, 10))
