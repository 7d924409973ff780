"""Writing files so that a crash leaves the old one or the new one, never half of one."""

import contextlib
import errno
import functools
import glob
import json
import os
import platform
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from kerascxr.runs.locks import locked

_STEM = 40  # characters of a file's name in that of its partial file: names have a limit
_SUFFIX = 16  # likewise, of its suffix; a longer one is no format

_cleaned: set[Path] = set()  # folders in which this process has looked for partial files


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` that takes its place when the block ends well.

    Args:
        path: The file to be written. Its folder is made if it is missing.

    Yields:
        A path with the same suffix (libraries choose formats by it), in the same folder, so that
        the final rename is atomic. Its name has this machine and process: what killed processes
        left in the folder is removed when another one first writes there.

    Raises:
        OSError: Of the block, with the file's name where it had none (a full disk names no file).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_partials(path.parent)
    suffixes = ("".join(path.suffixes[-2:]), path.suffix, "")
    handle, name = tempfile.mkstemp(
        dir=path.parent,
        prefix=f".partial-{path.stem[:_STEM]}-",
        suffix=f".{_machine()}_{os.getpid()}"
        + next(suffix for suffix in suffixes if len(suffix) <= _SUFFIX),
    )
    os.close(handle)
    partial = Path(name)
    try:
        with naming(path):
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            partial.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def passing_file(folder: Path) -> Iterator[Path]:
    """Makes an empty file in a folder while the block runs: what has it has the same folder.

    Args:
        folder: The folder; it is made if it is missing.

    Yields:
        The file, of a new name. That of a killed process goes as ``replacing`` says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_left_partials(folder)
    suffix = f".{_machine()}_{os.getpid()}"
    handle, name = tempfile.mkstemp(dir=folder, prefix=".partial-shared-", suffix=suffix)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _remove_left_partials(folder: Path) -> None:
    """Removes the partial files of this machine's dead processes, once in each folder."""
    if folder in _cleaned:
        return
    _cleaned.add(folder)
    of_this_machine = re.compile(rf"\.partial-.*-\w{{8}}\.{_machine()}_(\d+)(\..*)?")
    for path in folder.glob(".partial-*"):
        found = of_this_machine.fullmatch(path.name)
        if found and path.is_file() and not psutil.pid_exists(int(found[1])):
            with contextlib.suppress(OSError):  # such as a folder that may only be read
                path.unlink()


@functools.cache
def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds a path to an ``OSError`` of the block that names no file, as that of a full disk.

    Args:
        path: What the block writes.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or isinstance(error, ChildProcessError):
            raise
        if error.errno is None:  # of HDF5
            raise OSError(f"{path} cannot be written: {error}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raises an error of TensorFlow's file system, however it is wrapped, as ``OSError``.

    Args:
        path: What the block writes, for the message.

    Raises:
        OSError: If the block raises an error that TensorFlow, or the operating system, caused.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not (isinstance(cause, OSError) or _of_tensorflow(cause)):
            cause = cause.__cause__ or cause.__context__
        if cause is None or isinstance(error, OSError):
            raise
        if isinstance(cause, OSError):
            code = cause.errno or errno.EIO
        else:
            code = _CODES.get(cause.error_code, errno.EIO)  # type: ignore[attr-defined]
        reason = str(cause) if code == errno.EIO else os.strerror(code)
        raise OSError(code, reason, str(path)) from error


_CODES = {8: errno.ENOSPC, 7: errno.EACCES}  # of tf.errors: RESOURCE_EXHAUSTED, PERMISSION_DENIED


def _of_tensorflow(error: BaseException) -> bool:
    return getattr(error, "error_code", None) is not None  # of tf.errors.OpError, not imported here


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON whole or not at all.

    Raises:
        ValueError: If ``value`` holds NaN or an infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


MARKER = ".kerascxr"
"""A file in every folder that this package may replace; it holds the folder's kind."""


def is_ours(path: Path, kind: str) -> bool:
    """Returns whether a folder has this package's marker of a kind."""
    marker = path / MARKER
    return marker.is_file() and marker.read_text(encoding="utf-8").strip() == kind


def mark(path: Path, kind: str) -> None:
    """Marks a folder as this package's, of a kind: later calls may replace it."""
    write_text(path / MARKER, kind + "\n")


def check_replaceable(path: Path, kind: str) -> None:
    """Checks that a folder may be written or replaced.

    Args:
        path: The folder.
        kind: What it is to hold, e.g. "report".

    Raises:
        ValueError: If it holds files and is not marked as a folder of that kind.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())) and not is_ours(path, kind):
        raise ValueError(
            f"{path} must be empty, missing, or a folder of kind {kind} written by kerascxr. It "
            "holds other files; move or delete it, or name another folder."
        )


def replace_folder(path: Path, fill: Callable[[Path], None], kind: str) -> None:
    """Fills a folder beside ``path`` and swaps it in when it is complete.

    A call that is killed leaves the old folder, the new one, or a swap that the next call
    completes. A folder without this package's marker is never replaced. Of two processes that
    write the same folder, one waits for the other; their lock file stays beside it.

    Args:
        path: The folder to be written; an old one of the same kind is removed after the swap.
        fill: Writes the content into the empty folder that it is given.
        kind: What the folder holds, e.g. "report".

    Raises:
        ValueError: See ``check_replaceable``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"Another process is writing {path}; waiting for it."
    with locked(path.with_name(f".{path.name}.writing.lock"), waiting):
        _replace(path, fill, kind)


def _replace(path: Path, fill: Callable[[Path], None], kind: str) -> None:
    new, old = (path.with_name(f".{age}-{path.name}") for age in ("new", "old"))
    _complete_swap(path, new, old, kind)
    check_replaceable(path, kind)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".partial-{path.name}-"))
    try:
        with naming(path):
            fill(partial)
        mark(partial, kind)
        partial.chmod(0o755)
        partial.rename(new)
        if path.exists():
            path.rename(old)
        new.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _complete_swap(path: Path, new: Path, old: Path, kind: str) -> None:
    """Finishes or undoes what a killed ``replace_folder`` left; nothing complete is lost."""
    if is_ours(new, kind) and not path.exists():
        new.rename(path)
    elif old.exists() and not path.exists():
        old.rename(path)
    random = "?" * 8  # as tempfile names them: those of "report-2" are not those of "report"
    for left in (new, old, *path.parent.glob(f".partial-{glob.escape(path.name)}-{random}")):
        if left.exists():
            shutil.rmtree(left, ignore_errors=True)
