"""Requests lung masks for X-rays from a served U-Net, over REST; needs nothing but Python.

python -m kerascxr export runs/segmentation/NAME --to examples/serving/models/lungs
python examples/serving/lungs.py IMAGE... --to MASKS    # http://localhost:8501

The server needs an entry for "lungs" in models.config, beside or in place of the one for "chest".
"""

import argparse
import base64
import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MODEL = "lungs"


class Answer(NamedTuple):
    """The answer for one image.

    Attributes:
        mask: The bytes of a PNG file of the image's own size: 255 is lung, 0 is not.
        lung_fraction: The share of the image that is lung, 0..1.
        components: Components before all but the two largest were removed.
        warnings: Warnings about the image, joined by "; ", or "".
    """

    mask: bytes
    lung_fraction: float
    components: int
    warnings: str


def ask(host: str, files: Sequence[bytes]) -> list[Answer]:
    """Returns the answers, in the order of the files."""
    rows = [{"b64": base64.b64encode(data).decode("ascii")} for data in files]
    request = urllib.request.Request(
        f"http://{host}/v1/models/{MODEL}:predict",
        json.dumps({"instances": rows}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        rows = json.load(answer)["predictions"]
    return [
        Answer(
            base64.b64decode(row["mask_bytes"]["b64"]),
            row["lung_fraction"],
            row["components"],
            row["warnings"],
        )
        for row in rows
    ]


def main() -> None:
    """Requests the masks, writes them, and prints the rest."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--to", type=Path, required=True, help="a folder for the masks")
    parser.add_argument("--host", default="localhost:8501")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    answers = ask(arguments.host, [path.read_bytes() for path in arguments.images])
    for number, (path, answer) in enumerate(zip(arguments.images, answers, strict=True)):
        mask = arguments.to / f"{number}-{path.stem}.png"
        mask.write_bytes(answer.mask)
        warning = f", WARNING: {answer.warnings}" if answer.warnings else ""
        print(f"{path}: lung {answer.lung_fraction:.0%} of the image, {mask}{warning}")


if __name__ == "__main__":
    main()
