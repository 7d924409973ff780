"""onnxruntime-web, which runs the browser page's model: fetched once from npm, checked, cached."""

import os
import tarfile
from pathlib import Path

from kerascxr.models.download import download_file, file_digest
from kerascxr.runs.atomic import replacing
from kerascxr.runs.cache import CacheEntry
from kerascxr.serving.web_names import find_page, page_title

VERSION = "1.30.0"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
SHA512 = (  # npm's integrity of it
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
_NAME = "ort-wasm-simd-threaded"
FILES = {
    f"{_NAME}.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    f"{_NAME}.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""The files that the page loads, below the tarball's ``package/dist``, and their SHA-256."""


def cache_folder() -> Path:
    """Returns where fetched files and pages are kept: beside Keras' own, see ``KERAS_HOME``."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "kerascxr"


def list_pages() -> list[CacheEntry]:
    """Returns the runtimes that were fetched and the pages that ``kerascxr app`` exported."""
    folder = cache_folder()
    entries = [
        CacheEntry.of("pages", path, [path], path.name.replace("web-", "web ", 1))
        for path in folder.glob("onnxruntime-web-*")
    ]
    for path in (folder / "pages").glob("[!.]*"):
        page = find_page(path)
        about = page_title(page) if page else "unfinished"
        entries.append(CacheEntry.of("pages", path, [path], about, usable=page is not None))
    return sorted(entries, key=lambda entry: entry.base)


def runtime_files(tarball: Path | None = None) -> dict[str, Path]:
    """Returns the runtime's files; fetches them first if they are not cached.

    Args:
        tarball: The package's tarball, as ``npm pack`` gives it; None to download it.

    Returns:
        Name -> path, of ``FILES``.

    Raises:
        ConnectionError: If they are not cached and the registry cannot be reached.
        ValueError: If the tarball is not the published one.
    """
    folder = cache_folder() / f"onnxruntime-web-{VERSION}"
    paths = {name: folder / name for name in FILES}
    if all(path.is_file() and file_digest(path) == FILES[name] for name, path in paths.items()):
        return paths
    if tarball is not None:
        found = file_digest(tarball, "sha512") if tarball.is_file() else "no file"
        if found != SHA512:
            raise ValueError(
                f"{tarball} must be onnxruntime-web-{VERSION}.tgz as npm has it (SHA-512 "
                f"{SHA512[:12]}...). Got {found[:12]}."
            )
        _unpack(tarball, paths)
        return paths
    fetched = folder / Path(URL).name
    try:
        download_file(
            URL,
            fetched,
            "sha512",
            SHA512,
            f"for onnxruntime-web {VERSION}, which runs the model in the browser. Run `npm pack "
            f"onnxruntime-web@{VERSION}` on a machine with a network and give its file with "
            "--onnxruntime FILE",
        )
        _unpack(fetched, paths)
    finally:
        fetched.unlink(missing_ok=True)
    return paths


def _unpack(tarball: Path, paths: dict[str, Path]) -> None:
    """Writes the runtime's files out of a tarball whose digest is known to be right."""
    with tarfile.open(tarball) as archive:
        for name, path in paths.items():
            member = archive.extractfile(f"package/dist/{name}")
            if member is None:
                raise ValueError(f"{tarball} must hold package/dist/{name}.")
            with replacing(path) as partial:
                partial.write_bytes(member.read())
