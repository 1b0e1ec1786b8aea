# %% [markdown]
# # Sequence-Aware Recommender Systems
#
# Caser treats the embeddings of a user's last few items as an image. Convolutional
# filters find patterns in it that predict the next item.

# %%
from chapters.runner import pictures
from chapters.runner.eval_users import final_metrics, sample_users
from chapters.runner.options import Options
from chapters.runner.recommendations import (
    print_ranking_metrics,
    print_recommendations,
)
from chapters.runner.saving import describe_recommender
from chapters.runner.users import check_histories, check_users
from chapters.runner.validation import split_validation
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.movielens import (
    load_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss, HingeLossbRec
from d2l_recsys.runtime.backend import mx, np
from d2l_recsys.seqrec import Caser, SeqDataset
from d2l_recsys.tools.curves import Curves

options = Options("seqrec", epochs=8, batch_size=4096, of_ratings=True)
options.add_argument(
    "-L",
    type=int,
    choices=range(1, 20),
    default=5,
    metavar="N",
    help="length of the input sequence",
)
options.add_argument(
    "--strict", action="store_true", help="also draw held-out items as negatives (E23)"
)
options.add_argument(
    "--without",
    choices=["horizontal", "vertical", "both"],
    help="leave out one kind of filter, as in the book's first exercise, or both",
)
options.add_training(factors=10, lr=0.04, wd=1e-5)
options.add_ranking()
options.add_min_rating()
options.add_validation()
run = options.parse()
devices, args = run.devices, run.args

# %% [markdown]
# ## Loading the Data
#
# A sample is a user, `L` consecutive items, the next item, and a negative item.

# %%
L, batch_size = args.L, run.batch_size
df, num_users, num_items = run.read_ratings()
train_data, test_data = split_data_ml100k(df, num_users, num_items, "seq-aware")
strict = args.strict or args.validation
user_ids, excluded = df.attrs["user_ids"], train_data if strict else df
check_users(user_ids, train_data, excluded, num_items, args.negatives)
check_histories(user_ids, train_data)
users_train, items_train, ratings_train, candidates = load_data_ml100k(
    train_data, num_users, num_items, feedback="implicit"
)
users_test, items_test, ratings_test, test_iter = load_data_ml100k(
    test_data, num_users, num_items, feedback="implicit"
)


def sequences(users, items, candidates):
    """Return the samples of these ratings, which are sorted by user and time."""
    return SeqDataset(
        users,
        items,
        L,
        num_users,
        num_items,
        candidates,
        test_items=None if strict else test_iter,
        seed=run.seed,
        negatives=args.negatives,
    )


train_seq_data = sequences(users_train, items_train, candidates)
test_seq_iter, known, valid = train_seq_data.test_seq, candidates, None
known_data = train_data
tested = sample_users(run, test_iter, "test metrics after each epoch")
labels = {"test_hit_rate": "test hit rate", "test_auc": "test AUC"}
if args.validation:
    labels["valid_auc"] = "validation AUC"
    train_data, valid_data = split_validation(
        train_data, num_users, num_items, "seq-aware", run.seed
    )
    check_histories(user_ids, train_data, held_out=2)
    users_train, items_train, ratings_train, candidates = load_data_ml100k(
        train_data, num_users, num_items, feedback="implicit"
    )
    train_seq_data = sequences(users_train, items_train, candidates)
    valid_iter = load_data_ml100k(valid_data, num_users, num_items, "implicit").inter
    validated = sample_users(run, valid_iter, "validation metrics")
    valid = validated, train_seq_data.test_seq, candidates
train_iter = BatchLoader(train_seq_data, batch_size, shuffle=True, seed=run.seed)
user, items, target, negative = train_seq_data[0]
# In a short sequence, the id `num_items` stands for "no item".
user, item_ids = user_ids[user], [*df.attrs["item_ids"], None]
ids = [item_ids[int(item)] for item in (*items, *target, negative)]
print(f"sample 0: user {user}, items {ids[:L]}, target {ids[L]}, negative {ids[-1]}")

# %% [markdown]
# ## Training the Model
#
# The book's settings: 10 factors, Adam with learning rate 0.04 and weight decay 1e-5,
# and the BPR loss. `d` is the number of horizontal filters of each height, and
# `d_prime` is the number of vertical filters. Differs from the book: each epoch ends
# with a smaller batch of 134 rows. The book moves these rows to the next epoch, with
# about the same result (E48).

# %%
net = Caser(
    args.factors,
    num_users,
    num_items,
    L,
    d=0 if args.without in ("horizontal", "both") else 16,
    d_prime=0 if args.without in ("vertical", "both") else 4,
)
net.initialize(ctx=devices, force_reinit=True, init=mx.init.Normal(0.01))
net.hybridize(static_alloc=True, static_shape=True)
lr, num_epochs, wd, optimizer = args.lr, run.epochs, args.wd, args.optimizer
loss = BPRLoss() if args.loss == "bpr" else HingeLossbRec(margin=args.margin)
trainer = make_trainer(net, optimizer, {"learning_rate": lr, "wd": wd / run.scale})
book = run.printed(labels)
curves = Curves(num_epochs, labels, ylim=(0, 1), book=book)
describe_recommender(run, known_data)
history = train_ranking(
    net,
    train_iter,
    tested,
    loss,
    trainer,
    test_seq_iter,
    num_users,
    num_items,
    num_epochs,
    devices,
    evaluate_ranking,
    known,
    on_epoch=curves,
    checkpoint=run.checkpoint("main"),
    valid=valid,
)
of_all = test_iter, test_seq_iter, known, num_users, num_items, devices
run.save(final_metrics(history, labels, tested, net, *of_all), history)
run.save_model(net)

# %%
figure = curves.figure(f"Caser on {run.data_title}, L = {L}")
run.save_figure(figure)
figure

# %%
_, _, more = evaluate_ranking(net, *of_all, ks=[50])
print_ranking_metrics(more, 50)

# %% [markdown]
# ## What the Filters See
#
# For Caser, a user is an image with one row for each of the last `L` items. A
# horizontal filter covers a few rows, so it can find items that follow each other. A
# vertical filter covers one column, and weights the items by their position.

# %%
if args.without != "both":
    last_items = test_seq_iter[0]
    vectors = net.Q(np.array(last_items, ctx=devices[0])).asnumpy()
    ids = [item_ids[item] for item in last_items]
    filters = args.without != "horizontal", args.without != "vertical"
    run.draw("window", pictures.window, vectors, run.folder, ids, *filters)

# %% [markdown]
# ## Recommendations

# %%
print_recommendations(run, net, df, known, num_users, num_items, test_seq_iter)
