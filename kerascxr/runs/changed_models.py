"""Whether the models that a finished run began with or used are still in their files."""

import hashlib
import json
from pathlib import Path
from typing import Any

from kerascxr.config import PACKAGED
from kerascxr.parsing import read_yaml


def changed_models(config: Any, run: Path) -> list[Path]:
    """Returns the files that hold another model than when a run was trained.

    Args:
        config: What a command asks for: the starting weights, and the run that finds the lungs.
        run: The folder of a finished run of the same options.

    Returns:
        The files. One that is gone, or whose digest the run did not record, is not among them.
    """
    resolved = read_yaml(run / "config.yaml") if (run / "config.yaml").exists() else {}
    data = json.loads((run / "metrics.json").read_text(encoding="utf-8")).get("data", {})
    known: dict[Path, str | None] = {}
    weights, lungs = getattr(config, "weights", None), getattr(config, "lungs", None)
    if weights is not None and weights == resolved.get("weights"):
        known[Path(weights)] = resolved.get("weights_sha256")
    if lungs not in (None, PACKAGED):
        known[lungs / "model.keras"] = data.get("lungs_sha256")
    return [path for path, digest in known.items() if digest and _digest(path, digest) != digest]


def _digest(path: Path, otherwise: str) -> str:
    if not path.is_file():
        return otherwise
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
