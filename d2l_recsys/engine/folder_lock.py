"""Lock a folder, so that two processes never write to it at the same time."""

import fcntl
import os
import weakref
from pathlib import Path
from typing import Optional


class FolderLock:
    """A lock on a folder, held until this object is deleted or the process ends.

    The system releases the lock of a process that was killed. No file is left behind.
    """

    def __init__(self, descriptor: int):
        self.release = weakref.finalize(self, os.close, descriptor)


# The locks of this process by folder: its trainings may share a folder in turn.
_held: "weakref.WeakValueDictionary[tuple, FolderLock]" = weakref.WeakValueDictionary()


def lock_folder(folder: Path) -> Optional[FolderLock]:
    """Lock `folder` against other processes; return the lock.

    Return None on a file system without locks, such as some network file systems.
    Raises BlockingIOError if another process holds the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    status = os.fstat(descriptor)
    place = status.st_dev, status.st_ino
    lock = _held.get(place)
    if lock is not None:
        os.close(descriptor)
        return lock
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return _held.setdefault(place, FolderLock(descriptor))


def _release_in_child() -> None:
    """Close a forked process's copies, which would outlive the lock's owner."""
    for lock in list(_held.values()):
        lock.release()
    _held.clear()


os.register_at_fork(after_in_child=_release_in_child)
