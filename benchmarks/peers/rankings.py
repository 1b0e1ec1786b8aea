"""NeuMF and Caser in PyTorch, ranked on all items.

Each function named after a section reads the data and returns the training, a function
that returns the last test metrics.
"""

import numpy
import torch
from torch import nn

from benchmarks.peers.ratings import columns, read, split_latest


class Ranking:
    """The held-out items, and what each user has seen."""

    def __init__(self, train, test, num_users, num_items):
        self.num_users = num_users
        self.seen = torch.zeros(num_users, num_items, dtype=torch.bool)
        self.seen[tuple(columns(train, "user", "item"))] = True
        self.held_out = torch.zeros(num_users, dtype=torch.long)
        users, self.held_out[users] = columns(test, "user", "item")

    def negatives(self, users):
        """Return a function that draws an item for each of `users`, neither seen nor
        held out.
        """
        users = users.numpy()
        excluded = self.seen.numpy().copy()
        excluded[numpy.arange(self.num_users), self.held_out.numpy()] = True
        allowed, flat = numpy.nonzero(~excluded)
        counts = numpy.bincount(allowed, minlength=self.num_users)[users]
        starts = numpy.searchsorted(allowed, users)
        rng = numpy.random.default_rng(0)

        def draw():
            places = (rng.random(len(users)) * counts).astype("int64")
            return torch.from_numpy(flat[starts + places])

        return draw

    @torch.no_grad()
    def metrics(self, score, k=50, chunk=64):
        """Return hit rate and AUC. Ties count against the held-out item."""
        hits = auc = 0.0
        for users in torch.arange(self.num_users).split(chunk):
            scores, unseen = score(users), ~self.seen[users]
            goal = scores.gather(1, self.held_out[users, None])
            rank = ((scores >= goal) & unseen).sum(1)
            ranked = unseen.sum(1)
            hits += (rank <= k).sum().item()
            auc += ((ranked - rank) / (ranked - 1)).sum().item()
        return {
            "test_hit_rate": hits / self.num_users,
            "test_auc": auc / self.num_users,
        }


def bpr(positive, negative):
    return nn.functional.softplus(negative - positive).mean()


class NeuMF(nn.Module):
    """Neural matrix factorization."""

    def __init__(self, num_factors, num_users, num_items, hiddens):
        super().__init__()
        sizes = (num_users, num_items) * 2
        self.P, self.Q, self.U, self.V = (nn.Embedding(n, num_factors) for n in sizes)
        layers, width = [], 2 * num_factors
        for units in hiddens:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        self.mlp = nn.Sequential(*layers)
        self.prediction = nn.Linear(num_factors + width, 1, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, user, item):
        gmf = self.P(user) * self.Q(item)
        mlp = self.mlp(torch.cat([self.U(user), self.V(item)], -1))
        return self.prediction(torch.cat([gmf, mlp], -1))[..., 0]


def neumf(folder, epochs=10, batch_size=1024):
    data, num_users, num_items = read(folder)
    train, test = split_latest(data)
    ranking = Ranking(train, test, num_users, num_items)
    users, items = columns(train, "user", "item")
    draw = ranking.negatives(users)
    net = NeuMF(10, num_users, num_items, (10, 10, 10))
    adam = torch.optim.Adam(net.parameters(), 0.01, weight_decay=1e-5, fused=True)
    all_items = torch.arange(num_items)

    def score(some):
        shape = len(some), num_items
        return net(some[:, None].expand(shape), all_items.expand(shape))

    def run():
        for _ in range(epochs):
            negatives = draw()
            for rows in torch.randperm(len(users)).split(batch_size):
                adam.zero_grad()
                user = users[rows]
                bpr(net(user, items[rows]), net(user, negatives[rows])).backward()
                adam.step()
            metrics = ranking.metrics(score)
        return metrics

    return run


class Caser(nn.Module):
    """Convolutions over a user's last items."""

    def __init__(self, k, num_users, num_items, L, d=16, d_prime=4, dropout=0.05):
        super().__init__()
        self.P, self.Q = nn.Embedding(num_users, k), nn.Embedding(num_items, k)
        self.conv_v = nn.Conv2d(1, d_prime, (L, 1))
        heights = range(1, L + 1)
        self.conv_h = nn.ModuleList(nn.Conv2d(1, d, (h, k)) for h in heights)
        self.fc = nn.Linear(d_prime * k + d * L, k)
        self.dropout = nn.Dropout(dropout)
        self.Q_prime, self.b = (
            nn.Embedding(num_items, 2 * k),
            nn.Embedding(num_items, 1),
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.01)

    def user(self, user, seq):
        """Return the vectors (B, 2k) that are multiplied by those of items."""
        image = self.Q(seq)[:, None]
        out = [self.conv_v(image).flatten(1)]
        out += [torch.relu(conv(image))[..., 0].amax(2) for conv in self.conv_h]
        z = torch.relu(self.fc(self.dropout(torch.cat(out, 1))))
        return torch.cat([z, self.P(user)], 1)

    def forward(self, x, item):
        return (self.Q_prime(item) * x).sum(1) + self.b(item)[:, 0]


def seqrec(folder, epochs=8, batch_size=4096, L=5):
    data, num_users, num_items = read(folder)
    train, test = split_latest(data)
    ranking = Ranking(train, test, num_users, num_items)
    histories = [items.to_numpy() for _, items in train.groupby("user")["item"]]
    windows = [numpy.lib.stride_tricks.sliding_window_view(h, L + 1) for h in histories]
    lengths = torch.tensor([len(w) for w in windows])
    users = torch.arange(num_users).repeat_interleave(lengths)
    seq, target = torch.from_numpy(numpy.concatenate(windows)).split([L, 1], 1)
    latest = torch.from_numpy(numpy.stack([h[-L:] for h in histories]))
    draw = ranking.negatives(users)
    net = Caser(10, num_users, num_items, L)
    adam = torch.optim.Adam(net.parameters(), 0.04, weight_decay=1e-5, fused=True)

    def score(some):
        x = net.user(some, latest[some])
        return x @ net.Q_prime.weight.T + net.b.weight[:, 0]

    def run():
        for _ in range(epochs):
            negatives = draw()
            net.train()
            for rows in torch.randperm(len(users)).split(batch_size):
                adam.zero_grad()
                x = net.user(users[rows], seq[rows])
                bpr(net(x, target[rows, 0]), net(x, negatives[rows])).backward()
                adam.step()
            net.eval()
            metrics = ranking.metrics(score)
        return metrics

    return run
