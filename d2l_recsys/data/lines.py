"""Number the lines of text files, find separators, and describe faults."""

import codecs
import io
import re
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple

import numpy

NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}  # and their names
_INTEGER = re.compile(r"-?[0-9]+")


def content_of(path: Path) -> bytes:
    """Return the bytes of a file without a byte order mark."""
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        content = content[len(codecs.BOM_UTF8) :]
    return content


def line_blocks(path: Path, size: int) -> Iterator[bytes]:
    """Yield blocks of about `size` bytes of whole lines, without a byte order mark."""
    with open(path, "rb") as file:
        file.seek(len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0)
        while True:
            text = file.read(size)
            text += file.readline()
            if not text:
                return
            yield text


def all_have(text: bytes, separator: str, count: int) -> bool:
    """Tell at C speed whether each line has `count` separators."""
    return field_ends(text, separator, count) is not None


def field_ends(text: bytes, separator: str, count: int) -> Optional[numpy.ndarray]:
    """Return where the fields end in `text`, (lines, count + 1).

    Return None if a line does not have `count` separators. All lines end in LF, except
    perhaps the last one.
    """
    if text[-1:] != b"\n":
        text += b"\n"
    characters = numpy.frombuffer(text, dtype="uint8")
    newlines = characters == ord("\n")
    ends = numpy.flatnonzero(newlines | (characters == ord(separator)))
    # Every (count + 1)th must be the end of a line, and no other may be one.
    lines = numpy.count_nonzero(newlines)
    if len(ends) != lines * (count + 1) or not newlines[ends[count :: count + 1]].all():
        return None
    return ends.reshape(lines, count + 1)


def encoding_of(content: bytes) -> str:
    """Return the encoding of a text: UTF-8 if it is valid, else Latin-1."""
    if content.isascii():
        return "utf-8"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def separator_of(header: str, where: str) -> str:
    """Return what separates the names in a header: a tab, a semicolon or else a comma.

    Spreadsheets write semicolons where numbers have decimal commas. Text in quotes does
    not count. Raises a ValueError that begins with `where` if there are both commas and
    semicolons, and no tab.
    """
    bare = re.sub(r'"[^"]*("|$)', "", header)
    if "\t" in bare:
        return "\t"
    if "," in bare and ";" in bare:
        raise ValueError(
            f"{where}: the header has commas and semicolons, and it is not clear which "
            "of them separate the columns: put names that contain one in quotes"
        )
    return ";" if ";" in bare else ","


def with_point(number: str, decimal: str) -> str:
    """Return the text of a number with a decimal point instead of the mark `decimal`.

    Raises ValueError for a point where decimal commas are used: it may mark thousands.
    """
    if decimal == ".":
        return number
    if "." in number:
        raise ValueError(
            f"{shown(number)} is not a number with a decimal comma, which is expected "
            "where semicolons separate the fields: use decimal commas, or separate the "
            "fields by commas or tabs"
        )
    return number.replace(",", ".")


def quoted(header: str) -> str:
    """Return a header with each name in quotes, as some programs write it."""
    return ",".join(f'"{name}"' for name in header.split(","))


def fault_of_header(line: str, header: str) -> Optional[str]:
    """Return what is wrong with the first line, or None if it is the header."""
    if line in (header, quoted(header)):
        return None
    return f"the header {header} is missing; the line is {shown(line)}"


def numbered_lines(
    content: bytes, encoding: str = "latin-1"
) -> Iterator[Tuple[int, str]]:
    """Yield the number and the text of each line, without its LF or CR LF."""
    for number, line in enumerate(io.BytesIO(content), 1):
        if line.endswith(b"\n"):
            line = line[: -2 if line.endswith(b"\r\n") else -1]
        yield number, line.decode(encoding)


def shown(value: Any) -> str:
    """Return a text in quotes, or another value, shortened for an error message."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:40]}...")
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def fault_of_number(name: str, field: str) -> Optional[str]:
    """Return what is wrong with an id or a timestamp, or None if it is valid."""
    if not _INTEGER.fullmatch(field):
        return f"{name} {shown(field)} is not a number"
    # Check the length first: int() refuses to convert thousands of digits.
    if len(field.lstrip("-0")) > 19 or not -(2**63) <= int(field) < 2**63:
        return f"{name} {shown(field)} is too large"
    if name != "timestamp" and int(field) < 1:
        return f"{name} {shown(field)} is below 1; ids count from 1"
    return None
