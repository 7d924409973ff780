"""Names in messages: looked up in a registry with a helpful error, and counted."""

import difflib
from collections.abc import Mapping
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


def counted(count: int, noun: str) -> str:
    """Returns a count with its noun, e.g. "1 file" or "2,000 files"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
