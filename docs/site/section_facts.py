"""The models of each section, and how its editions differ."""

from typing import Dict, List, NamedTuple, Tuple

EDITIONS = {
    "2020": ("first edition", 15),
    "2022–24": ("classic edition, `d2l` 1.0.3", 17),
    "2026": ("newest edition", 21),
}
DEVICES = "`ctx` or `ctx_list` instead of `devices`"


class Facts(NamedTuple):
    """Names of a section whose code is shown, and differences of editions by year."""

    shown: List[str]
    editions: Dict[str, List[str]]


FACTS = {
    "movielens": Facts(
        [],
        {
            "2020": ["the random split has no seed (E04)"],
            "2022–24": ["the random split has no seed (E04)"],
            "2026": ['the random split has a seed; `seed="book"` repeats it here'],
        },
    ),
    "mf": Facts(
        ["MF"],
        {"2020": [DEVICES], "2026": ["`L2Loss(weight=2)`, not `L2Loss()` (E16)"]},
    ),
    "autorec": Facts(["AutoRec"], {"2020": [DEVICES]}),
    "ranking": Facts(["BPRLoss", "HingeLossbRec"], {}),
    "neumf": Facts(
        ["NeuMF"],
        {
            "2020": [
                "`mlp_layers` instead of `nums_hiddens`",
                DEVICES,
                "Normal(0.01) instead of Xavier",
                "ranks only 943 items (E27)",
            ],
            "2022–24": [
                "a sigmoid at the end of the model (E20)",
                "Normal(0.01) instead of Xavier",
                "ranks only 943 items (E27)",
            ],
            "2026": ["as here: raw scores, Xavier"],
        },
    ),
    "seqrec": Facts(
        ["Caser"],
        {
            "2020": [
                "runs with `L=3`, not `L=5`",
                DEVICES,
                "ranks only 943 items (E27)",
            ],
            "2022–24": ["ranks only 943 items (E27)"],
        },
    ),
    "ctr": Facts(
        [],
        {
            "2020": ["the vocabulary differs from run to run (E41)"],
            "2022–24": ["the vocabulary differs from run to run (E41)"],
            "2026": ["the vocabulary is sorted as text, as here"],
        },
    ),
    "fm": Facts(
        ["FM", "pairwise"],
        {
            "2020": [DEVICES],
            "2022–24": ["a sigmoid at the end of the model (E44)"],
            "2026": ["as here: logits"],
        },
    ),
    "deepfm": Facts(
        ["DeepFM"],
        {
            "2020": [DEVICES],
            "2022–24": ["a sigmoid at the end of the model (E44)"],
            "2026": ["as here: logits"],
        },
    ),
}


def section_numbers(number: int) -> List[Tuple[str, str, str]]:
    """Return year, name and number of the section .`number` in each edition."""
    return [(year, name, f"{n}.{number}") for year, (name, n) in EDITIONS.items()]
