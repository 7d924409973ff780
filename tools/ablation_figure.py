"""Draws the figure of the input ablations from the table of docs/results.md.

Run by hand, from the project's root, when the table has other numbers::

    python -m tools.ablation_figure
"""

import argparse
import re
from pathlib import Path
from typing import Any

from kerascxr.plots.input_ablations import scores

_ROW = re.compile(r"^\| ([^|]+) \| [\d.]+ \| ([\d.]+) \[([\d.]+), ([\d.]+)\] \| ([^|]+) \|$", re.M)
_WITH_LUNGS = ("full image", "lungs only")


def read_table(text: str) -> dict[str, Any]:
    """Returns the table of input ablations in the form of ``audit.json``."""
    ablations = {
        title: {
            "title": title,
            "auc": {"value": float(value), "interval": [float(low), float(high)]},
            "lungs_visible": title in _WITH_LUNGS,
        }
        for title, value, low, high, _ in _ROW.findall(text)
    }
    return {"title": "EfficientNet-B0, depth 2", "ablations": ablations}


def main() -> None:
    """Writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--to", type=Path, default=Path("docs/images/input-ablations.png"))
    arguments = parser.parse_args()
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    scores(read_table(arguments.page.read_text(encoding="utf-8")), arguments.to)


if __name__ == "__main__":
    main()
