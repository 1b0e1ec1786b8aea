"""Run README's lines for Colab as a notebook: ``nox --session colab``.

The kernel is that of this Python. Its shell has another class than Jupyter's and NumPy
is imported already, as in Colab. The lines are those of README's block with ``%run``.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
KERNEL = """
import numpy
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
class Shell(ZMQInteractiveShell): pass
class Kernel(IPythonKernel): shell_class = Shell
IPKernelApp.launch_instance(kernel_class=Kernel)
"""


class Colab(AsyncKernelManager):
    @property
    def kernel_spec(self):
        command = [sys.executable, "-c", KERNEL, "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Colab", language="python")


def lines_of(readme):
    """Return the lines of the first code block that runs a section."""
    blocks = re.findall(r"```\w*\n(.*?)```", readme.read_text(), re.DOTALL)
    (block, *_) = [block for block in blocks if "%run -m chapters." in block]
    return block.strip().splitlines()


def main(readme=ROOT / "README.md"):
    check = "import numpy; print(numpy.__version__)"
    cells = [nbformat.v4.new_code_cell(x) for x in [*lines_of(Path(readme)), check]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "d2l-recsys").symlink_to(ROOT)
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook, kernel_manager_class=Colab, resources=resources, timeout=600
        )
        client.execute(env={**os.environ, "D2L_RECSYS_ARGS": "--smoke"})
    *_, section, version = [cell.outputs for cell in cells]
    printed = "".join(x.text for x in section if x.output_type == "stream")
    pictures = [x for x in section if "image/png" in x.get("data", {})]
    assert re.search(r"train loss [\d.]+, test RMSE [\d.]+", printed), printed
    assert pictures, "no live curves"
    assert version[0].text.strip() == numpy.__version__
    print(printed)


if __name__ == "__main__":
    main(*sys.argv[1:])
