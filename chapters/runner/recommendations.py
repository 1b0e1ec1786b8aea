"""What a ranking model would recommend, in titles."""

from d2l_recsys.data.movies import read_movies
from d2l_recsys.engine.full_ranking import recommend


def print_recommendations(
    run, net, data, candidates, num_users, num_items, seq=None, user=0
):
    """Print the last five movies that `user` saw and the ten best he has not."""
    titles = _titles(run.folder, data.attrs["item_ids"])
    best = recommend(net, user, 10, candidates, num_users, num_items, seq, run.devices)
    seen = candidates.get(user, [])
    print(f"user {user} saw last:" if seen else f"user {user} saw nothing in training")
    for item in seen[-5:]:
        print(f"    {titles[item]}")
    print("and may like:")
    for item, score in best:
        print(f"    {score:7.3f}  {titles[item]}")


def _titles(folder, item_ids):
    """Return the titles of the items; a set of one's own may lack some, or all."""
    try:
        titles = read_movies(folder)["title"].to_dict()
    except FileNotFoundError:
        titles = {}
    return [titles.get(item, f"item {item}") for item in item_ids.tolist()]
