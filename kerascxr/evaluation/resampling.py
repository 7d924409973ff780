"""Bootstrap resamples of a test set: whole groups, drawn anew within each class."""

from collections.abc import Iterator, Sequence

import numpy as np

RESAMPLES = 2000
SEED = 0
_CHUNK_BYTES = 2**24


def group_numbers(groups: Sequence[str]) -> np.ndarray:
    """Numbers groups 0, 1, ... in the order of their names, int64 ``(n,)``."""
    return np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]


def group_strata(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Finds each group's class: that of most of its images, the lowest at a tie.

    Args:
        groups: Group numbers of the images, int ``(n,)``, 0..g-1, none missing.
        labels: Class indices of the images, int ``(n,)``, 0 or more.

    Returns:
        int64 ``(g,)``.
    """
    counts = np.zeros((groups.max() + 1, labels.max() + 1), np.int64)
    np.add.at(counts, (groups, labels), 1)
    return counts.argmax(axis=1)


def resample(
    groups: np.ndarray, strata: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED
) -> Iterator[np.ndarray]:
    """Draws bootstrap resamples: from each stratum as many groups as it has, with replacement.

    Images of one group are near-duplicates or one patient's, so that they are no independent
    evidence. Strata keep their number of groups because the folds are stratified by class.

    Args:
        groups: Group numbers of the images, int ``(n,)``, 0..g-1, none missing.
        strata: Each group's stratum, int ``(g,)``.
        resamples: How many.
        seed: Of the draw; the same seed draws the same.

    Yields:
        How often each image is in each resample, float64 ``(n, some)``; all pieces together have
        ``resamples`` columns. In pieces, because 21,165 images 2,000 times would not fit a laptop.

    Source:
        Davison and Hinkley, Bootstrap Methods and their Application, 1997, sections 3.2 and 3.8.
    """
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    step = max(1, _CHUNK_BYTES // (8 * len(groups)))
    for start in range(0, resamples, step):
        columns = min(step, resamples - start)
        counts = np.empty((len(strata), columns))  # (groups, columns)
        for within in members:
            size = len(within)
            drawn = random.integers(0, size, (size, columns)) * columns + np.arange(columns)
            counts[within] = np.bincount(drawn.ravel(), minlength=size * columns).reshape(size, -1)
        yield counts[groups]
