"""The losses of a ranking model on pairs of a positive and a negative item."""


def pair_losses(F, net, loss, *piece):
    """Return the losses of [users (B,), [sequences (B, L),] positives, negatives].

    A net that scores lists of items gets both items of a pair in one call. This halves
    the number of MXNet calls. Other nets are called as in the book.
    """
    *context, positive, negative = piece
    positive = F.npx.reshape(positive, (-1,))  # SeqDataset's targets are (B, 1)
    if not getattr(net, "scores_lists", False):
        return loss(net(*context, positive), net(*context, negative))
    # In a user's own data set, the dtypes of the ids may differ or be floats.
    positive, negative = positive.astype("int32"), negative.astype("int32")
    if len(context) > 1:  # process the sequence only once, because that is slow
        scores = net(*context, F.np.stack([positive, negative], axis=1))
        return loss(scores[:, 0], scores[:, 1])
    # Looking up a user twice is faster than broadcasting over two items.
    users = F.np.concatenate([*context, *context], axis=0)
    scores = net(users, F.np.concatenate([positive, negative], axis=0))
    scores = F.npx.reshape(scores, (2, -1))
    return loss(scores[0], scores[1])
