"""Downloads of published weights: a file is stored only if it is whole and has the right digest."""

import contextlib
import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

from kerascxr.models.backbones import BACKBONES, PublishedWeights
from kerascxr.progress import ProgressBar
from kerascxr.runs.atomic import replacing
from kerascxr.runs.cache import CacheEntry

_TIMEOUT_SECONDS = 30.0  # without a byte
_CHUNK_BYTES = 1 << 18
_MAX_BYTES = 1 << 30


def cached_path(published: PublishedWeights) -> Path:
    """Returns the path of the cached file, below Keras' own ``KERAS_HOME`` or ``~/.keras``."""
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    return home / "models" / published.file_name


def is_cached(published: PublishedWeights) -> bool:
    """Whether the cached file exists and has the published digest."""
    path = cached_path(published)
    return path.is_file() and file_digest(path, published.algorithm).startswith(published.digest)


def is_reachable(url: str, timeout_seconds: float = 3.0) -> bool:
    """Whether a server answers a request for the URL in time."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds):
            return True
    except (OSError, ValueError, http.client.HTTPException):  # time-outs are OSErrors
        return False


def fetch(published: PublishedWeights) -> Path:
    """Returns the cached file; downloads it first, with a progress bar, if it is not cached.

    Raises:
        ConnectionError: If the download fails.
        ValueError: If the downloaded file does not have the published digest.
    """
    path = cached_path(published)
    if is_cached(published):
        with contextlib.suppress(OSError):  # such as a folder that may only be read
            path.touch()  # the time of the last use
        return path
    purpose = (
        "for weights 'imagenet'. Download the file elsewhere and give its path, or use weights "
        "'none'"
    )
    download_file(published.url, path, published.algorithm, published.digest, purpose)
    return path


def download_file(url: str, path: Path, algorithm: str, known: str, purpose: str) -> None:
    """Downloads a file, with a progress bar; nothing is stored unless its digest is right.

    Args:
        url: Where it is.
        path: Where to.
        algorithm: The digest's, as ``hashlib`` names it.
        known: The digest, or its beginning.
        purpose: "for ..." and what else to do, for the message.

    Raises:
        ConnectionError: If the download fails.
        ValueError: If the file does not have the digest.
    """
    digest = hashlib.new(algorithm)
    received = 0
    try:
        with (
            replacing(path) as partial,
            urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response,
            partial.open("wb") as file,
            ProgressBar(
                total=int(response.headers.get("Content-Length") or 0) or None,
                desc=path.name,
                unit="B",
                unit_scale=True,
            ) as bar,
        ):
            while chunk := response.read(_CHUNK_BYTES):
                received += len(chunk)
                if received > _MAX_BYTES:
                    raise ValueError(f"{url} must have at most {_MAX_BYTES >> 20} MiB.")
                digest.update(chunk)
                file.write(chunk)
                bar.update(len(chunk))
            if not digest.hexdigest().startswith(known):
                raise ValueError(
                    f"{url} must have the {algorithm} digest {known}. Got {digest.hexdigest()} "
                    f"after {received} bytes: a broken download, or not the published file."
                )
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ConnectionError(
            f"{url} must be reachable, and {path.parent} writable, {purpose} ({reason})."
        ) from error


def list_weights() -> list[CacheEntry]:
    """Returns the cached files of published weights."""
    published = {item.name: item.imagenet for item in BACKBONES.values() if item.imagenet}
    paths = {name: cached_path(weights) for name, weights in published.items()}
    return [
        CacheEntry.of("weights", path, [path], name)
        for name, path in paths.items()
        if path.exists()
    ]


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Returns a file's digest in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
