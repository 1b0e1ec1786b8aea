"""Ways to damage files, and strict parsers that are simple enough to trust."""

import re
from datetime import datetime

from hypothesis import strategies as st

FIELDS = [
    *("", " ", "0", "-0", "-1", "+1", " 1", "1 ", "1.0", "3.5", "2.7", "4.35", "5.01"),
    *("1.", ".5", "1e0", "1e3", "1E-2", "1e999", "inf", "nan", "NaN", "NA", "None"),
    *("null", "True", "1_000", "0x1", "007", "\u0663", "\uff11", "\xb2", '"1"', '"'),
    *("'", "\\", "#", "1,5", "a\tb", "a|b", "a\rb", "\x1a", "\x85", "\u2028", "\ufeff"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809"),
    *("18446744073709551616", "9" * 25, "9" * 5000, "x" * 20_000, "0" * 30 + "1"),
    *("14102103", "1410210 ", "1410 103", "141301", "00010100", "1410210\uff13"),
]
BYTES = [
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\r",
    b"\n",
    b"\t",
    b"\r\r\n",
]


def replaced_field(draw, content, separator):
    lines = content.split(b"\n")
    at = draw(st.integers(0, len(lines) - 1))
    fields = lines[at].split(separator)
    # Prefer the first fields, because these are checked.
    which = draw(st.integers(0, min(len(fields) - 1, draw(st.sampled_from([3, 40])))))
    fields[which] = draw(st.sampled_from(FIELDS)).encode()
    lines[at] = separator.join(fields)
    return b"\n".join(lines)


def changed_lines(draw, content, separator):
    lines = content.split(b"\n")
    at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    what = draw(st.sampled_from(["delete", "double", "swap", "blank", "join"]))
    if what == "delete":
        del lines[at]
    elif what == "double":
        lines.insert(other, lines[at])
    elif what == "swap":
        lines[at], lines[other] = lines[other], lines[at]
    elif what == "blank":
        lines.insert(at, draw(st.sampled_from([b"", b" ", separator, b"#"])))
    else:
        lines[at : at + 2] = [separator.join(lines[at : at + 2])]
    return b"\n".join(lines)


def inserted_bytes(draw, content, separator):
    more = draw(st.one_of(st.sampled_from(BYTES), st.binary(max_size=5)))
    at = draw(st.integers(0, len(content)))
    at = draw(st.sampled_from([at, 0, content.find(b"\n") + 1, len(content)]))
    return content[:at] + more + content[at + draw(st.integers(0, 2)) :]


def cut(draw, content, separator):
    return content[: draw(st.integers(0, len(content)))]


def other_separators(draw, content, separator):
    new = draw(st.sampled_from([b",", b"\t", b" ", b";", b"::", separator * 2]))
    return content.replace(separator, new, draw(st.sampled_from([1, -1])))


def other_encoding(draw, content, separator):
    what = draw(st.sampled_from(["crlf", "cr", "bom", "utf-16", "utf-32-be", "cp037"]))
    if what in ("crlf", "cr"):
        return content.replace(b"\n", {"crlf": b"\r\n", "cr": b"\r"}[what])
    if what == "bom":
        return b"\xef\xbb\xbf" + content
    return content.decode("latin-1").encode(what)


DAMAGES = [replaced_field] * 4 + [changed_lines, inserted_bytes, cut]
DAMAGES += [other_separators, other_encoding]


@st.composite
def damaged(draw, lines, separator):
    content = b"".join(line.encode() + b"\n" for line in lines)
    for damage in draw(st.lists(st.sampled_from(DAMAGES), max_size=2)):
        content = damage(draw, content, separator)
    return content


def each_damage(lines, separator):
    """Yield the content with one fault of each kind, at each relevant place."""
    fields = lines[-1].split(separator)
    for column in {*range(min(4, len(fields))), len(fields) - 1}:
        for text in FIELDS:
            line = separator.join([*fields[:column], text, *fields[column + 1 :]])
            yield "\n".join([*lines[:-1], line, ""]).encode()
    content = "\n".join(lines).encode() + b"\n"
    second = len(lines[0].encode()) + 1
    for at in {*range(16), *range(second - 4, second + 16), len(content)}:
        for more in BYTES:
            yield content[:at] + more + content[at:]


def lines_of(content):
    lines = content.split(b"\n")
    last = lines.pop()
    lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
    return lines + [last] * bool(last)


def whole(text, low):
    value = int(text) if re.fullmatch(rb"-?[0-9]{1,4000}", text) else low - 1
    return value if low <= value < 2**63 else None


class Bad(Exception):
    """A line is invalid. The argument is its number."""


def without_mark(content):
    """Return the content without the one byte order mark that is accepted."""
    return content[3:] if content.startswith(b"\xef\xbb\xbf") else content


def parsed_ratings(content, separator=b"\t", header=None, halves=False):
    content = without_mark(content)
    rows, known, first = [], set(), 1 if header is None else 2
    for number, line in enumerate(lines_of(content), 1):
        if number < first:
            if line != header:
                raise Bad(number)
            continue
        fields = line.split(separator)
        if len(fields) != 4:
            raise Bad(number)
        row = [whole(fields[i], low) for i, low in ((0, 1), (1, 1), (3, -(2**63)))]
        if None in row or not re.fullmatch(rb"[0-9]+([.][0-9]+)?", fields[2]):
            raise Bad(number)
        if not (0.5 if halves else 1) <= float(fields[2]) <= 5:
            raise Bad(number)
        if halves and float(fields[2]) * 2 != round(float(fields[2]) * 2):
            raise Bad(number)
        rows.append([row[0], row[1], float(fields[2]), row[2]])
    if not rows:
        raise Bad(first if content else 1)
    for number, (user, item, _, _) in enumerate(rows, first):
        if (user, item) in known:
            raise Bad(number)
        known.add((user, item))
    return rows


def parsed_movies(content):
    """Parse a u.item with two genres."""
    content, encoding = without_mark(content), "utf-8"
    try:
        content.decode()
    except UnicodeDecodeError:
        encoding = "latin-1"
    rows = {}
    for number, line in enumerate(lines_of(content), 1):
        fields = line.decode(encoding).split("|")
        item = whole(fields[0].encode(), 1)
        control = any(ord(c) < 32 for c in line.decode(encoding))
        if len(fields) != 7 or item is None or item in rows or control:
            raise Bad(number)
        if not {*fields[5:]} <= {"0", "1"}:
            raise Bad(number)
        rows[item] = [fields[1], fields[2] or None, fields[5] == "1", fields[6] == "1"]
    if not rows:
        raise Bad(1)
    return rows


def parsed_table(content, layout):
    """Return the label and the fields of each row of a CTR file in a `layout`."""
    content = without_mark(content)
    rows = []
    names = layout.separator.join(layout.columns).encode()
    for number, line in enumerate(lines_of(content), 1):
        if number == 1 and line == names:
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise Bad(number) from None
        fields = dict(zip(layout.columns, text.split(layout.separator)))
        if text.count(layout.separator) != len(layout.columns) - 1:
            raise Bad(number)
        if "\0" in text or "\r" in text or text.startswith("\ufeff"):
            raise Bad(number)
        if fields[layout.label] not in ("0", "1"):
            raise Bad(number)
        for name in layout.numeric:
            decimal = r"-?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?"
            if fields[name] and not re.fullmatch(decimal, fields[name]):
                raise Bad(number)
            if fields[name] and abs(float(fields[name])) == float("inf"):
                raise Bad(number)
        rows.append((float(fields.pop(layout.label)), fields))
        if layout.hour:
            fields.pop("id")
            if not re.fullmatch("[0-9]{8}", fields["hour"]):
                raise Bad(number)
            year, *parts = (int(fields["hour"][i : i + 2]) for i in (0, 2, 4, 6))
            try:
                moment = datetime(year + (2000 if year < 69 else 1900), *parts)
            except ValueError:
                raise Bad(number) from None
            day = {"weekday": str(moment.isoweekday()), "hour": fields.pop("hour")[6:]}
            rows[-1] = (rows[-1][0], {**day, **fields})
    if not rows:
        raise Bad(1)
    return rows
