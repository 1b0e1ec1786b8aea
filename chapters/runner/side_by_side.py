"""Run the sections of the chapter at once, in processes of their own."""

import io
import multiprocessing
import os
import signal
import sys
from collections import defaultdict
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, DefaultDict, Dict, List, Tuple

from chapters.runner import data, failures
from chapters.runner.processes import end_processes, start_pool
from d2l_recsys.runtime import cores
from d2l_recsys.tools.command_line import expect_ctrl_c, tell

_FINDERS = ("movielens", "ctr")  # They find the data; the others start after them.
_section = ""  # the section that this process of a pool is running


class Sections:
    """Sections that run at once in a ``with`` block, which shows them one by one."""

    def __init__(self, arguments: Dict[str, List[str]], out: Path) -> None:
        self.arguments, self.out, self.shown = arguments, out, ""
        self.runs: Dict[str, Future] = {}
        self.processes: Dict[str, int] = {}
        # What sections have printed, to stdout or stderr, until it is shown.
        self.printed: DefaultDict[str, List[Tuple[str, str]]] = defaultdict(list)
        context = multiprocessing.get_context("spawn")
        # Inherited by the process that removes the semaphores of an ended run.
        self.hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.pipe, sender = context.Pipe(duplex=False)
        self.pool = start_pool(
            min(cores.available(), 4), _begin, sender, context.Lock()
        )
        self._submit(*_FINDERS)

    def __enter__(self) -> Callable[[str], Any]:
        # Like without a handler, but with all processes ended.
        signal.signal(signal.SIGTERM, _exit)
        if self.hang_up != signal.SIG_IGN:  # not with nohup
            signal.signal(signal.SIGHUP, _exit)
        return self.show

    def show(self, slug: str) -> Any:
        """Print what a section prints, until it ends; return its results."""
        self.shown = slug
        if slug not in self.runs:
            for run in [*self.runs.values()]:
                self._print_until(run)
                if not run.exception():
                    data.learn(run.result()[1])
            self._submit(*(x for x in self.arguments if x not in self.runs))
        self._print_until(self.runs[slug])
        return self.runs[slug].result()[0]

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        """End all processes. After Ctrl-C, the section that is shown saves first."""
        try:
            if kind is BrokenProcessPool:
                way_out = "run single sections, as in python -m chapters.mf"
                sys.exit(
                    "python -m chapters: error: a process was killed, perhaps because "
                    f"the memory was full: {way_out}"
                )
            if kind is KeyboardInterrupt:
                self._interrupt(error)
        finally:
            end_processes()

    def _interrupt(self, error: BaseException) -> None:
        try:
            expect_ctrl_c()  # which ends the saving
            if self.shown not in self.processes:
                failures.tell_interrupted(error)
            elif not self.runs[self.shown].done():
                os.kill(self.processes[self.shown], signal.SIGUSR1)
                self._print_until(self.runs[self.shown])
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # while Python exits, too
            sys.exit(130)

    def _submit(self, *slugs: str) -> None:
        for slug in slugs:
            task = slug, self.arguments[slug], self.out, data.known
            self.runs[slug] = self.pool.submit(_run, *task)

    def _print_until(self, run: Future) -> None:
        """Print what the section that is shown prints, until `run` has ended."""
        ended = received = False
        while received or not ended:
            ended = run.done()
            received = self.pipe.poll(0 if ended else 0.05)
            if received:
                slug, process, text = self.pipe.recv()
                self.processes[slug] = process
                self.printed[slug].append(text)
            for stream, text in self.printed.pop(self.shown, ()):
                if stream == "stdout":
                    print(text, end="", flush=True)
                else:
                    tell(text, end="")


def _exit(number: int, _: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one would interrupt the exit
    sys.exit(128 + number)


class _Sent:
    """The stdout or stderr of a process, which sends what is printed to its parent."""

    def __init__(self, name: str, pipe: Any) -> None:
        self._name, self._pipe = name, pipe
        self._stream = getattr(sys, name) or io.StringIO()  # if it is closed

    def write(self, text: str) -> int:
        connection, lock = self._pipe
        with lock:
            connection.send((_section, os.getpid(), (self._name, text)))
        return len(text)

    def flush(self) -> None:
        pass  # the process may have no stdout

    def __getattr__(self, name: str) -> Any:  # such as isatty, for progress bars
        return getattr(self._stream, name)


def _begin(*pipe: Any) -> None:
    with suppress(Exception):  # The first section will report it.
        import chapters.runner.run  # noqa: F401  # MXNet, before there is a section

    sys.stdout, sys.stderr = (_Sent(x, pipe) for x in ("stdout", "stderr"))
    signal.signal(signal.SIGUSR1, signal.default_int_handler)


def _run(slug: str, arguments: List[str], out: Path, known: data.Known) -> Any:
    """Run a section in a process of the pool; report an error, and exit."""
    from chapters.__main__ import run_section

    global _section
    _section = slug
    sys.stdout.write("")  # so that the parent knows the process
    data.learn(known)
    try:
        return run_section(slug, arguments, out), data.known
    except (Exception, KeyboardInterrupt) as error:
        failures.report(type(error), error, error.__traceback__)
        raise SystemExit(1) from None
    finally:
        _section = ""
