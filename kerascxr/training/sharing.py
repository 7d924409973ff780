"""What the runs of a study, and repeated runs, share: results that several of them would compute.

Depths of a backbone have the same frozen layers; their images, what the frozen layers make of them,
and all that is fitted to that alone are the same. A key names everything that a result depends on,
so a run has the numbers that it would have alone.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

Value = TypeVar("Value")

_kept: dict[str, OrderedDict[Hashable, Any]] | None = None


@contextlib.contextmanager
def sharing() -> Iterator[None]:
    """Lets the runs within the block share; afterwards nothing is kept."""
    global _kept
    before, _kept = _kept, {}
    try:
        yield
    finally:
        _kept = before


def share_always() -> None:
    """Lets all runs of this process share, from now on: a worker trains runs of one command."""
    global _kept
    _kept = {} if _kept is None else _kept


def shared(kind: str, key: Hashable, compute: Callable[[], Value], most: int = 1) -> Value:
    """Returns a result, computed at its first use within ``sharing``; outside, at every use.

    Args:
        kind: What it is.
        key: What it depends on.
        compute: Computes it. Nobody may change it.
        most: How many results of the kind are kept. The oldest goes before a new one is computed.
    """
    if _kept is None:
        return compute()
    results = _kept.setdefault(kind, OrderedDict())
    if key not in results:
        while len(results) >= most:
            results.popitem(last=False)
        results[key] = compute()
    results.move_to_end(key)
    value: Value = results[key]
    return value
