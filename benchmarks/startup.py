"""Time scripts from start to exit, next to a process that only imports MXNet."""

import sys
import tempfile

from benchmarks.processes import alternately

SCRIPTS = ["mf", "deepfm"]


def rows():
    """Yield the rows of the table. The bound is the import of MXNet."""
    module = [sys.executable, "-m"]
    with tempfile.TemporaryDirectory() as out:
        commands = {"mxnet": [sys.executable, "-c", "import mxnet"]}
        for script in SCRIPTS:
            script = f"chapters.{script}"
            commands[f"{script} --help"] = [*module, script, "--help"]
            commands[f"{script} --smoke"] = [*module, script, "--smoke", "--out", out]
        results = alternately(commands, repeat=5)
    seconds = {name: result["seconds"] for name, result in results.items()}
    bound = seconds.pop("mxnet")
    for what, ours in seconds.items():
        remark = "bound: import mxnet"
        yield {"work": what, "ours": ours, "bound": bound, "remark": remark}
