"""The last lines of a training name what is there, and commands that exist."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kerascxr.cli import program
from kerascxr.cli.main import command_module
from kerascxr.cli.next_steps import next_steps


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "a run"
    (folder / "figures").mkdir(parents=True)
    for name in ("model.keras", "metrics.md", "figures/loss.png", "figures/accuracy.png"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("task", "commands"),
    [
        ("classification", ["report", "audit", "predict", "app"]),
        ("segmentation", ["report", "predict"]),
    ],
)
@pytest.mark.parametrize("installed", ["/usr/bin/kerascxr", None])
def test_they_name_files_and_commands(run, task, commands, installed, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: installed)
    text = next_steps(run, task)
    assert text.startswith("It holds model.keras, metrics.md, 2 pictures in figures/.\n")
    program = "kerascxr" if installed else "python -m kerascxr"
    found = [line.split() for line in text.splitlines() if line.startswith(f"  {program} ")]
    assert [words[len(program.split())] for words in found] == commands
    for words in found:
        assert "'" in " ".join(words)  # the folder's name has a space
        assert command_module(words[len(program.split())])


def test_a_folder_of_several_runs_is_for_the_report_alone(run):
    (run / "model.keras").unlink()
    text = next_steps(run, "classification")
    assert "report" in text and not any(name in text for name in ("audit", "predict", "app "))


def test_a_pretraining_has_none(run):
    assert next_steps(run, "pretraining") == ""


def test_a_script_that_takes_the_commands_is_named(run):
    """Its entries are known to no other program; one that takes no commands is not named."""
    page = Path(__file__).parents[2] / "docs/extending.md"
    ends = page.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    asks = "from kerascxr.cli.next_steps import next_steps\n"
    asks += f"from pathlib import Path\nprint(next_steps(Path({str(run)!r}), 'classification'))\n"
    takes_commands = run.parent / "try it.py"
    takes_commands.write_text(
        ends.replace("sys.exit(main(sys.argv[1:]))", f"main(['--version'])\n{asks}")
    )
    other = run.parent / "other.py"
    other.write_text(asks)

    # The checkout need not be installed: from another folder it is found by this variable.
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def commands(*command):
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            capture_output=True,
            text=True,
            cwd=run.parent,
            env=environment,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [line.strip() for line in done.stdout.splitlines() if " report " in line]

    assert commands("try it.py") == [f"python 'try it.py' report '{run}'"]
    usual = [f"{program.program()} report '{run}'"]
    assert commands("other.py") == commands("-c", takes_commands.read_text()) == usual
    assert usual[0].startswith(("kerascxr", "python -m kerascxr"))
