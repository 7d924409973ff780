"""Packs a pretrained backbone as the weights "drawn" that come with the package.

Run by hand, from the project's root, on a finished ``kerascxr pretrain`` run::

    python -m tools.pack_backbone RUN --command COMMAND [--results RUN... --summary TEXT]

Weights are stored as float16. ``--results`` are classification runs trained with them, or with
other weights for comparison; each becomes a row of the card, under the sentence ``--summary``. To
measure, pack the weights first, train with ``--weights drawn``, and give the same command again
with the runs: the file of weights stays the same.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from kerascxr import __version__
from kerascxr.cli.start import start_tensorflow
from kerascxr.runs.atomic import write_json, write_text
from kerascxr.runs.reading import read_run
from kerascxr.tables import markdown_table, with_interval

MAX_BYTES = 9_000_000
WEIGHTS_TITLES = {
    "drawn": "these",
    "none": "random",
    "imagenet": "ImageNet",
    "file": "a file of natural-image weights",
}
MEASURES = {"accuracy": "accuracy", "f1": "macro F1", "auc": "macro AUC"}
LIMITS = (
    "Learned on drawings. Drawings imitate the geometry and the exposure of chest X-rays, not "
    "disease.",
    "Not a medical device: not validated for diagnosis or treatment.",
)
UNMEASURED = "Not measured on real X-rays. Use natural-image weights there (`--weights imagenet`)."


def result(path: Path) -> dict[str, Any]:
    """Returns a classification run's row of the card."""
    run = read_run(path)
    test = run.metrics["test"]
    return {
        "images": "drawings" if run.drawn else run.source.replace("_", " "),
        "weights": WEIGHTS_TITLES[run.environment["weights"]["kind"]],
        "depth": run.metrics["depth"],
        "n": test["n"],
        **{name: test[name] for name in MEASURES},
        "intervals": {name: test["intervals"].get(name) for name in MEASURES},
    }


def card_markdown(card: dict[str, Any]) -> str:
    """Returns a backbone's card as Markdown."""
    rows = [
        [
            row["images"],
            row["weights"],
            row["depth"],
            row["n"],
            *(with_interval(row[name], row["intervals"][name]) for name in MEASURES),
        ]
        for row in card["results"]
    ]
    parts = [
        f"# {card['backbone']}, pretrained on drawn X-rays",
        "The starting weights of `--weights drawn`, and of `--weights auto` where ImageNet's "
        "cannot be had.",
        "## Data",
        card["data"],
        f"Licence: {card['licence']}",
        "## Results",
        f"On {card['validation'].get('on', 'whole images')} of 128 drawings that no training had, "
        f"the AUC of the findings' presence is {card['validation']['auc']:.3f} (float32 weights).",
        *([card["summary"]] if card["summary"] else []),
        *(
            [markdown_table(["images", "weights", "depth", "n", *MEASURES.values()], rows)]
            if rows
            else []
        ),
        "## Limits",
        "\n".join(f"- {limit}" for limit in card["limits"]),
        "## Training",
        f"```\n{card['command']}\n```",
        "Random initial weights. The weights are stored as float16.",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Writes weights and card into the package."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--command", required=True)
    parser.add_argument("--summary", default="")
    parser.add_argument("--results", type=Path, nargs="*", default=[])
    values = parser.parse_args()
    start_tensorflow()
    from kerascxr.models.backbones import BACKBONES
    from kerascxr.models.download import file_digest
    from kerascxr.models.packed_weights import write_weights
    from kerascxr.models.weights import DRAWN
    from kerascxr.training.pretraining import WEIGHTS

    metrics = json.loads((values.run / "metrics.json").read_text(encoding="utf-8"))
    backbone = BACKBONES[metrics["backbone"]]
    features = backbone.build(backbone.image_size)
    features.load_weights(values.run / WEIGHTS)
    arrays = {
        f"{layer.name}/{index}": array
        for layer in features.layers
        for index, array in enumerate(layer.get_weights())
    }
    path = DRAWN / f"{backbone.name}.weights.npz"
    write_weights(path, arrays, MAX_BYTES)
    whole = yaml.safe_load((values.run / "config.yaml").read_text(encoding="utf-8"))["epochs"] > 0
    results = [result(path) for path in values.results]
    measured = any(row["images"] != "drawings" for row in results)
    card = {
        "backbone": backbone.name,
        "kerascxr": __version__,
        "phantom_version": metrics["phantom_version"],
        "data": "X-rays drawn by kerascxr's phantom, without end. No image of a patient was used, "
        "and none of the radiography database.",
        "licence": "Apache-2.0, as the package.",
        "validation": metrics["validation"] | {"on": "whole images" if whole else "middle crops"},
        "summary": values.summary,
        "results": results,
        "limits": [*LIMITS[:1], *([] if measured else [UNMEASURED]), *LIMITS[1:]],
        "command": values.command,
        "sha256": {path.name: file_digest(path)},
    }
    write_text(DRAWN / f"{backbone.name}.md", card_markdown(card))
    write_json(DRAWN / f"{backbone.name}.json", card)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
