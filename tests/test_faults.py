"""The fault harness notices what it is there to notice."""

import random
import time
from functools import partial
from pathlib import Path

import pytest

from kerascxr.runs.atomic import write_json
from tests.support.faults import faults
from tests.support.faults.bench import Bench, Trial
from tests.support.faults.commands import Command
from tests.support.faults.processes import Changes, Moment
from tests.support.faults.trees import differences, leftovers

WRITE = Command("write", "write", "")


def careful(argv, pause=0.0):
    """Writes two files, each whole or not at all, and goes on where it was killed."""
    for number in range(2):
        if not Path(f"{number}.json").exists():
            time.sleep(pause * number)
            write_json(Path(f"{number}.json"), {"value": number, "seconds": time.time()})
    return 0


def careless(argv):
    """Believes a file that it may have been killed over."""
    if not Path("0.json").exists():
        with Path("0.json").open("w") as file:
            file.write('{"value": ')
            file.flush()
            time.sleep(0.3)
            file.write("0}")
    return 0


def bench_of(main, folder):
    bench = Bench(folder, main, {})
    bench.measure(WRITE)
    return bench


@pytest.mark.parametrize("change", [1, 3])
def test_what_is_killed_and_goes_on_is_right(tmp_path, monkeypatch, change):
    bench = bench_of(partial(careful, pause=0.5), tmp_path)
    monkeypatch.setattr(bench, "moment", lambda *_: Moment(change=change))
    trial = faults.kill(bench, WRITE, random.Random(0), 1)
    assert (trial.hits, trial.problems) == (1, [])


def test_kills_come_after_a_file_that_a_command_names(tmp_path):
    late = Command("late", "late", "", since="0.json")
    bench, chance = Bench(tmp_path, partial(careful, pause=0.3), {}), random.Random(0)
    known = bench.measure(late)
    assert bench.measure(late) == known and 0 < known.since[1] < known.changes
    moments = [bench.moment(late, chance) for _ in range(40)]
    changes = {moment.change for moment in moments} - {None}
    assert changes == set(range(known.since[1], known.changes + 1))
    assert min(item.cpu_seconds for item in moments if not item.change) >= known.since[0]
    with pytest.raises(RuntimeError, match=r"does not write 2\.json"):
        Bench(tmp_path, careful, {}).measure(Command("never", "never", "", since="2.json"))


def test_a_half_written_file_that_is_believed_is_reported(tmp_path, monkeypatch):
    bench = bench_of(careless, tmp_path)
    monkeypatch.setattr(bench, "moment", lambda *_: Moment(change=1, delay=0.02))
    trial = faults.kill(bench, WRITE, random.Random(0), 1)
    assert (trial.hits, trial.problems) == (1, ["0.json differs"])


def test_a_command_that_hangs_is_reported_and_no_kill(tmp_path, monkeypatch):
    nap = {"seconds": 0.0}
    bench = bench_of(lambda argv: time.sleep(nap["seconds"]) or 0, tmp_path)
    nap["seconds"] = 1.0
    monkeypatch.setattr(faults, "_SECONDS", 0.3)
    monkeypatch.setattr(bench, "moment", lambda *_: Moment(change=1))
    trial = faults.kill(bench, WRITE, random.Random(0), 1)
    assert (trial.hits, trial.problems) == (0, ["the call ended with -9"])


@pytest.mark.parametrize(
    ("harm", "problems", "left"),
    [
        (lambda folder: None, [], []),
        (lambda folder: write_json(folder / "1.json", {"value": 2}), ["1.json differs"], []),
        (lambda folder: (folder / "0.json").write_text("{"), ["0.json differs"], []),
        (lambda folder: (folder / "0.json").unlink(), ["0.json is missing"], []),
        (lambda folder: (folder / ".partial-x").touch(), [], [".partial-x"]),
    ],
)
def test_what_is_altered_is_reported(tmp_path, harm, problems, left):
    bench = bench_of(careful, tmp_path)
    bench.reset(WRITE)
    assert bench.run(WRITE.line) == 0
    harm(bench.trial)
    trial = Trial("none", WRITE.name)
    bench.compare(WRITE, trial)
    assert (trial.problems, trial.left) == (problems, left)


def test_what_was_there_before_and_is_damaged_is_reported(tmp_path):
    again = Command("again", "again", "write")
    bench = bench_of(careful, tmp_path)
    bench.measure(again)
    bench.reset(again)
    assert bench.lost(again) == []
    (bench.trial / "0.json").write_text("", encoding="utf-8")
    assert bench.lost(again) == ["0.json"]


@pytest.mark.parametrize(
    ("code", "text", "problems"),
    [
        (2, "kerascxr x: error: the disk is full\n", []),
        (2, "Traceback (most recent call last):\nOSError: full", ["a traceback: OSError: full"]),
        (1, "nothing of use", ["exit code 1 and 0 lines of error"]),
        (-9, "", ["ended by signal 9"]),
    ],
)
def test_an_error_must_be_one_line(tmp_path, code, text, problems):
    trial = Trial("none", WRITE.name)
    assert bench_of(careful, tmp_path).refused(WRITE, trial, code, text)
    assert trial.problems == problems


def test_the_usual_exit_code_of_a_command_is_no_error(tmp_path):
    trial, unreadable = Trial("none", "predict"), Command("predict", "predict", "", code=1)
    bench = bench_of(careful, tmp_path)
    assert not bench.refused(unreadable, trial, 1, "1 file could not be read")
    assert trial.problems == []
    assert bench.refused(unreadable, trial, 0, "")
    assert trial.problems == ["exit code 0 and 0 lines of error"]


def test_changes_in_new_folders_are_seen(tmp_path):
    with Changes(tmp_path) as changes:
        (tmp_path / "new").mkdir()
        assert changes.count(1.0) == 1
        (tmp_path / "new" / "file").touch()
        assert changes.count(1.0) >= 1
        assert changes.count(0.0) == 0


def test_times_do_not_count_as_a_difference(tmp_path):
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        times = {"seconds": seconds, "control_seconds": seconds / 3}
        write_json(tmp_path / name / "audit.json", {"auc": 0.5} | times)
        text = f"AUC 0.500. Controls took {seconds:.0f}% of the audit's {seconds:.1f} minutes."
        (tmp_path / name / "audit.md").write_text(text, encoding="utf-8")
    assert differences(tmp_path / "a", tmp_path / "b") == []
    assert leftovers(tmp_path / "a", tmp_path / "b") == []
