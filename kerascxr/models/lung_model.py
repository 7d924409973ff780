"""The lung model that comes with the package: a trained U-Net as float16 weights, with its card.

A folder holds it: ``lungs.weights.npz``, the ``config.yaml`` of its training, and what it was
trained on, measured and meant for in ``card.json``, for people in ``card.md``.
"""

from pathlib import Path
from typing import Any

import keras
import yaml

from kerascxr.models import packed_weights
from kerascxr.models.download import file_digest
from kerascxr.models.packed_weights import read_weights, write_weights
from kerascxr.models.segmenter import Segmenter
from kerascxr.models.unet import build_unet
from kerascxr.parsing import read_yaml
from kerascxr.runs.atomic import write_json, write_text
from kerascxr.tables import markdown_table, with_interval

FOLDER = Path(__file__).parent / "lungs"
WEIGHTS, CONFIG, CARD, PAGE = "lungs.weights.npz", "config.yaml", "card.json", "card.md"
MAX_BYTES = 8_000_000

_MEASURES = {"dice": "Dice", "iou": "IoU", "hd95": "HD95, pixels", "assd": "ASSD, pixels"}


def write_lung_model(
    folder: Path, model: keras.Model, config: dict[str, Any], card: dict[str, Any]
) -> None:
    """Writes a trained U-Net as a lung model: weights, config and card.

    Args:
        folder: Where to; made if it does not exist.
        model: The U-Net.
        config: The config of its training; ``image_size``, ``base_filters`` and ``upsampling``
            rebuild the model.
        card: What ``card_markdown`` shows: ``title``, ``threshold``, ``data``, ``licence``,
            ``images``, ``command``, ``results`` (name of a set -> what ``summarise`` gave and its
            ``intervals``), ``limits``. ``sha256`` of weights and config is added.

    Raises:
        ValueError: If a weight is outside of float16's range, or the file would be too large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {weight.path: keras.ops.convert_to_numpy(weight.value) for weight in model.weights}
    write_weights(folder / WEIGHTS, weights, MAX_BYTES)
    write_text(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
    card = card | {"sha256": {name: file_digest(folder / name) for name in (WEIGHTS, CONFIG)}}
    write_text(folder / PAGE, card_markdown(card))
    write_json(folder / CARD, card)


def load_lung_segmenter(folder: Path | None = None) -> Segmenter:
    """Reads a lung model and the threshold for its probabilities.

    Args:
        folder: Its folder; by default the one in the package.

    Returns:
        The model, in float32 under any precision policy, and its threshold.

    Raises:
        ValueError: If a file is absent or is not the one that the card describes.
    """
    folder = folder or FOLDER
    card = read_card(folder)
    config = read_yaml(folder / CONFIG)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        size = tuple(config["image_size"])
        model = build_unet(size, config["base_filters"], config["upsampling"])
    finally:
        keras.config.set_dtype_policy(policy)
    weights = read_weights(folder / WEIGHTS)
    if set(weights) != {weight.path for weight in model.weights}:
        raise ValueError(_wrong(folder, f"{CONFIG} describes another model than {WEIGHTS} has"))
    model.set_weights([weights[weight.path] for weight in model.weights])
    return Segmenter(model, float(card["threshold"]))


def read_card(folder: Path | None = None) -> dict[str, Any]:
    """Reads a lung model's card and checks that it belongs to the weights and the config.

    Args:
        folder: The lung model's folder; by default the one in the package.

    Returns:
        What ``write_lung_model`` wrote.

    Raises:
        ValueError: If a file is absent or is not the one that the card describes.
    """
    folder = folder or FOLDER
    try:
        return packed_weights.read_card(folder, CARD, (WEIGHTS, CONFIG))
    except ValueError as error:
        raise ValueError(_wrong(folder, str(error))) from None


def card_markdown(card: dict[str, Any]) -> str:
    """Returns a lung model's card as Markdown.

    Args:
        card: As ``write_lung_model`` takes it.
    """
    images = ", ".join(f"{count:,} {name}" for name, count in card["images"].items())
    rows = [
        [
            name,
            result["n"],
            *(
                with_interval(result[measure], result["intervals"].get(measure))
                for measure in _MEASURES
            ),
        ]
        for name, result in card["results"].items()
    ]
    parts = [
        f"# Lung model: {card['title']}",
        "Computes the mask of the lungs in a frontal chest X-ray. `kerascxr lungs` uses it, and so "
        "does each command that needs lung masks and is not given `--lungs`.",
        f"Input: one grey image, {card['input']}. A pixel is lung if its probability is at least "
        f"{card['threshold']} and it belongs to one of the two largest components.",
        "## Data",
        f"{card['data']} Images: {images}.",
        f"Licence: {card['licence']}",
        "## Results",
        "Means over images, with 95% intervals, of the masks as they are used.",
        markdown_table(["images of", "n", *_MEASURES.values()], rows),
        "## Limits",
        "\n".join(f"- {limit}" for limit in card["limits"]),
        "## Training",
        f"```\n{card['command']}\n```",
        f"The whole configuration is in `{CONFIG}`. The weights are stored as float16; the results "
        "are of the stored weights unless stated otherwise.",
    ]
    return "\n\n".join(parts) + "\n"


def _wrong(folder: Path, problem: str) -> str:
    if folder == FOLDER:
        return (
            f"the package's lung model cannot be used: {problem} (in {folder}). Install kerascxr "
            "again, or give a segmentation run with --lungs RUN."
        )
    return f"{folder} must hold a lung model: {problem}."
