"""Starting a run from a command line, with a trainer that only writes metrics."""

import pytest

from kerascxr.cli import training
from kerascxr.config import ClassificationConfig, DataConfig
from kerascxr.evaluation.classification import evaluate


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch):
    monkeypatch.setattr(training, "start_tensorflow", lambda: None)


def test_repeating_a_finished_run_prints_its_results_as_plain_text(tmp_path, messages):
    test = evaluate([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["Lung_Opacity", "Normal"])

    def trainer(config, folder):
        about = {"source": "elsewhere-01234567", "fingerprint": "ab"}
        folder.write_json("metrics.json", {"task": "classification", "test": test, "data": about})
        folder.write_text("metrics.md", "| Lung\\_Opacity |\n")
        folder.finish()

    config = ClassificationConfig(runs=tmp_path, name="one", data=DataConfig("phantom"))
    for _ in range(2):
        assert training.train_in_folder(config, "classification", "one", lambda: trainer) == 0
    text = "\n".join(messages())
    assert "\nLung_Opacity  " in text
    assert "\\" not in text and "|" not in text
    assert text.count("results above may be of other images") == 1
