"""A folder of images beside one or two folders of lung masks; without classes."""

from pathlib import Path

from kerascxr.data.sources.examples import (
    Example,
    Rejected,
    Source,
    natural_key,
    relative_name,
    unique_ids,
)
from kerascxr.data.sources.paths import (
    IMAGE_LEVELS,
    MASK_LEVELS,
    bad_source,
    count_images,
    folders_in,
    is_image,
    mask_key,
    masks_by_key,
    only_images,
    visible,
    walk,
)


def find_mask_folders(root: Path) -> tuple[Path, list[Path]] | None:
    """Returns the folder of images and those of masks, or None where either is missing."""
    by_name = {path.name.casefold(): path for path in folders_in(root)}
    images = next((by_name[level] for level in IMAGE_LEVELS if level in by_name), None)
    masks = next((by_name[level] for level in MASK_LEVELS if level in by_name), None)
    if images is None or masks is None:
        return None
    halves = {path.name.casefold(): path for path in folders_in(masks)}
    if {"leftmask", "rightmask"} <= set(halves):
        return images, [halves["leftmask"], halves["rightmask"]]
    return images, [masks]


def is_downloaded_set(folder: Path) -> bool:
    """Whether a folder is arranged like Montgomery or Shenzhen, rather than a class of images."""
    names = {path.name.casefold() for path in folders_in(folder)}
    return "cxr_png" in names and find_mask_folders(folder) is not None


def open_mask_folders(root: Path) -> Source:
    """Lists images with masks of the same name, or of that name and ``_mask``.

    An image that has the mask of one lung only counts as an image without a mask.

    Args:
        root: A folder for which ``find_mask_folders`` finds something.

    Raises:
        ValueError: If there is no image, or no image has a mask.
    """
    folders = find_mask_folders(root)
    assert folders is not None
    image_folder, mask_folders = folders
    rejected: list[Rejected] = []
    images = only_images(root, walk(image_folder), rejected)
    if not images:
        raise bad_source(root, f"have images in {image_folder.name}/", "It has none there")
    masks: list[dict[str, Path]] = []
    for folder in mask_folders:
        files = only_images(root, walk(folder), rejected)
        masks.append(masks_by_key(root, folder, files, rejected))
    names = [relative_name(path, image_folder) for path in images]
    keys = [mask_key(name) for name in names]
    for half in masks:
        for key in half.keys() - set(keys):
            name = relative_name(half[key], root)
            rejected.append(Rejected(name, "a mask without an image of its name"))
    examples = []
    for path, key, id_ in zip(images, keys, unique_ids(names), strict=True):
        halves = tuple(half[key] for half in masks if key in half)
        if len(halves) < len(masks):
            # With one lung alone, the model would learn that the other is no lung.
            reason = "a mask of one lung, where the other lung's is missing"
            rejected += [Rejected(relative_name(half, root), reason) for half in halves]
            halves = ()
        examples.append(Example(id=id_, image=path, masks=halves))
    if not any(example.masks for example in examples):
        raise bad_source(
            root,
            "have masks named like its images (or with _mask added)",
            f"None is: an image is called {images[0].name!r}",
        )
    rejected += _beside(root, image_folder, mask_folders)
    rejected.sort(key=lambda item: natural_key(item.path))
    return Source(
        name=root.resolve().name,
        layout="pairs",
        root=root,
        classes=(),
        examples=tuple(examples),
        rejected=tuple(rejected),
    )


def _beside(root: Path, images: Path, masks: list[Path]) -> list[Rejected]:
    """Returns the images that lie beside those folders, a folder of them as one."""
    found = []
    for path in visible(root):
        if is_image(path):
            found.append(Rejected(path.name, f"an image outside of the folder {images.name}"))
        elif path.is_dir() and path != images and not any(path in (m, *m.parents) for m in masks):
            count = count_images(path)
            if count:
                what = f"a folder of {count} images beside images and masks"
                found.append(Rejected(path.name, what))
    return found
