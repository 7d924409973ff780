"""The table of a command's runs."""

import json

from kerascxr.runs.states import RunState, states_table


def test_a_run_of_a_second_has_no_four_decimals(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"test": {"accuracy": 0.5}}))
    (tmp_path / "timing.json").write_text(json.dumps({"seconds": 1.2}))
    (tmp_path / "DONE").touch()
    row = states_table([RunState("quick", tmp_path, "done")]).splitlines()[-1].split()
    assert row == ["quick", "done", "0.5000", "–", "–", "–", "0.0"]
