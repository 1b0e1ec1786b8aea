"""Number the lines of text files, quote their text and describe faults."""

import io
import re
from typing import Iterator, Optional, Tuple

_INTEGER = re.compile(r"-?[0-9]+")


def numbered_lines(
    content: bytes, encoding: str = "latin-1"
) -> Iterator[Tuple[int, str]]:
    """Yield the number and the text of each line, without its LF or CR LF."""
    for number, line in enumerate(io.BytesIO(content), 1):
        if line.endswith(b"\n"):
            line = line[: -2 if line.endswith(b"\r\n") else -1]
        yield number, line.decode(encoding)


def shown(text: str) -> str:
    """Return `text` in quotes, shortened for an error message."""
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


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
