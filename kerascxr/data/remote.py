"""Files on object storage and on web servers, as paths: s3://, gs://, https:// and others.

A ``RemotePath`` is used like the ``Path`` of a local file, as far as sources and ingest need it:
names, folders, sizes and contents. fsspec talks to the servers. A folder is listed once, when it is
opened; later questions about its files are answered from that list.
"""

import hashlib
import importlib
import io
import os
import re
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

INSTALL = "pip install 'kerascxr[remote]'"
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_WEB = ("http", "https")
# Where fsspec itself does not have the protocol.
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs"}
_PACKAGES |= dict.fromkeys(_WEB, "aiohttp")
# What a file system says of a file's content or time, by the names that each uses.
_STATES: tuple[str, ...] = ("ETag", "etag", "md5Hash", "Content-MD5", "content_md5", "Digest")
_STATES += ("crc32c", "generation", "LastModified", "last_modified", "Last-Modified", "updated")
_STATES += ("mtime", "created")
_AT_ONCE = 32
_FOLDER = -1

_local = threading.local()


class RemoteError(ValueError):
    """A server that cannot be asked, or that does not answer; one line that names the URL."""


class Entry(NamedTuple):
    """What is known of a file or folder.

    Attributes:
        name: As the file system calls it.
        size: In bytes, None where the server does not say, ``_FOLDER`` for a folder.
        state: A number that changes with the file; 0 where the server says nothing that would.
    """

    name: str
    size: int | None
    state: int


_entries: dict[str, Entry] = {}  # by URL
_children: dict[str, list[str]] = {}  # names in a folder, by its URL


def is_url(text: object) -> bool:
    """Returns whether a text is the URL of a remote file or folder."""
    found = _URL.match(str(text))
    return found is not None and found[1].lower() != "file"


class RemotePath(type(Path())):  # type: ignore[misc]
    """The path of a remote file or folder, whose text is its URL."""

    __slots__ = ()

    def __str__(self) -> str:
        protocol, *rest = self.parts
        return f"{protocol}//{'/'.join(rest)}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __fspath__(self) -> str:
        return str(self)

    @property
    def protocol(self) -> str:
        """What is before the colon, e.g. "s3"."""
        return self.parts[0].removesuffix(":").lower()

    def resolve(self, strict: bool = False) -> "RemotePath":
        """Returns the path itself."""
        del strict
        return self

    absolute = expanduser = resolve

    def exists(self, **options: Any) -> bool:
        """Returns whether the list of an opened folder, or ``look_up_files``, has it."""
        del options
        return str(self) in _entries

    def is_dir(self, **options: Any) -> bool:
        """Returns whether it is a folder, see ``exists``."""
        del options
        return str(self) in _children

    def is_file(self, **options: Any) -> bool:
        """Returns whether it is a file, see ``exists``."""
        del options
        return self.exists() and not self.is_dir()

    def iterdir(self) -> Iterator["RemotePath"]:
        """Yields what is in a folder."""
        return (self / name for name in _children.get(str(self), ()))

    def stat(self, **options: Any) -> os.stat_result:
        """Returns the kind, a number for the path itself, and the size.

        Raises:
            FileNotFoundError: If it does not exist.
        """
        del options
        entry = _entries.get(str(self))
        if entry is None:
            raise FileNotFoundError(str(self))
        kind = stat.S_IFDIR if self.is_dir() else stat.S_IFREG
        size = len(self.read_bytes()) if entry.size is None else max(entry.size, 0)
        return os.stat_result((kind, _number(str(self)), 0, 1, 0, 0, size, 0, 0, 0))

    def open(self, mode: str = "r", buffering: int = -1, encoding=None, errors=None, newline=None):
        """Opens a copy in memory for reading, see ``read_bytes``."""
        del buffering
        content = io.BytesIO(self.read_bytes())
        return content if "b" in mode else io.TextIOWrapper(content, encoding, errors, newline)

    def read_bytes(self) -> bytes:
        """Fetches the content.

        Raises:
            FileNotFoundError: If it does not exist.
            RemoteError: If the server does not send it.
        """
        kept = getattr(_local, "kept", None)
        if kept is not None and str(self) in kept:
            return kept[str(self)]
        entry = _entries.get(str(self))
        with _asking(self):
            content = _filesystem(self).cat_file(str(self) if entry is None else entry.name)
        if kept is not None:
            kept[str(self)] = content
        return content


def join(folder: Path, name: str) -> Path:
    """Returns a path that a list names: a URL, or relative to a folder, which may be remote."""
    if is_url(name):
        return RemotePath(name)
    if not isinstance(folder, RemotePath):
        return folder / name
    protocol, *rest = (folder / name).parts  # no server has folders called ..
    return RemotePath(f"{protocol}//{os.path.normpath('/'.join(rest))}")


@contextmanager
def fetched_once() -> Iterator[None]:
    """Within it, this thread fetches each file once, however often it is opened."""
    _local.kept = {}
    try:
        yield
    finally:
        _local.kept = None


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """Gives a path that any library can open: the path itself, or that of a temporary copy."""
    if not isinstance(path, RemotePath):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(path.read_bytes())
        yield copy


def check_url(url: str) -> None:
    """Checks that a URL's server answers and has it.

    Raises:
        RemoteError: If a package is missing, the protocol is unknown or the server cannot be asked.
        FileNotFoundError: If there is nothing.
    """
    path = RemotePath(url)
    with _asking(path):
        _filesystem(path).info(url)


def open_url(url: str) -> RemotePath:
    """Lists a folder and all below it anew; of a ``.csv`` file, only that it is there.

    Raises:
        RemoteError: As ``check_url``.
        FileNotFoundError: If there is nothing.
    """
    root = RemotePath(url)
    for known in (_entries, _children):
        for place in [place for place in known if f"{place}/".startswith(f"{root}/")]:
            del known[place]
    with _asking(root):
        files = _filesystem(root)
        files.invalidate_cache()
        if root.suffix.lower() == ".csv":
            _entries[str(root)] = _entry(files.info(str(root)))
            return root
        top = files._strip_protocol(str(root)).rstrip("/") + "/"
        found = _web_pages(files, top) if root.protocol in _WEB else files.find(top, detail=True)
        if not found:  # a store without folders has no empty ones either
            raise FileNotFoundError(str(root))
    _add_folder(root, root)
    for name, info in found.items():
        below = name.removeprefix(top)
        # A store may have an empty object for a folder, which is none of its files.
        is_folder = info.get("type") == "directory" or name.endswith("/")
        if below and name.startswith(top) and not is_folder:
            path = root / (unquote(below) if root.protocol in _WEB else below)
            _add_folder(path.parent, root)
            if str(path) not in _entries:
                _children[str(path.parent)].append(path.name)
            _entries[str(path)] = _entry(info)
    return root


def look_up_files(paths: Iterable[Path], anew: bool = False) -> None:
    """Asks for the sizes and states of remote files that no list has, or has without them.

    Args:
        paths: The files; local ones are passed over.
        anew: Whether to ask for all of them, also for those that a list has.
    """
    asked = [path for path in dict.fromkeys(paths) if isinstance(path, RemotePath)]
    if anew:
        for path in {path.protocol: path for path in asked}.values():
            with _asking(path):
                _filesystem(path).invalidate_cache()
    else:
        asked = [path for path in asked if not _is_known(_entries.get(str(path)))]

    def ask(path: RemotePath) -> None:
        entry = _entries.get(str(path))
        try:
            with _asking(path):
                info = _filesystem(path).info(str(path) if entry is None else entry.name)
            if info.get("type") != "directory":
                _entries[str(path)] = _entry(info)
        except FileNotFoundError:
            _entries.pop(str(path), None)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(ask, asked):
            pass


def known_entries(paths: Iterable[Path]) -> tuple[tuple[str, Entry], ...]:
    """Returns what lists have of remote files, for ``add_entries`` of another process."""
    urls = map(str, paths)
    return tuple((url, _entries[url]) for url in urls if url in _entries)


def add_entries(entries: Iterable[tuple[str, Entry]]) -> None:
    """Makes files known that another process has listed: a server may call them otherwise."""
    _entries.update(entries)


def state_of(path: Path) -> tuple[int, ...]:
    """Returns numbers that change with a file: of a remote one after ``look_up_files``.

    Returns:
        Size in bytes, and time of the last change of the content in ns, and of the file, or what
        a server says in their place; (-1, -1, -1) for a file that is gone.
    """
    if isinstance(path, RemotePath):
        entry = _entries.get(str(path))
        return (-1, -1, -1) if entry is None else (entry.size or 0, entry.state)
    try:
        found = path.stat()
    except OSError:
        return (-1, -1, -1)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_known(entry: Entry | None) -> bool:
    return entry is not None and (entry.size == _FOLDER or bool(entry.state))


def _add_folder(path: RemotePath, root: RemotePath) -> None:
    if str(path) in _children:
        return
    _children[str(path)] = []
    _entries[str(path)] = Entry(str(path), _FOLDER, 0)
    if path != root:
        _add_folder(path.parent, root)
        _children[str(path.parent)].append(path.name)


def _entry(info: dict[str, Any]) -> Entry:
    known = [f"{name}={info[name]}" for name in _STATES if info.get(name)]
    return Entry(info["name"], info.get("size"), _number("\n".join(known)) if known else 0)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _web_pages(files: Any, top: str) -> dict[str, dict[str, Any]]:
    """Follows the links of index pages to what is below a folder, not to what is beside it."""
    found: dict[str, dict[str, Any]] = {}
    waiting, asked = [top], {top}
    while waiting:
        for info in files.ls(waiting.pop(), detail=True):
            name = info["name"]
            if not name.startswith(top) or "?" in name or "#" in name:
                continue
            if not name.endswith("/"):
                found[name] = info
            elif name not in asked:
                asked.add(name)
                waiting.append(name)
    return found


def _filesystem(path: RemotePath) -> Any:
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        raise RemoteError(f"fsspec must be installed for {path}. Run {INSTALL}.") from None
    try:
        return fsspec.filesystem(path.protocol)
    except ImportError as error:
        package = _PACKAGES.get(path.protocol)
        hint = f"Run pip install {package}" if package else _line(error)
        raise RemoteError(
            f"{package or 'a package'} must be installed for {path}. {hint}."
        ) from error
    except ValueError:
        raise RemoteError(
            "the protocol of a URL must be one that fsspec knows, such as s3, gs, https or abfs. "
            f"Got {path}."
        ) from None


@contextmanager
def _asking(path: RemotePath) -> Iterator[None]:
    """Turns what file systems raise into one line; each has errors of its own."""
    try:
        yield
    except (FileNotFoundError, RemoteError):
        raise
    except Exception as error:
        raise RemoteError(
            f"{path} must be readable. Got {type(error).__name__}: {_line(error)}. Check the "
            "address, the connection and the credentials, and give the command again."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or "no reason given"
