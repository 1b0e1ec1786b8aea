from itertools import combinations

import numpy
import pytest

from d2l_recsys.data.synthetic_ctr import (
    MAIN,
    NUM_TRAITS,
    PAIRS,
    TRIPLE,
    draw_ctr,
    planted,
    write_ctr,
)
from d2l_recsys.engine.clicks import roc_auc


@pytest.fixture(scope="module")
def sample():
    return draw_ctr(numpy.random.Generator(numpy.random.PCG64(0)), 18_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "made" / "if need be"
    write_ctr(folder)
    return folder


def rows(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


class TestFiles:
    def test_look_like_the_books(self, folder):
        train, test = rows(folder / "train.csv"), rows(folder / "test.csv")
        assert (len(train), len(test)) == (15000, 3000)
        assert {len(row) for row in train + test} == {35}
        assert {row[0] for row in train + test} == {"0", "1"}
        values = {value for row in train for value in row[1:]}
        assert all(len(v) == 8 and int(v, 16) >= 0 for v in values)

    def test_share_of_clicks(self, folder):
        labels = [row[0] == "1" for row in rows(folder / "train.csv")]
        # 15000 draws: a standard error of 0.004
        assert numpy.mean(labels) == pytest.approx(0.28, abs=0.015)

    def test_there_are_rare_values_and_few_have_many_rows(self, folder):
        train = numpy.array(rows(folder / "train.csv"))[:, 1:]
        rare, largest = 0, []
        for column in train.T:
            _, counts = numpy.unique(column, return_counts=True)
            rare += (counts < 4).sum()
            largest.append(counts.max() / counts.sum())
            if len(counts) > 100:
                assert numpy.sort(counts)[::-1][: len(counts) // 10].sum() > 9000
        assert rare > 300
        assert min(largest) > 0.05

    def test_the_order_of_text_is_not_that_of_frequency(self, folder):
        column = numpy.array(rows(folder / "train.csv"))[:, 25]  # of 1000 values
        _, counts = numpy.unique(column, return_counts=True)
        by_text = numpy.corrcoef(numpy.arange(len(counts)), counts)[0, 1]
        assert abs(by_text) < 0.2  # some 800 values: a standard error of 0.035

    def test_the_seed_decides(self, tmp_path):
        def written(seed):
            write_ctr(tmp_path, 50, 20, seed)
            return [(tmp_path / f"{n}.csv").read_bytes() for n in ("train", "test")]

        first = written(0)
        assert written(0) == first
        assert written(1) != first

    @pytest.mark.parametrize("sizes", [(0, 5), (5, 0)])
    def test_impossible_sizes_are_refused(self, tmp_path, sizes):
        with pytest.raises(ValueError, match=f"num_train={sizes[0]} and num_test="):
            write_ctr(tmp_path / "no", *sizes)
        assert not (tmp_path / "no").exists()


class TestWhatIsPlanted:
    """All 32 combinations of traits have the same probability, so sums are exact."""

    every = numpy.array(
        [[1 if k >> i & 1 else -1 for i in range(NUM_TRAITS)] for k in range(32)]
    )

    def weight(self, *traits):
        return (planted(self.every) * self.every[:, list(traits)].prod(axis=1)).mean()

    def test_by_order(self):
        for trait in range(NUM_TRAITS):
            assert self.weight(trait) == MAIN.get(trait, 0)
        for pair in combinations(range(NUM_TRAITS), 2):
            assert self.weight(*pair) == PAIRS.get(pair, 0)
        for triple in combinations(range(NUM_TRAITS), 3):
            assert self.weight(*triple) == TRIPLE.get(triple, 0)

    def test_the_triple_is_seen_by_three_only(self, sample):
        (triple,) = TRIPLE
        product = sample.traits[:, list(triple)].prod(axis=1)
        for pair in combinations(range(NUM_TRAITS), 2):
            seen = sample.traits[:, list(pair)].prod(axis=1)
            assert abs(numpy.mean(product * seen)) < 0.03  # 4 standard errors
        assert numpy.corrcoef(product, sample.labels)[0, 1] > 0.2

    def test_fields_show_their_trait(self, sample):
        for field in range(34):
            shown = numpy.where(sample.values[:, field] % 2, 1, -1)
            agreement = [
                abs(numpy.mean(shown * sample.traits[:, trait]))
                for trait in range(NUM_TRAITS)
            ]
            trait = field % (NUM_TRAITS + 1)
            for other, value in enumerate(agreement):
                # 2 % errors: 0.96; 18000 rows: a standard error of 0.0075
                expected = 0.96 if other == trait else 0
                assert value == pytest.approx(expected, abs=0.03)

    def test_labels_follow_the_logits(self, sample):
        probability = 1 / (1 + numpy.exp(-sample.logits))
        for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1)):
            part = (probability >= low) & (probability < high)
            assert sample.labels[part].mean() == pytest.approx(
                probability[part].mean(), abs=0.05
            )
        assert roc_auc(sample.logits, sample.labels) > 0.95  # there is much to learn
