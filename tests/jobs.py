"""Start the launcher in tests, and find the processes that it has started."""

import contextlib
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).parent.parent
_MARK = "TEST_JOB"


class Job:
    """A launcher and all its processes, which are marked by an environment variable."""

    def __init__(self, *arguments, **environment):
        self.mark = uuid.uuid4().hex
        environment = {"OMP_NUM_THREADS": "1", **environment, _MARK: self.mark}
        self.launcher = subprocess.Popen(
            [sys.executable, "-m", "d2l_recsys", "launch", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.launcher.kill()
        self.launcher.communicate(timeout=600)
        for process in self.processes():
            os.kill(process, 9)

    def finish(self, timeout=600):
        """Return exit code, stdout and stderr. No process may be left running."""
        out, err = self.launcher.communicate(timeout=timeout)
        print(err)  # pytest shows it whole if the test fails
        assert self.processes() == []
        return self.launcher.returncode, out, err

    def processes(self, role=None):
        """Return all processes except the launcher, sorted by port."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                text = (folder / "environ").read_bytes().decode(errors="replace")
            except OSError:  # it has ended, or belongs to someone else
                continue
            environment = dict(x.split("=", 1) for x in text.split("\0") if "=" in x)
            if environment.get(_MARK) != self.mark:
                continue
            mine = environment.get("DMLC_ROLE")
            if mine and role in (None, mine):
                found.append((int(environment.get("PORT", 0)), int(folder.name)))
        return [process for _, process in sorted(found)]

    def wait_for(self, path, seconds=600):
        """Wait until a file exists."""
        end = time.monotonic() + seconds
        while not path.exists():
            assert self.launcher.poll() is None, self.launcher.communicate()
            assert time.monotonic() < end, f"no {path}"
            time.sleep(0.02)


def listening(process):
    """Return the addresses on which a process accepts TCP connections."""
    links = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            links.append(os.readlink(link))
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in links:  # TCP_LISTEN
                found.add(local.split(":")[0])
    return found


def run_job(*arguments, **environment):
    """Run a job until it ends, and return exit code, stdout and stderr."""
    with Job(*arguments, **environment) as job:
        return job.finish()


def chapter(*arguments, cwd=ROOT, **environment):
    """Run a module of the scripts, and return its exit code and output."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=cwd,
        env={**os.environ, **environment},
    )
