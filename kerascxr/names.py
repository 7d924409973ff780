"""Names in messages: looked up with a helpful error, counted, listed, and made to differ."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")


def look_up(registry: Mapping[str, Value], name: str, what: str) -> Value:
    """Returns ``registry[name]``.

    Args:
        registry: What is known.
        name: The name asked for.
        what: What the names stand for, e.g. "backbone".

    Raises:
        ValueError: If the name is unknown; the message gives the nearest known name.
    """
    if name in registry:
        return registry[name]
    near = difflib.get_close_matches(name, list(registry), n=1)
    hint = f", did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"unknown {what} {name!r}{hint} Known: {', '.join(registry)}.")


def with_folders(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Returns names that differ: to those that several have, the end of their paths is added.

    Args:
        names: Names, some of them equal.
        paths: The folders that they are of, all different.
    """
    found = list(names)
    for name in set(names):
        places = [place for place, other in enumerate(names) if other == name]
        parts = [paths[place].absolute().parts for place in places]
        count = 1
        while len({of[-count:] for of in parts}) < len(parts) and count < max(map(len, parts)):
            count += 1
        for place, of in zip(places, parts, strict=True):
            found[place] = f"{name} ({'/'.join(of[-count:])})" if len(places) > 1 else name
    return found


def listed(names: Iterable[object], word: str = "and") -> str:
    """Returns names as a sentence has them, e.g. "a, b and c".

    Args:
        names: What ``str`` gives the names of.
        word: What stands before the last one: "and" or "or".
    """
    *first, last = map(str, names)
    return f"{', '.join(first)} {word} {last}" if first else last


def counted(count: int, noun: str) -> str:
    """Returns a count with its noun, e.g. "1 file" or "2,000 files"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
