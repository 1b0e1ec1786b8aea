"""The data sets that can be fetched: where they come from, and their files."""

from functools import partial
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Tuple, Union

from d2l_recsys.data.synthetic_ctr import write_ctr
from d2l_recsys.data.synthetic_movielens import write_movielens

SUBSTITUTE = "ml-100k-synthetic"  # for every MovieLens data set


class Download(NamedTuple):
    """A published archive: its URL, its hash and the files to unpack."""

    url: str
    hash: Optional[str]  # 'sha1:...' or 'md5:...'; None if the archive may change
    members: Tuple[str, ...]  # a folder that has the first one holds the data set
    max_bytes: int  # upper limit of the unpacked size
    ratings: Optional[int] = None  # number of ratings in the published data set
    folder: Optional[str] = None  # folder in the archive, if not the data set's name


class Generated(NamedTuple):
    """A synthetic data set: the function that writes it, and its files."""

    write: Callable[[Path], None]
    members: Tuple[str, ...]


class Manual(NamedTuple):
    """A data set that users download themselves: the web page, and the files."""

    origin: str
    members: Tuple[str, ...]


Source = Union[Download, Generated, Manual]

_CTR_FILES = ("train.csv", "test.csv")
_DAT, _CSV = ("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv")
_MOVIELENS = "https://files.grouplens.org/datasets/movielens/"
DATASETS: Dict[str, Source] = {
    "ml-100k": Download(
        f"{_MOVIELENS}ml-100k.zip",
        "sha1:cd4dcac4241c8a4ad7badc7ca635da8a69dddb83",
        ("u.data", "u.item", "u.genre", "u.user", "u.info", "u.occupation", "README"),
        max_bytes=50_000_000,
    ),
    # GroupLens publishes these MD5 sums in NAME.zip.md5.
    "ml-1m": Download(
        f"{_MOVIELENS}ml-1m.zip",
        "md5:c4d9eecfca2ab87c1945afe126590906",
        _DAT,
        max_bytes=50_000_000,
        ratings=1_000_209,
    ),
    "ml-10m": Download(
        f"{_MOVIELENS}ml-10m.zip",
        "md5:ce571fd55effeba0271552578f2648bd",
        _DAT,
        max_bytes=500_000_000,
        ratings=10_000_054,
        folder="ml-10M100K",
    ),
    "ml-20m": Download(
        f"{_MOVIELENS}ml-20m.zip",
        "md5:cd245b17a1ae2cc31bb14903e1204af3",
        _CSV,
        max_bytes=1_000_000_000,
        ratings=20_000_263,
    ),
    "ml-25m": Download(
        f"{_MOVIELENS}ml-25m.zip",
        "md5:6b51fb2759a8657d3bfcbfc42b592ada",
        _CSV,
        max_bytes=1_000_000_000,
        ratings=25_000_095,
    ),
    "ml-32m": Download(
        f"{_MOVIELENS}ml-32m.zip",
        "md5:d472be332d4daa821edc399621853b57",
        _CSV,
        max_bytes=1_500_000_000,
        ratings=32_000_204,
    ),
    # GroupLens updates this set from time to time, so it has no fixed hash. The number
    # of ratings is from September 2018.
    "ml-latest-small": Download(
        f"{_MOVIELENS}ml-latest-small.zip",
        None,
        _CSV,
        max_bytes=50_000_000,
        ratings=100_836,
    ),
    "ml-100k-synthetic": Generated(write_movielens, ("u.data",)),
    "ml-100k-smoke": Generated(
        partial(write_movielens, num_users=200, num_items=300, num_ratings=8000),
        ("u.data",),
    ),
    "ctr": Download(
        "http://d2l-data.s3-accelerate.amazonaws.com/ctr.zip",
        "sha1:e18327c48c8e8e5c23da714dd614e390d369843f",
        _CTR_FILES,
        max_bytes=100_000_000,
    ),
    "ctr-synthetic": Generated(write_ctr, _CTR_FILES),
    "ctr-smoke": Generated(
        partial(write_ctr, num_train=2000, num_test=500), _CTR_FILES
    ),
    "criteo": Manual(
        "https://www.kaggle.com/c/criteo-display-ad-challenge", _CTR_FILES
    ),
    "avazu": Manual("https://www.kaggle.com/c/avazu-ctr-prediction", _CTR_FILES),
}
