"""Start a training with several workers on this machine.

``python -m d2l_recsys launch -n 2 -- python -m chapters.mf --kvstore dist_sync`` starts
the scheduler and the servers of MXNet's parameter server, and the workers. Each line of
their output starts with the rank. If one process fails, all others are stopped.
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
from typing import IO, Any, Callable, Dict, List, Optional, Sequence

from d2l_recsys.runtime import cores
from d2l_recsys.tools.command_line import Parser, positive

_LOCAL = "127.0.0.1"
_PAUSE = 0.05  # seconds between two checks of the processes
_GRACE = 2  # seconds from SIGTERM to SIGKILL
_SHUTDOWN = 5  # seconds for scheduler and servers to exit after the workers
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
            return _tell(
                f"DMLC_PS_ROOT_PORT={given}: {why}; unset it to use any free port"
            )
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

    def __init__(self) -> None:
        self.processes: Dict[str, subprocess.Popen] = {}
        self.readers: List[threading.Thread] = []
        self.stopped_by: Optional[int] = None  # number of the signal that was received
        self._writing = threading.Lock()

    def stop(self, number: int, _frame: Any = None) -> None:
        """Remember a signal, so that :meth:`wait` stops the job."""
        self.stopped_by = number

    def start(
        self, workers: int, servers: int, ports: List[int], command: List[str]
    ) -> None:
        """Start all processes. Raises OSError if the command cannot be started."""
        common = {
            **_without_settings_of_mxnet(),
            "DMLC_PS_ROOT_URI": _LOCAL,
            "DMLC_PS_ROOT_PORT": str(ports[0]),
            "DMLC_NODE_HOST": _LOCAL,
            "DMLC_NUM_WORKER": str(workers),
            "DMLC_NUM_SERVER": str(servers),
            "PYTHONUNBUFFERED": "1",
        }
        # MXNet is several times slower with more threads than cores.
        threads = max(1, cores.available() // workers)
        common.setdefault("OMP_NUM_THREADS", str(threads))
        # Importing MXNet makes this process a scheduler or server: see DMLC_ROLE.
        serve = [sys.executable, "-c", "import d2l_recsys.runtime.backend"]
        self._start("scheduler", serve, {**common, "DMLC_ROLE": "scheduler"})
        # Each process listens on its PORT. The scheduler assigns the ranks of one host
        # in the order of the ports, so the ranks are the numbers used here.
        names = [*(f"server {k}" for k in range(servers)), *map(str, range(workers))]
        for name, port in zip(names, ports[1:]):
            role, what = ("worker", command) if name.isdigit() else ("server", serve)
            self._start(name, what, {**common, "DMLC_ROLE": role, "PORT": str(port)})
        for (
            name,
            process,
        ) in self.processes.items():  # never fork after starting a thread
            for source, target in (
                (process.stdout, sys.stdout.buffer),
                (process.stderr, sys.stderr.buffer),
            ):
                reader = threading.Thread(
                    target=self._copy_lines,
                    args=(source, f"[{name}] ".encode(), target),
                )
                reader.daemon = True
                reader.start()
                self.readers.append(reader)

    def _start(
        self, name: str, command: Sequence[str], environment: Dict[str, str]
    ) -> None:
        self.processes[name] = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # only the launcher receives Ctrl-C
            preexec_fn=_exit_with_launcher(),
        )

    def _copy_lines(self, source: IO[bytes], prefix: bytes, target: IO[bytes]) -> None:
        for line in source:
            try:
                with self._writing:
                    target.write(prefix + line.rstrip(b"\n") + b"\n")
                    target.flush()
            except OSError:  # the reader has closed the pipe, as `| head` does
                # Discard the rest, which would fail again at the exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
                self.stop(signal.SIGPIPE)

    def wait(self) -> int:
        """Return 0 when all workers have succeeded, else the first other exit code.

        A process that was killed by a signal counts as 128 plus the signal's number.
        """
        workers = [p for name, p in self.processes.items() if name.isdigit()]
        while any(process.poll() is None for process in workers):
            if self.stopped_by:
                return _stopped(self.stopped_by)
            for name, process in self.processes.items():
                if process.poll():
                    return _failed(name, process)
            time.sleep(_PAUSE)
        for name, process in self.processes.items():
            if process in workers and process.returncode:
                return _failed(name, process)
        self._wait_for_all(_SHUTDOWN)
        return _stopped(self.stopped_by) if self.stopped_by else 0

    def _wait_for_all(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while any(process.poll() is None for process in self.processes.values()):
            if time.monotonic() > end:
                break
            time.sleep(_PAUSE)

    def end(self) -> None:
        """Stop all processes, including those that they have started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes.values():
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    continue
            self._wait_for_all(_GRACE)
        for reader in self.readers:
            reader.join(_GRACE)


def _options(arguments: List[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m d2l_recsys launch",
        usage="%(prog)s [-n N] [-s N] -- COMMAND [ARGUMENT ...]",
        description="Run COMMAND as several workers on this machine, with a parameter "
        "server. Each output line starts with the rank of its worker.",
        epilog="The exit code is 0 if all processes succeed. Otherwise it is the exit "
        "code of the first process that fails, and all others are stopped. If COMMAND "
        "is `python`, the launcher's own interpreter is used.",
    )
    parser.add_argument(
        "-n",
        dest="workers",
        type=positive,
        default=2,
        metavar="N",
        help="number of workers (default: 2)",
    )
    parser.add_argument(
        "-s",
        dest="servers",
        type=positive,
        default=1,
        metavar="N",
        help="number of servers (default: 1)",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    args.command = args.command[args.command[:1] == ["--"] :]
    if not args.command:
        parser.error("COMMAND is missing after --")
    if args.command[0] == "python":
        args.command[0] = sys.executable
    return args


def _without_settings_of_mxnet() -> Dict[str, str]:
    """Return the environment without the variables of MXNet's parameter server.

    An inherited DMLC_USE_KUBERNETES=1, for example, would make the scheduler listen on
    all addresses of the machine.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DMLC_", "PS_"))
    }


def _free_ports(count: int) -> List[int]:
    """Return free ports in ascending order."""
    taken = [socket.socket() for _ in range(count)]
    try:
        for one in taken:
            one.bind((_LOCAL, 0))
        return sorted(one.getsockname()[1] for one in taken)
    finally:
        for one in taken:
            one.close()


def _why_unusable(port: str) -> Optional[str]:
    """Return the reason why `port` cannot be used, or None."""
    if not (port.isdecimal() and 1 <= int(port) <= 65535):
        return "not a port number"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOCAL, int(port)))
        except OSError as error:
            return error.strerror
    return None


def _exit_with_launcher() -> Optional[Callable[[], None]]:
    """Return a function for the child, so that it dies if the launcher is killed."""
    if sys.platform != "linux":
        return None  # there the workers give up after D2L_RECSYS_PATIENCE_SECONDS
    libc, launcher = ctypes.CDLL(None), os.getpid()

    def request_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:  # the launcher was killed before the request
            os._exit(1)

    return request_signal


def _stopped(number: int) -> int:
    name = signal.Signals(number).name
    return _tell(f"stopping the job after {name}", 128 + number)


def _failed(name: str, process: subprocess.Popen) -> int:
    code = process.returncode
    if code < 0:
        how, code = f"was killed by {signal.Signals(-code).name}", 128 - code
    else:
        how = f"exited with code {code}"
    who = f"worker {name}" if name.isdigit() else name
    return _tell(f"{who} (process {process.pid}) {how}: stopping the job", code)


def _tell(text: str, code: int = 2) -> int:
    """Print a line on stderr and return the exit code."""
    print(f"launch: {text}", file=sys.stderr, flush=True)
    return code
