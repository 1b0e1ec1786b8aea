# %% [markdown]
# # Neural Collaborative Filtering for Personalized Ranking
#
# NeuMF combines a product of embeddings (generalized matrix factorization, GMF) with a
# multilayer perceptron (MLP). It is trained to rank the items that a user has
# interacted with above other items.

# %%
from chapters.runner import pictures
from chapters.runner.eval_users import final_metrics, sample_users
from chapters.runner.options import Options
from chapters.runner.recommendations import (
    print_ranking_metrics,
    print_recommendations,
)
from chapters.runner.saving import describe_recommender
from chapters.runner.users import check_users
from chapters.runner.validation import split_validation
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.engine.full_ranking import rank_held_out
from d2l_recsys.engine.metrics import ranking_metrics
from d2l_recsys.movielens import (
    load_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss, HingeLossbRec
from d2l_recsys.runtime.backend import mx
from d2l_recsys.runtime.devices import seed_everything
from d2l_recsys.tools.curves import Curves

TITLES = {"neumf": "NeuMF", "gmf": "GMF alone", "mlp": "MLP alone"}
options = Options("neumf", epochs=10, batch_size=1024, of_ratings=True)
options.add_argument(
    "--model",
    choices=TITLES,
    default="neumf",
    help="the whole model or one of its parts",
)
options.add_training(factors=10, lr=0.01, wd=1e-5)
options.add_mlp("10,10,10", dropout=0.0)
options.add_ranking()
options.add_min_rating()
options.add_validation()
for option in ("--mlp", "--dropout"):
    options.need(option, "--model neumf or mlp", lambda args: args.model != "gmf")
run = options.parse()
devices, args = run.devices, run.args

# %% [markdown]
# ## Training and Evaluating the Model
#
# The book's settings: 10 factors, an MLP with three layers of 10 units, Adam with
# learning rate 0.01 and weight decay 1e-5, and the BPR loss. For a data set that is
# `run.scale` times as large as the book's, weight decay is divided by `run.scale`.
#
# The last rating of each user is held out. Training needs negative items, and there are
# two protocols for drawing them. The book's newest edition never draws the held-out
# item, which reveals a little of the answer (E23). The strict protocol draws from all
# items that the user has not seen in training. Both are trained here. With
# `--validation`, the last training item of each user is held out, too. Then only the
# strict protocol makes sense, so the model is trained once.

# %%
df, num_users, num_items = run.read_ratings()
train_data, test_data = split_data_ml100k(df, num_users, num_items, "seq-aware")
check_users(df.attrs["user_ids"], train_data, df, num_items, args.negatives)
users_train, items_train, ratings_train, candidates = load_data_ml100k(
    train_data, num_users, num_items, feedback="implicit"
)
users_test, items_test, ratings_test, test_iter = load_data_ml100k(
    test_data, num_users, num_items, feedback="implicit"
)
tested = sample_users(run, test_iter, "test metrics after each epoch")
labels = {"test_hit_rate": "test hit rate", "test_auc": "test AUC"}
valid, known, known_data = None, candidates, train_data
if args.validation:
    labels["valid_auc"] = "validation AUC"
    train_data, valid_data = split_validation(
        train_data, num_users, num_items, "seq-aware", run.seed
    )
    users_train, items_train, ratings_train, candidates = load_data_ml100k(
        train_data, num_users, num_items, feedback="implicit"
    )
    valid_iter = load_data_ml100k(valid_data, num_users, num_items, "implicit").inter
    valid = sample_users(run, valid_iter, "validation metrics"), None, candidates
describe_recommender(run, known_data)
loss = BPRLoss() if args.loss == "bpr" else HingeLossbRec(margin=args.margin)
lr, num_epochs, wd, optimizer = args.lr, run.epochs, args.wd, args.optimizer


def train(name, test_items, on_epoch=None, eval_step=1):
    """Train the model; never draw `test_items` as negatives, if they are given."""
    seed_everything(run.seed)
    train_set = PRDataset(
        users_train,
        items_train,
        candidates,
        num_items,
        test_items,
        run.seed,
        args.negatives,
    )
    train_iter = BatchLoader(train_set, run.batch_size, shuffle=True, seed=run.seed)
    net = NeuMF(
        args.factors,
        num_users,
        num_items,
        nums_hiddens=[] if args.model == "gmf" else args.mlp,
        gmf=args.model != "mlp",
        dropout=args.dropout,
    )
    net.initialize(ctx=devices, force_reinit=True, init=mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)
    trainer = make_trainer(net, optimizer, {"learning_rate": lr, "wd": wd / run.scale})
    history = train_ranking(
        net,
        train_iter,
        tested,
        loss,
        trainer,
        None,
        num_users,
        num_items,
        num_epochs,
        devices,
        evaluate_ranking,
        known,
        eval_step,
        on_epoch=on_epoch,
        checkpoint=run.checkpoint(name),
        valid=valid,
    )
    return net, history


# %%
book = run.printed(labels) if args.model == "neumf" else None
curves = Curves(num_epochs, labels, ylim=(0, 1), book=book)
net, history = train("main", None if valid else test_iter, on_epoch=curves)
of_all = test_iter, None, known, num_users, num_items, devices
metrics = final_metrics(history, labels, tested, net, *of_all)
run.save(metrics, history)
run.save_model(net)

# %%
figure = curves.figure(f"{TITLES[args.model]} on {run.data_title}")
run.save_figure(figure)
figure

# %% [markdown]
# Hit rate and AUC summarize the ranks of the held-out items. The book also names
# precision, recall and NDCG. With one held-out item per user, the recall at 50 is the
# hit rate, and the precision is a fiftieth of it. NDCG is higher if the hits rank
# higher.

# %%
ranks = rank_held_out(net, test_iter, None, known, (num_users, num_items), devices)
more = ranking_metrics(ranks, [50])
print_ranking_metrics(more, 50)
run.draw("ranks", pictures.held_out_ranks, ranks)

# %% [markdown]
# The strict protocol, which does not use the test set:

# %%
if not valid:
    print("strict protocol (held-out items can be negatives):")
    strict_net, strict = train("strict", None, eval_step=num_epochs)
    found = final_metrics(strict, labels, tested, strict_net, *of_all)
    metrics.update({f"strict_{name}": found[name] for name in labels})
    run.save(metrics, history)

# %% [markdown]
# ## Recommendations

# %%
print_recommendations(run, net, df, known, num_users, num_items)
