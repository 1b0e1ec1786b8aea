"""Checking lines at C speed gives the same answers as splitting them."""

import random

import pytest

from d2l_recsys.data.lines import all_have, field_ends, line_blocks


@pytest.mark.parametrize("count", [0, 1, 2])
def test_separators_are_counted_as_by_splitting(count):
    rng, right = random.Random(count), 0
    for _ in range(3000):
        lines = ["a" + ",b" * count] * rng.randint(1, 3)
        text = "\n".join(lines) + rng.choice(["\n", "", ","])
        if rng.random() < 0.7:  # change a character
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice([",", "\n", "x", ""]) + text[at + 1 :]
        if not text:
            continue
        split = text[:-1].split("\n") if text.endswith("\n") else text.split("\n")
        expected = all(line.count(",") == count for line in split)
        assert all_have(text.encode(), ",", count) == expected, text
        if expected:
            ends = field_ends(text.encode(), ",", count).ravel().tolist()
            fields = [text[a + 1 : b] for a, b in zip([-1, *ends], ends)]
            assert fields == ",".join(split).split(",")
        right += expected
    assert 300 < right < 2700


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("content", [b"", b"a", b"a\n", b"\n\nab\r\nc", b"abcdef\ng\n"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_blocks_are_whole_lines(tmp_path, mark, content, size):
    (tmp_path / "file").write_bytes(mark + content)
    blocks = [*line_blocks(tmp_path / "file", size)]
    assert b"".join(blocks) == content
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert size < 100 or len(blocks) == bool(content)
