"""Whether the files of a finished run's source are still the same, without reading any."""

from collections.abc import Mapping
from typing import Any

from kerascxr.config import DataConfig
from kerascxr.data.ingest.store import read_description, signature_of, store_name
from kerascxr.data.sources.open import open_source


def files_changed(data: DataConfig, about: Mapping[str, Any]) -> bool:
    """Returns whether a source holds other files than when a run was trained on it.

    Files are compared by names, sizes and times with those of the ingested copy, so the images in
    them may still be the same.

    Args:
        data: The source, and where stores lie.
        about: The entry ``data`` of the run's metrics.json.

    Returns:
        False also where it cannot be known: the source or its ingested copy is gone.
    """
    try:
        source = open_source(
            data.source, phantom_images=data.phantom_images, phantom_seed=data.phantom_seed
        )
    except ValueError:
        return False
    name = store_name(source)
    if name != about["source"]:
        return True
    known = read_description(data.stores / name)
    if known is None:
        return False
    same = known["fingerprint"]["digest"] == about["fingerprint"]
    return not same or known["signature"] != signature_of(source)
