"""The files of the browser page's folder. This module imports no TensorFlow."""

import json
from pathlib import Path

PAGE = Path(__file__).parent / "web_page"
"""The page as it was built from ``web/``."""

FOLDER, KIND = "web", "web page"
"""The page's folder in a model's folder, and its kind for ``replace_folder``."""

LISTING = "files.json"
CARD, CLASSIFIER, LUNGS = "model/model.json", "model/classifier.onnx", "model/lungs.onnx"


def page_files() -> list[Path]:
    """Returns the built page's files.

    Raises:
        ValueError: If this installation has none.
    """
    if not (PAGE / "index.html").exists():
        raise ValueError(
            f"kerascxr must be installed with its browser page. {PAGE} has no index.html; install "
            "the package again, or build it: see web/ in the checkout."
        )
    return sorted(path for path in PAGE.iterdir() if path.is_file())


def find_page(path: Path) -> Path | None:
    """Returns the page's folder at a path or in the model's folder there; None if it is neither."""
    for place in (path, path / FOLDER):
        if (place / LISTING).is_file() and (place / CARD).is_file():
            return place
    return None


def page_title(page: Path) -> str:
    """Returns the name of a page's model, or the folder's if its description is damaged."""
    try:
        return str(json.loads((page / CARD).read_text(encoding="utf-8"))["name"])
    except (ValueError, KeyError, TypeError):
        return page.name


def listed_files(place: Path) -> frozenset[str]:
    """Returns the files of a page, relative, as its listing has them, the listing included.

    Raises:
        ValueError: If the listing is damaged or a file is missing.
    """
    try:
        names = json.loads((place / LISTING).read_text(encoding="utf-8"))["files"]
        missing = [name for name in names if not (place / name).is_file()]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place / LISTING} is damaged ({error}). Export the run again.") from None
    if missing:
        raise ValueError(f"{place} must hold {missing[0]}. Export the run again.")
    return frozenset([*names, LISTING])
