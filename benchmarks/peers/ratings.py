"""Matrix factorization and AutoRec in PyTorch.

Each function named after a section reads the data and returns the training, a function
that returns the last test metrics.
"""

import numpy
import pandas as pd
import torch
from torch import nn


def read(folder):
    """Return the ratings with ids from 0, and the numbers of users and items."""
    names = ["user", "item", "rating", "time"]
    data = pd.read_csv(f"{folder}/u.data", sep="\t", names=names)
    data[["user", "item"]] -= 1
    return data, int(data["user"].max()) + 1, int(data["item"].max()) + 1


def split_latest(data):
    """Return the ratings sorted by user and time, without and with only the latest."""
    data = data.sort_values(["user", "time"], kind="stable")
    latest = data[data.groupby("user")["time"].transform("max") == data["time"]]
    held_out = latest.groupby("user").head(1)
    return data.drop(held_out.index), held_out


def columns(data, *names):
    """Return columns of a frame as tensors."""
    return [torch.from_numpy(data[name].to_numpy().copy()) for name in names]


class MF(nn.Module):
    """Matrix factorization with biases."""

    def __init__(self, num_factors, num_users, num_items):
        super().__init__()
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.01)

    def forward(self, user, item):
        biases = self.user_bias(user) + self.item_bias(item)
        return (self.P(user) * self.Q(item)).sum(1) + biases[:, 0]


def mf(folder, epochs=20, batch_size=512):
    data, num_users, num_items = read(folder)
    parts = split_latest(data)
    train, test = (columns(part, "user", "item", "rating") for part in parts)
    users, items, ratings = train
    net = MF(30, num_users, num_items)
    adam = torch.optim.Adam(net.parameters(), 0.002, weight_decay=1e-5, fused=True)

    def run():
        for _ in range(epochs):
            for rows in torch.randperm(len(users)).split(batch_size):
                adam.zero_grad()
                error = net(users[rows], items[rows]) - ratings[rows]
                (error**2).mean().backward()
                adam.step()
            with torch.no_grad():
                error = net(*test[:2]) - test[2]
                rmse = (error**2).double().mean().sqrt().item()
        return {"test_rmse": rmse}

    return run


class AutoRec(nn.Module):
    """An autoencoder of the ratings of an item."""

    def __init__(self, num_hidden, num_users, dropout=0.05):
        super().__init__()
        self.encoder = nn.Linear(num_users, num_hidden)
        self.decoder = nn.Linear(num_hidden, num_users)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.encoder, self.decoder):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, ratings):
        hidden = self.dropout(torch.sigmoid(self.encoder(ratings)))
        return self.decoder(hidden)


def autorec(folder, epochs=25, batch_size=256):
    data, num_users, num_items = read(folder)
    tested = numpy.random.default_rng(0).random(len(data)) >= 0.9
    train, test = torch.zeros(2, num_items, num_users)
    for matrix, part in ((train, data[~tested]), (test, data[tested])):
        users, items, ratings = columns(part, "user", "item", "rating")
        matrix[items, users] = ratings.float()
    net = AutoRec(500, num_users)
    adam = torch.optim.Adam(net.parameters(), 0.002, weight_decay=1e-5, fused=True)

    def run():
        for _ in range(epochs):
            net.train()
            for chosen in torch.randperm(num_items).split(batch_size):
                rows = train[chosen]
                adam.zero_grad()
                error = (net(rows) - rows) * (rows != 0)
                (error**2).mean().backward()
                adam.step()
            net.eval()
            with torch.no_grad():
                error = (net(train) - test)[test != 0]
                rmse = (error**2).double().mean().sqrt().item()
        return {"test_rmse": rmse}

    return run
