"""The package's commands, such as ``python -m d2l_recsys doctor``."""

import io
import os
import sys
from importlib import import_module

from d2l_recsys.tools.command_line import expect_ctrl_c, tell

COMMANDS = {  # each is a module of d2l_recsys.tools
    "doctor": "check what works on this machine",
    "launch": "start a training with several workers",
    "recommend": "recommend items with a saved model",
    "predict": "predict clicks or ratings with a saved model",
}
USAGE = "usage: python -m d2l_recsys COMMAND [OPTIONS]\n\n" + "\n".join(
    f"  {name:9}  {what}" for name, what in COMMANDS.items()
)


def main() -> int:
    """Run the command that is named on the command line; return its exit code."""
    name, arguments = (sys.argv[1:] or ["--help"])[0], sys.argv[2:]
    if name in ("-h", "--help"):
        print(f"{USAGE}\n\nEach command has --help.")
        return 0
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(
            f"python -m d2l_recsys: unknown command {name!r}: use one of {known}",
            file=sys.stderr,
        )
        return 2
    # MXNet, which the other commands need, may be what the doctor is asked about.
    run = import_module(f"d2l_recsys.tools.{name}").main
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # titles, on an ASCII terminal
    return run(arguments)


def main_for_a_pipe() -> int:
    """Run :func:`main`; end quietly if nobody reads the output (``| head``).

    Ctrl-C, and an output that cannot be written, are reported in one line.
    """
    try:
        try:
            return main()
        finally:  # also after --help, which exits
            if sys.stdout is not None:  # it is None if it was closed
                sys.stdout.flush()
    except KeyboardInterrupt:
        tell("\ninterrupted")
        os._exit(130)  # immediately, because MXNet may still be busy
    except OSError as error:
        # Discard what is left in the buffer, which would fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"python -m d2l_recsys: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    expect_ctrl_c()
    sys.exit(main_for_a_pipe())
