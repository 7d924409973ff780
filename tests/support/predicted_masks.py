"""Masks of a lung model beside the references: what two of the tools go through."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kerascxr.data.pipeline import Images, evaluation_batches


def masks_and_references(
    segmenter: Any, images: Images, batch_size: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields each image's place, its reference and its mask, both uint8 (h, w), 0 or 255.

    Args:
        segmenter: A ``Segmenter``.
        images: Images with masks.
        batch_size: Images a batch.
    """
    for batch in evaluation_batches(images, batch_size):
        masks = segmenter.masks(batch["image"]).numpy()[..., 0]
        references = batch["mask"].numpy()[..., 0]
        yield from zip(batch["index"].numpy(), references, masks, strict=True)
