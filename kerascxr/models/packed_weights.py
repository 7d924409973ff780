"""Weights that come with the package: float16 arrays in one file, and a card that describes it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerascxr.models.download import file_digest
from kerascxr.runs.atomic import replacing


def write_weights(path: Path, arrays: Mapping[str, np.ndarray], max_bytes: int) -> None:
    """Writes arrays as float16.

    Args:
        path: A ``.npz`` file.
        arrays: Names to arrays.
        max_bytes: The largest size of the file.

    Raises:
        ValueError: If a weight is outside of float16's range, or the file would be too large.
    """
    with np.errstate(over="ignore"):  # reported below
        rounded = {name: np.asarray(value, np.float16) for name, value in arrays.items()}
    for name, value in rounded.items():
        if not np.isfinite(value).all():
            raise ValueError(
                f"weights must be in the range of float16. Got {name} up to "
                f"{np.abs(arrays[name]).max():.3g}."
            )
    with replacing(path) as partial:
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=True, **rounded)
        if partial.stat().st_size > max_bytes:
            raise ValueError(
                f"the weights must take at most {max_bytes / 1e6:.0f} MB. Got "
                f"{partial.stat().st_size / 1e6:.1f} MB."
            )


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Reads what ``write_weights`` wrote, as float32."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def read_card(folder: Path, card: str, files: tuple[str, ...]) -> dict[str, Any]:
    """Reads a card and checks that it describes the files beside it.

    Args:
        folder: Where they are.
        card: The card's file name; its ``sha256`` has the digest of each file.
        files: The files' names.

    Returns:
        The card.

    Raises:
        ValueError: If a file is absent or is not the one that the card describes; the message says
            only what is wrong.
    """
    for name in (card, *files):
        if not (folder / name).is_file():
            raise ValueError(f"it has no {name}")
    try:
        found = json.loads((folder / card).read_text(encoding="utf-8"))
        described = {name: found["sha256"][name] for name in files}
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{card} is damaged") from None
    for name, digest in described.items():
        if file_digest(folder / name) != digest:
            raise ValueError(f"{name} is not the file that {card} describes")
    return found
