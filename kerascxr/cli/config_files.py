"""The packaged configs: ``--config study`` means configs/study.yaml, wherever one is."""

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import kerascxr
from kerascxr.names import look_up


def config_files() -> dict[str, Path]:
    """Returns the packaged configs: name -> file, sorted by name.

    They are beside the package's modules once it is installed, and beside the package in a
    checkout.
    """
    package = Path(kerascxr.__file__).parent
    found = list((package / "configs").glob("*.yaml")) or list(
        (package.parent / "configs").glob("*.yaml")
    )
    return {path.stem: path for path in sorted(found)}


def find_config(name: str) -> Path:
    """Returns the file that ``--config NAME`` means: a file of that path, or a packaged config.

    Raises:
        ValueError: If there is neither.
    """
    path = Path(name)
    if path.is_file() or path.suffix or path.name != name:
        return path
    return look_up(config_files(), name, "config")


def summary(path: Path) -> str:
    """Returns the first sentence of a config's header, which says what it is for."""
    lines = path.read_text(encoding="utf-8").splitlines()
    header = " ".join(line[1:].strip() for line in takewhile(_is_text, lines))
    return re.split(r"(?<=\.)\s", header, maxsplit=1)[0]


def _is_text(line: str) -> bool:
    return line.startswith("# ") and not line.startswith("#  ")  # indented lines are commands


def with_config_paths(argv: Sequence[str]) -> list[str]:
    """Returns arguments with the names after ``--config`` replaced by the files they mean.

    Raises:
        ValueError: If a name is neither a file nor a packaged config.
    """
    found: list[str] = []
    for item in argv:
        if found and found[-1] == "--config":
            item = str(find_config(item))
        elif item.startswith("--config="):
            item = f"--config={find_config(item.removeprefix('--config='))}"
        found.append(item)
    return found
