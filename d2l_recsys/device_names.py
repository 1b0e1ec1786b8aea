"""How devices are written on a command line: readable without MXNet."""

from typing import List, Tuple


def read_devices(text: str) -> Tuple[str, List[int]]:
    """Return the kind of device that `text` names, 'cpu' or 'gpu', and the numbers.

    'cpu' is cpu(0), 'cpu:2' two CPU contexts, 'gpu' is gpu(0), 'gpu:0,1' two GPUs.

    Raises ValueError for any other text.
    """
    kind, _, rest = text.partition(":")
    ids = rest.split(",") if rest else ["1" if kind == "cpu" else "0"]
    numbers = [int(i) for i in ids if i.isdecimal()]
    if kind == "cpu" and len(numbers) == len(ids) == 1 and numbers[0] > 0:
        return kind, [*range(numbers[0])]
    if kind == "gpu" and len(numbers) == len(ids) == len({*numbers}):
        return kind, numbers
    raise ValueError(
        f"{text!r} is neither cpu, cpu:N (N contexts), gpu nor gpu:0,1 (by number)"
    )
