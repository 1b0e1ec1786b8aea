"""What a ranking model would recommend, in titles."""

from d2l_recsys.neumf import recommend
from d2l_recsys.ratings import read_movies


def print_recommendations(
    run, net, data, candidates, num_users, num_items, seq=None, user=0
):
    """Print the last five movies that `user` saw and the ten best he has not."""
    titles = read_movies(run.folder)["title"].loc[data.attrs["item_ids"]].tolist()
    best = recommend(net, user, 10, candidates, num_users, num_items, seq, run.devices)
    print(f"user {user} saw last:")
    for item in candidates[user][-5:]:
        print(f"    {titles[item]}")
    print("and may like:")
    for item, score in best:
        print(f"    {score:7.3f}  {titles[item]}")
