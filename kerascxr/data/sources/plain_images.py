"""A folder of images without classes, for what needs none: asking a finished model."""

from pathlib import Path

from kerascxr.data.sources.examples import Example, Rejected, Source, relative_name, unique_ids
from kerascxr.data.sources.paths import (
    bad_source,
    count_images,
    folders_in,
    images_and_masks,
)


def has_plain_images(path: Path) -> bool:
    """Whether a folder has images, and not in sub-folders for two or more classes."""
    if not path.is_dir() or not count_images(path):
        return False
    return sum(count_images(folder) > 0 for folder in folders_in(path)) < 2


def open_plain_images(root: Path) -> Source:
    """Lists the images of a folder and below it; masks are left out.

    Raises:
        ValueError: If there are masks alone.
    """
    rejected: list[Rejected] = []
    images, masks = images_and_masks(root, root, rejected)
    if not images:
        raise bad_source(root, f"have images beside {masks[0].parent.name}/", "It has none")
    ids = unique_ids([relative_name(path, root) for path in images])
    return Source(
        name=root.resolve().name,
        layout="images",
        root=root,
        classes=(),
        examples=tuple(Example(id=id_, image=path) for id_, path in zip(ids, images, strict=True)),
        rejected=tuple(rejected),
    )
