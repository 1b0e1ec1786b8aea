# %% [markdown]
# # Neural Collaborative Filtering for Personalized Ranking
#
# NeuMF combines a product of embeddings (generalized matrix factorization, GMF) with a
# multilayer perceptron (MLP). It is trained to rank the items that a user has
# interacted with above other items.

# %%
from chapters.runner.options import Options
from chapters.runner.recommendations import print_recommendations
from chapters.runner.users import check_users
from d2l_recsys.engine.adam import make_trainer
from d2l_recsys.engine.batching import BatchLoader
from d2l_recsys.movielens import (
    load_data_ml100k,
    read_data_ml100k,
    split_data_ml100k,
)
from d2l_recsys.neumf import NeuMF, PRDataset, evaluate_ranking, train_ranking
from d2l_recsys.ranking import BPRLoss
from d2l_recsys.runtime.backend import mx
from d2l_recsys.runtime.devices import seed_everything
from d2l_recsys.tools.curves import Curves

MODELS = {  # arguments for NeuMF and for each of its parts alone
    "neumf": {"nums_hiddens": [10, 10, 10]},
    "gmf": {"nums_hiddens": []},
    "mlp": {"nums_hiddens": [10, 10, 10], "gmf": False},
}
TITLES = {"neumf": "NeuMF", "gmf": "GMF alone", "mlp": "MLP alone"}
options = Options("neumf", epochs=10, batch_size=1024, of_ratings=True)
options.add_argument(
    "--model",
    choices=MODELS,
    default="neumf",
    help="the whole model or one of its parts",
)
run = options.parse()
devices = run.devices

# %% [markdown]
# ## Training and Evaluating the Model
#
# The last rating of each user is held out. Training needs negative items, and there are
# two protocols for drawing them. The book's newest edition never draws the held-out
# item, which reveals a little of the answer (E23). The strict protocol draws from all
# items that the user has not seen in training. Both are trained here.

# %%
df, num_users, num_items = read_data_ml100k(
    run.folder, run.args.duplicates, run.data_set
)
train_data, test_data = split_data_ml100k(df, num_users, num_items, "seq-aware")
check_users(df.attrs["user_ids"], train_data, df, num_items)
users_train, items_train, ratings_train, candidates = load_data_ml100k(
    train_data, num_users, num_items, feedback="implicit"
)
users_test, items_test, ratings_test, test_iter = load_data_ml100k(
    test_data, num_users, num_items, feedback="implicit"
)
labels = {"test_hit_rate": "test hit rate", "test_auc": "test AUC"}
lr, num_epochs, wd, optimizer = 0.01, run.epochs, 1e-5 / run.scale, "adam"


def train(name, test_items, on_epoch=None, eval_step=1):
    """Train the model; never draw `test_items` as negatives, if they are given."""
    seed_everything(run.seed)
    train_set = PRDataset(
        users_train, items_train, candidates, num_items, test_items, seed=run.seed
    )
    train_iter = BatchLoader(train_set, run.batch_size, shuffle=True, seed=run.seed)
    net = NeuMF(10, num_users, num_items, **MODELS[run.args.model])
    net.initialize(ctx=devices, force_reinit=True, init=mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)
    trainer = make_trainer(net, optimizer, {"learning_rate": lr, "wd": wd})
    history = train_ranking(
        net,
        train_iter,
        test_iter,
        BPRLoss(),
        trainer,
        None,
        num_users,
        num_items,
        num_epochs,
        devices,
        evaluate_ranking,
        candidates,
        eval_step,
        on_epoch=on_epoch,
        checkpoint=run.checkpoint(name),
    )
    return net, history


# %%
curves = Curves(num_epochs, labels, ylim=(0, 1))
net, history = train("main", test_iter, on_epoch=curves)
metrics = {name: history[-1][name] for name in labels}
run.save(metrics, history)

# %%
figure = curves.figure(f"{TITLES[run.args.model]} on {run.data_title}")
run.save_figure(figure)
figure

# %% [markdown]
# The strict protocol, which does not use the test set:

# %%
print("strict protocol (held-out items can be negatives):")
_, strict = train("strict", None, eval_step=num_epochs)
run.save(
    {**metrics, **{f"strict_{name}": strict[-1][name] for name in labels}}, history
)

# %% [markdown]
# ## Recommendations

# %%
print_recommendations(run, net, df, candidates, num_users, num_items)
