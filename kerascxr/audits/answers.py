"""What a finished classifier answers on images of other classes, or of none that are known."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kerascxr.data.pipeline import Images
from kerascxr.evaluation.abstention import Decisions, measure_answers
from kerascxr.runs.abstention_tables import answers_table
from kerascxr.runs.folder import RunFolder
from kerascxr.runs.reading import CALIBRATED
from kerascxr.tables import csv_text, markdown_table, text_table

RESULT = "answers.json"


def write_answers(
    folder: RunFolder,
    about: Mapping[str, Any],
    images: Images,
    probabilities: np.ndarray,
    decisions: Decisions,
    own: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], str]:
    """Writes answers.json, answers.md and predictions.csv.

    Args:
        folder: Where to.
        about: What answers.json holds beside the answers: "title", "data" and "classes".
        images: The n images; their labels are classes that the model does not know.
        probabilities: float (n, k), calibrated.
        decisions: What the model's rule decides.
        own: The entry "abstention" of the run's metrics.json, to compare with; None without.

    Returns:
        What answers.json holds, and the table as text.
    """
    classes = about["classes"]
    measured = measure_answers(decisions, probabilities, classes, images.groups)
    result = dict(about) | {"answers": measured}
    folder.write_json(RESULT, result)
    sets = {"own test images": own} if own else {}
    table = answers_table(sets | {about["data"]["source"]: measured}, classes)
    text = f"# {about['title']}\n\n{markdown_table(table.header, table.rows)}\n"
    folder.write_text("answers.md", text)
    columns = decisions.columns(classes)
    rows = [
        images.names(index)
        | {
            "label": images.classes[images.labels[index]],
            "predicted": classes[probabilities[index].argmax()],
        }
        | {
            f"{CALIBRATED} {name}": value
            for name, value in zip(classes, probabilities[index], strict=True)
        }
        | {name: values[index] for name, values in columns.items()}
        for index in range(len(images))
    ]
    folder.write_text("predictions.csv", csv_text(rows))
    return result, text_table(table.header, table.rows)
