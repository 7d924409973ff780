"""What the starting weights of a run have seen: a leak that its own split cannot show."""

import logging
from pathlib import Path
from typing import NamedTuple

from kerascxr.data.ingest.store import Store
from kerascxr.data.pipeline import Images
from kerascxr.models.weights import WeightsUsed
from kerascxr.runs.training_images import EARLIER, images_of_starting_weights

logger = logging.getLogger(__name__)


class SeenBefore(NamedTuple):
    """The images of an earlier run whose model the starting weights are.

    Attributes:
        rows: Those of its training_images.csv; none for other weights.
        groups: The groups of this run's store that hold such an image.
        tested: How many test images are in these groups.
    """

    rows: list[dict[str, str]]
    groups: frozenset[str]
    tested: int


def seen_before(weights: WeightsUsed, store: Store, splits: dict[str, Images]) -> SeenBefore:
    """Finds the images that starting weights were trained or validated on, and warns of a leak.

    Images are recognised by the digests of their pixels.

    Args:
        weights: The weights.
        store: This run's images.
        splits: From ``read_splits``.
    """
    rows = images_of_starting_weights(Path(weights.source)) if weights.kind == "file" else []
    fitted = _groups(store, rows)
    trained = _groups(store, [row for row in rows if row["split"] == f"{EARLIER}train"])
    tested = _count(splits["test"], fitted)
    validated = _count(splits["validation"], trained)
    if tested or validated:
        logger.warning(
            f"{weights.source} was trained or validated on {tested:,} of the "
            f"{len(splits['test']):,} test images, or on others of their groups, and trained on "
            f"{validated:,} of the {len(splits['validation']):,} validation images, or on others "
            "of theirs: the scores, the temperature and the decision rule say too much. Start "
            "from other weights, or give both runs one split."
        )
    return SeenBefore(rows, fitted, tested)


def _groups(store: Store, rows: list[dict[str, str]]) -> frozenset[str]:
    digests = {row["digest"] for row in rows}
    return frozenset(row["group"] for row in store.rows if row["digest"] in digests)


def _count(images: Images, groups: frozenset[str]) -> int:
    return sum(group in groups for group in images.groups)
