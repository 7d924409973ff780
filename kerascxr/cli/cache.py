"""List the cached features, stores, weights and browser pages, or delete some."""

import time
from collections.abc import Callable, Sequence

from jsonargparse import ArgumentParser

from kerascxr.cli.options import new_parser, read_options
from kerascxr.cli.start import start_tensorflow
from kerascxr.config import DataConfig
from kerascxr.runs.cache import CacheEntry, prune
from kerascxr.tables import text_table

KINDS = ("features", "stores", "weights", "pages")
_LIMITS = "limits"


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument(
        "--prune",
        nargs="?",
        const=_LIMITS,
        choices=(_LIMITS, "all", *KINDS),
        help="Delete everything, or one kind. By itself (or with limits): what is unfinished or "
        "of an older version, and the least recently used over the limits. What a running process "
        "uses stays.",
    )
    made.add_argument("--days", type=float, help="Delete what was unused for so many days.")
    made.add_argument(
        "--gb", type=float, help="Delete the least recently used until so many gigabytes are left."
    )
    made.add_class_arguments(DataConfig, skip={"source", "cache", "phantom_images", "phantom_seed"})
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command.

    Raises:
        ValueError: If an option of --prune is given without it, or is negative.
    """
    values = read_options(parser(prog), argv)
    for name in ("days", "gb"):
        value = values[name]
        if value is not None and (values.prune is None or not value >= 0):
            raise ValueError(
                f"--{name} must come with --prune and not be negative. Got {name}={value:g}."
            )
    limits = {"features": values.features_gb, "stores": values.stores_gb}
    listings = _listings(DataConfig(stores=values.stores, features=values.features))
    entries = {kind: listing() for kind, listing in listings.items()}
    if values.prune is None:
        print(_table(entries, limits))
        return
    chosen = [kind for kind in KINDS if values.prune in (kind, "all", _LIMITS)]
    pool = [entry for kind in chosen for entry in entries[kind]]
    if values.prune != _LIMITS or values.days is not None or values.gb is not None:
        removed, in_use = prune(pool, values.gb or 0.0, values.days or 0.0)
    else:
        removed, in_use = prune(entry for entry in pool if not entry.usable)
        for kind, limit in limits.items():
            more = prune([entry for entry in entries[kind] if entry.usable], limit)
            removed, in_use = removed + more[0], in_use + more[1]
    for verb, found in (("Removed", removed), ("In use, kept", in_use)):
        for entry in found:
            print(f"{verb}: {entry.base} ({_size(entry.gigabytes)})")
    print(f"{len(removed)} removed, {_size(sum(entry.gigabytes for entry in removed))}.")


def _listings(data: DataConfig) -> dict[str, Callable[[], list[CacheEntry]]]:
    """Returns what lists each kind."""
    start_tensorflow()
    from kerascxr.data.ingest.store import list_stores
    from kerascxr.models.download import list_weights
    from kerascxr.serving.web_runtime import list_pages
    from kerascxr.training.feature_files import FeatureFolder

    return {
        "features": FeatureFolder.of(data).entries,
        "stores": lambda: list_stores(data.stores),
        "weights": list_weights,
        "pages": list_pages,
    }


def _table(entries: dict[str, list[CacheEntry]], limits: dict[str, float]) -> str:
    header = ["kind", "size", "last used", "of", "path"]
    rows = [
        [
            kind,
            _size(entry.gigabytes),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_at)),
            entry.about,
            str(entry.base),
        ]
        for kind in KINDS
        for entry in sorted(entries[kind], key=lambda entry: -entry.used_at)
    ]
    totals = [
        f"{kind}: {_size(sum(entry.gigabytes for entry in entries[kind]))}"
        + (
            f" of {limits[kind]:g} GB (--{kind}_gb; --data.{kind}_gb of train-cls and others)"
            if kind in limits
            else ""
        )
        for kind in KINDS
    ]
    return "\n".join([*([text_table(header, rows), ""] if rows else []), *totals])


def _size(gigabytes: float) -> str:
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{1000 * gigabytes:.1f} MB"
