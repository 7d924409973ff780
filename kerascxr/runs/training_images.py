"""Which images decide a model: the rows of its run's training_images.csv."""

from pathlib import Path

from kerascxr.runs.reading import read_predictions

SEEN = "training_images.csv"
"""The file's name."""

EARLIER = "earlier "
"""Goes before the split of an image that only the run of the starting weights had."""

_COLUMNS = ("id", "group", "given_group", "split", "digest")


def images_of_starting_weights(weights: Path) -> list[dict[str, str]]:
    """Returns the images that decided the weights from which a training starts.

    Args:
        weights: The file of weights.

    Returns:
        The rows of the training_images.csv beside it, each ``split`` marked as ``EARLIER``; none
        if the file is not in the folder of a run.
    """
    path = weights.with_name(SEEN)
    if not path.exists():
        return []
    rows = [{name: row.get(name, "") for name in _COLUMNS} for row in read_predictions(path)]
    return [row | {"split": EARLIER + row["split"].removeprefix(EARLIER)} for row in rows]
