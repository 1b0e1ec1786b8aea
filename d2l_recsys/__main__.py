"""The package's commands: ``python -m d2l_recsys doctor`` and ``... launch``."""

import os
import sys

from d2l_recsys.tools import doctor, launch

COMMANDS = {
    "doctor": (doctor.main, "check what works on this machine"),
    "launch": (launch.main, "start a training with several workers"),
}
USAGE = "usage: python -m d2l_recsys COMMAND [OPTIONS]\n\n" + "\n".join(
    f"  {name}  {what}" for name, (_, what) in COMMANDS.items()
)


def main() -> int:
    """Run the command that is named on the command line; return its exit code."""
    name, arguments = (sys.argv[1:] or ["--help"])[0], sys.argv[2:]
    if name in ("-h", "--help"):
        print(f"{USAGE}\n\nEach command has --help.")
        return 0
    if name not in COMMANDS:
        known = " or ".join(COMMANDS)
        print(
            f"python -m d2l_recsys: unknown command {name!r}: use {known}",
            file=sys.stderr,
        )
        return 2
    run, _ = COMMANDS[name]
    return run(arguments)


def main_for_a_pipe() -> int:
    """Run :func:`main`; end quietly if nobody reads the output (``| head``)."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Discard what is left in the buffer, which would fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main_for_a_pipe())
