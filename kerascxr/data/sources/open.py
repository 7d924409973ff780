"""Where X-rays come from: a folder, a CSV file, Kaggle, or the phantom."""

import difflib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerascxr.data.phantom.drawing import phantom_source
from kerascxr.data.remote import check_url, is_url, open_url
from kerascxr.data.sources.examples import Example, Rejected, Source
from kerascxr.data.sources.layouts import RADIOGRAPHY_NAME, open_path
from kerascxr.data.sources.paths import bad_source
from kerascxr.progress import ProgressBar

__all__ = ["Example", "Rejected", "Source", "open_source"]

KAGGLE_HANDLE = "tawsifurrahman/covid19-radiography-database"
KAGGLE_PAGE = f"https://www.kaggle.com/datasets/{KAGGLE_HANDLE}"
VARIABLE = "KERASCXR_DATA"
USUAL_PLACE = Path("data") / RADIOGRAPHY_NAME
WORDS = ("auto", "phantom", "phantom-marked", "kaggle")


def open_source(
    source: str, *, phantom_images: int, phantom_seed: int, only_tested: bool = False
) -> Source:
    """Lists the images of a source; none is opened yet.

    Args:
        source: One of

            - a folder: the COVID-19 Radiography Database, one sub-folder a class, ``images/`` and
              ``masks/``, or Montgomery or Shenzhen as downloaded;
            - a CSV file, see ``open_csv``;
            - the URL of such a folder or file, e.g. ``s3://bucket/folder``, see ``RemotePath``;
            - "kaggle": the radiography database, downloaded (once) by kagglehub;
            - "phantom": drawn X-rays; "phantom-marked": the same with a planted shortcut;
            - "auto": the folder or file in the environment variable KERASCXR_DATA if that is set,
              else ``data/COVID-19_Radiography_Dataset`` if there, else the phantom; the source's
              ``notice`` says which.

            A folder that is called like one of the words is written ``./phantom``.
        phantom_images: How many images the phantom has.
        phantom_seed: What they are drawn from.
        only_tested: Whether the images are for a finished model: then one class will do, or none.

    Raises:
        ValueError: If there is no such source or it cannot be used; one line.
    """
    if source in ("phantom", "phantom-marked"):
        return phantom_source(phantom_images, phantom_seed, source == "phantom-marked")
    if source == "kaggle":
        return _download()
    if source == "auto":
        return _choose(phantom_images, phantom_seed)
    return open_path(_existing(source), only_tested)


def choose_source(source: str) -> str:
    """Returns the source that "auto" means here; another source as it is."""
    if source != "auto":
        return source
    return _in_variable() or (USUAL_PLACE.as_posix() if USUAL_PLACE.is_dir() else "phantom")


def _in_variable() -> str:
    """Returns the source in the environment variable; "" without one, or if it is "auto" too."""
    place = os.environ.get(VARIABLE, "").strip()
    return "" if place == "auto" else place


def check_source(source: str) -> None:
    """Checks that a source exists, without listing its images.

    Raises:
        ValueError: As ``open_source``, if it is a path where nothing is.
    """
    place = choose_source(source)
    if place in WORDS:
        return
    try:
        if is_url(place):
            _require(place, check_url)
        else:
            _existing(place)
    except ValueError as error:
        raise ValueError(_by_variable(error) if source == "auto" else str(error)) from None


def _choose(phantom_images: int, phantom_seed: int) -> Source:
    place = choose_source("auto")
    by_variable = bool(_in_variable())
    try:
        chosen = open_source(place, phantom_images=phantom_images, phantom_seed=phantom_seed)
    except ValueError as error:
        raise ValueError(_by_variable(error) if by_variable else str(error)) from error
    if by_variable:
        return replace(chosen, notice=f"Data: {place}, as {VARIABLE} says. {chosen.notice}".strip())
    if place != "phantom":
        return replace(chosen, notice=f"Data: {place}, found there.")
    notice = (
        f"Data: {len(chosen.examples)} drawn phantom images, as no real ones were found; for real "
        f"ones give --data.source kaggle, or unpack {KAGGLE_PAGE} as "
        f"{USUAL_PLACE.as_posix()} (or set {VARIABLE} to where it is)."
    )
    return replace(chosen, notice=notice)


def _by_variable(error: ValueError) -> str:
    return f"{VARIABLE} is set: {error}"


def _existing(source: str) -> Path:
    if is_url(source):
        return _require(source, open_url)
    path = Path(source).expanduser()
    if not source.strip():
        raise bad_source(source, "be a folder, a CSV file or a word", _known_words())
    if path.exists():
        return path
    raise bad_source(source, "exist", _near(path))


def _require(url: str, function: Callable[[str], Any]) -> Any:
    try:
        return function(url)
    except FileNotFoundError:
        raise bad_source(url, "exist", "Check the address: nothing is there") from None


def _near(path: Path) -> str:
    """What may have been meant by a path that is not there."""
    parent = path.parent
    if not parent.is_dir():
        return f"There is no folder {str(parent)!r} either"
    siblings = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
    words = list(WORDS) if parent == Path() else []
    near = difflib.get_close_matches(path.name, siblings + words, n=1)
    if not near:
        # Case alone may differ by more than the letters' likeness allows.
        same = [name for name in siblings if name.casefold() == path.name.casefold()]
        near = same[:1]
    if not near:
        return _known_words()
    meant = near[0] if near[0] in words else str(parent / near[0])
    return f"Did you mean {meant!r}? {_known_words()}"


def _known_words() -> str:
    return f"Give a folder, a .csv file, a URL of one, or one of: {', '.join(WORDS)}"


def _download() -> Source:
    hint = (
        f"Without a connection, download {KAGGLE_PAGE} elsewhere, unpack it and give its folder, "
        "or use --data.source phantom"
    )
    try:
        import kagglehub

        clients = getattr(kagglehub, "clients", None)
        if clients is not None and hasattr(clients, "tqdm"):
            clients.tqdm = ProgressBar  # its own bar is drawn with --quiet too
        folder = kagglehub.dataset_download(KAGGLE_HANDLE)
    except ImportError:
        raise ValueError("kagglehub must be installed. Run pip install kagglehub.") from None
    except Exception as error:  # requests, urllib3, kagglehub and the disk each have their own
        text = " ".join(str(error).split())[:160] or "no reason given"
        raise ValueError(
            f"the Kaggle download failed ({type(error).__name__}: {text}). {hint}."
        ) from error
    return replace(open_path(Path(folder)), name="kaggle")
