"""Commands run in forked processes: started warm, timed by their own CPU time, killed for good.

Importing TensorFlow takes longer than most of the commands here. So the caller imports what the
commands import, runs no TensorFlow operation, and forks: a child is a whole process with a context,
threads and files of its own, and SIGKILL ends it as it ends any other.
"""

import ctypes
import os
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CREATE, _CLOSE_WRITE, _MOVED_TO, _DELETE, _IS_DIR = 0x100, 0x8, 0x80, 0x200, 0x40000000
_MASK = _CREATE | _CLOSE_WRITE | _MOVED_TO | _DELETE


@dataclass(frozen=True)
class Moment:
    """When a process is killed.

    Attributes:
        cpu_seconds: Its own CPU time at which it is killed, or None.
        change: The number of the change in its folder, from 1, after which it is killed, or None.
        delay: Seconds to wait after the change.
    """

    cpu_seconds: float | None = None
    change: int | None = None
    delay: float = 0.0


class Child:
    """A command in a process, and a process group, of its own.

    Args:
        run: The command; returns its exit code.
        cwd: Its working directory.
        log: What it prints is appended here.
        user: Runs as this user id, if it is given.
    """

    def __init__(self, run: Callable[[], int], cwd: Path, log: Path, user: int | None = None):
        sys.stdout.flush()
        sys.stderr.flush()
        self.code: int | None = None
        self.cpu_seconds = 0.0
        self.pid = os.fork()
        if self.pid:
            return
        code = 70
        try:
            os.setsid()
            os.chdir(cwd)
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            code = run()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def poll(self) -> bool:
        """Returns whether it has ended; sets ``code`` (negative: the signal) and CPU seconds."""
        if self.code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.cpu_seconds = usage.ru_utime + usage.ru_stime
        return self.code is not None

    def wait(self, seconds: float) -> int:
        """Returns its exit code; kills it, and returns -SIGKILL, after so many seconds."""
        until = time.monotonic() + seconds
        while not self.poll():
            if time.monotonic() > until:
                self.kill()
            time.sleep(0.005)
        assert self.code is not None
        return self.code

    def used(self) -> float:
        """Returns the CPU seconds that it has used so far."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
        except (FileNotFoundError, ProcessLookupError):
            return self.cpu_seconds
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / _TICKS

    def kill(self) -> None:
        """Kills its whole process group."""
        if self.code is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not become a group of its own yet
                os.kill(self.pid, signal.SIGKILL)

    def kill_at(self, moment: Moment, changes: "Changes", seconds: float) -> bool:
        """Kills it at a moment.

        Args:
            moment: When.
            changes: Those of its folder, watched since before it began.
            seconds: The longest that is waited.

        Returns:
            Whether it was killed at that moment; False if it ended before, or hung and was killed.
        """
        until, seen = time.monotonic() + seconds, 0
        while not self.poll():
            if moment.change is not None:
                seen += changes.count(0.01)
                due = seen >= moment.change
                if due and moment.delay:
                    time.sleep(moment.delay)
            else:
                time.sleep(0.003)
                due = moment.cpu_seconds is not None and self.used() >= moment.cpu_seconds
            hangs = time.monotonic() > until
            if due or hangs:
                self.kill()
                return self.wait(10) == -signal.SIGKILL and not hangs
        return False


class Changes:
    """Counts files created, written, renamed or removed below a folder, by inotify.

    Args:
        folder: The folder; folders made in it later are watched from then on.

    Attributes:
        names: The names of the files changed so far.
    """

    def __init__(self, folder: Path):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1 failed")
        self._folders: dict[int, Path] = {}
        self.names: set[str] = set()
        self._watch(folder)

    def __enter__(self) -> "Changes":
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)

    def count(self, seconds: float) -> int:
        """Waits for changes for at most so many seconds; returns how many there were."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return 0
        data, position, number = os.read(self._descriptor, 65536), 0, 0
        while position < len(data):
            watch, mask, _, size = struct.unpack_from("iIII", data, position)
            name = data[position + 16 : position + 16 + size].rstrip(b"\0").decode()
            position += 16 + size
            number += 1
            self.names.add(name)
            if mask & _IS_DIR and mask & (_CREATE | _MOVED_TO) and watch in self._folders:
                self._watch(self._folders[watch] / name)
        return number

    def _watch(self, folder: Path) -> None:
        for path, _, _ in os.walk(folder):  # which passes over what is removed meanwhile
            watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), _MASK)
            if watch >= 0:
                self._folders[watch] = Path(path)
