"""Start a training of several workers on this machine, on MXNet's parameter server.

``python -m d2l_recsys launch -n 2 -- python -m chapters.mf --kvstore dist_sync`` starts
the scheduler, the servers and the workers. It puts the rank in front of each line that
they print, and ends all of them as soon as one fails.
"""

import argparse
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Dict, List, Optional

from d2l_recsys.tools.command_line import Parser, positive

_LOCAL = "127.0.0.1"
_PAUSE = 0.05  # seconds between two looks at the processes
_GRACE = 2  # seconds from SIGTERM to SIGKILL
_FAREWELL = 5  # seconds that scheduler and servers have when the workers have ended
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def main(arguments: List[str]) -> int:
    """Run the job that the command line describes; return its exit code."""
    args = _options(arguments)
    ports = _free_ports(1 + args.servers + args.workers)
    given = os.environ.get("DMLC_PS_ROOT_PORT")
    if given:
        why = _why_unusable(given)
        if why:
            return _tell(f"DMLC_PS_ROOT_PORT={given}: {why}; unset, a free one is used")
        ports[0] = int(given)
    job = Job()
    for number in _SIGNALS:
        signal.signal(number, job.stop)
    try:
        job.start(args.workers, args.servers, ports, args.command)
        return job.wait()
    except OSError as error:
        return _tell(f"cannot start {args.command[0]}: {error.strerror}", 127)
    finally:
        job.end()


class Job:
    """The processes of one training."""

    def __init__(self):
        self.processes: Dict[str, subprocess.Popen] = {}
        self.readers: List[threading.Thread] = []
        self.stopped_by: Optional[int] = None  # the signal that asked for the end
        self._writing = threading.Lock()

    def stop(self, number: int, _frame=None) -> None:
        """Note a signal: :meth:`wait` acts on it."""
        self.stopped_by = number

    def start(
        self, workers: int, servers: int, ports: List[int], command: List[str]
    ) -> None:
        """Start all processes. Raises OSError where the command can't be started."""
        common = {
            **os.environ,
            "DMLC_PS_ROOT_URI": _LOCAL,
            "DMLC_PS_ROOT_PORT": str(ports[0]),
            "DMLC_NODE_HOST": _LOCAL,
            "DMLC_NUM_WORKER": str(workers),
            "DMLC_NUM_SERVER": str(servers),
            "PYTHONUNBUFFERED": "1",
        }
        # Threads of MXNet that outnumber the cores slow it down several times.
        common.setdefault("OMP_NUM_THREADS", str(max(1, os.cpu_count() // workers)))
        # It becomes what DMLC_ROLE says as soon as MXNet is imported.
        serve = [sys.executable, "-c", "import d2l_recsys.runtime.backend"]
        self._start("scheduler", serve, {**common, "DMLC_ROLE": "scheduler"})
        # A process listens on PORT. The scheduler numbers those of a host in the order
        # of their ports: so the ranks are the numbers given here.
        names = [*(f"server {k}" for k in range(servers)), *map(str, range(workers))]
        for name, port in zip(names, ports[1:]):
            role, what = ("worker", command) if name.isdigit() else ("server", serve)
            self._start(name, what, {**common, "DMLC_ROLE": role, "PORT": str(port)})
        for name, process in self.processes.items():  # no fork once a thread runs
            for source, target in (
                (process.stdout, sys.stdout.buffer),
                (process.stderr, sys.stderr.buffer),
            ):
                reader = threading.Thread(
                    target=self._pass_on, args=(source, f"[{name}] ".encode(), target)
                )
                reader.daemon = True
                reader.start()
                self.readers.append(reader)

    def _start(self, name, command, environment):
        self.processes[name] = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C comes to the launcher alone
            preexec_fn=_dies_with_the_launcher(),
        )

    def _pass_on(self, source, prefix, target):
        for line in source:
            try:
                with self._writing:
                    target.write(prefix + line.rstrip(b"\n") + b"\n")
                    target.flush()
            except OSError:  # nobody reads any more, as after `| head`
                # What is left in the buffer must not fail again at the exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
                self.stop(signal.SIGPIPE)

    def wait(self) -> int:
        """Return 0 when all workers have ended well, else the code of what went wrong.

        That is 128 and the number of the signal by which a process was ended.
        """
        workers = [p for name, p in self.processes.items() if name.isdigit()]
        while any(process.poll() is None for process in workers):
            if self.stopped_by:
                return self._stopped()
            for name, process in self.processes.items():
                if process.poll():
                    return _death(name, process)
            time.sleep(_PAUSE)
        for name, process in self.processes.items():
            if process in workers and process.returncode:
                return _death(name, process)
        self._until_all_have_ended(_FAREWELL)
        return self._stopped() if self.stopped_by else 0

    def _stopped(self):
        name = signal.Signals(self.stopped_by).name
        return _tell(f"{name}: ending the job", 128 + self.stopped_by)

    def _until_all_have_ended(self, seconds):
        end = time.monotonic() + seconds
        while any(process.poll() is None for process in self.processes.values()):
            if time.monotonic() > end:
                break
            time.sleep(_PAUSE)

    def end(self) -> None:
        """Leave no process behind: neither ours nor those that they have started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes.values():
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    continue
            self._until_all_have_ended(_GRACE)
        for reader in self.readers:
            reader.join(_GRACE)


def _options(arguments):
    parser = Parser(
        prog="python -m d2l_recsys launch",
        usage="%(prog)s [-n N] [-s N] -- COMMAND [ARGUMENT ...]",
        description="Run COMMAND as several workers on this machine, with a parameter "
        "server between them. Each line they print has the rank in front.",
        epilog="The exit code is 0, or the first other one of a process: all others "
        "are ended then. `python` as COMMAND is the interpreter of the launcher.",
    )
    parser.add_argument(
        "-n", dest="workers", type=positive, default=2, metavar="N", help="workers (2)"
    )
    parser.add_argument(
        "-s", dest="servers", type=positive, default=1, metavar="N", help="servers (1)"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    args.command = args.command[args.command[:1] == ["--"] :]
    if not args.command:
        parser.error("there is no COMMAND after --")
    if args.command[0] == "python":
        args.command[0] = sys.executable
    return args


def _free_ports(count):
    """Return free ports in ascending order."""
    taken = [socket.socket() for _ in range(count)]
    try:
        for one in taken:
            one.bind((_LOCAL, 0))
        return sorted(one.getsockname()[1] for one in taken)
    finally:
        for one in taken:
            one.close()


def _why_unusable(port):
    """Return what speaks against listening on `port`, or None."""
    if not (port.isdecimal() and 1 <= int(port) <= 65535):
        return "not a port"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOCAL, int(port)))
        except OSError as error:
            return error.strerror


def _dies_with_the_launcher():
    """Return what a child runs first, so that it ends when we are killed by SIGKILL."""
    if sys.platform != "linux":
        return None  # workers notice by themselves there, after their patience
    libc, launcher = ctypes.CDLL(None), os.getpid()

    def ask():
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:  # killed before we asked
            os._exit(1)

    return ask


def _death(name, process):
    code = process.returncode
    if code < 0:
        how, code = f"was killed by {signal.Signals(-code).name}", 128 - code
    else:
        how = f"ended with exit code {code}"
    who = f"worker {name}" if name.isdigit() else name
    return _tell(f"{who} (process {process.pid}) {how}: ending the job", code)


def _tell(text, code=2):
    print(f"launch: {text}", file=sys.stderr, flush=True)
    return code
