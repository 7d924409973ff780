"""Progress bars: only on a terminal, not with --quiet, and gone before the line of an epoch."""

import contextlib
import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import kerascxr
from kerascxr.cli.start import run_command
from kerascxr.progress import ProgressBar
from kerascxr.tables import text_table
from kerascxr.training import callbacks
from kerascxr.training.callbacks import EpochBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@contextlib.contextmanager
def standard_error(stream):
    kept = ProgressBar.shown
    ProgressBar.shown = True
    try:
        with contextlib.redirect_stderr(stream):
            yield stream
    finally:
        ProgressBar.shown = kept


def draw(argv, prog):
    for _ in ProgressBar(range(3), desc="Drawing"):
        pass


def fail(argv, prog):
    raise ValueError("this must be of use. Got an option that is of no use.")


def test_bars_are_drawn_on_a_terminal_only():
    with standard_error(Terminal()) as terminal:
        draw([], "")
    assert "Drawing" in terminal.getvalue()
    with standard_error(io.StringIO()) as file:
        draw([], "")
    assert not file.getvalue()


def test_no_line_has_colours():
    """So that NO_COLOR has nothing to switch off, on a terminal either."""
    bar = EpochBar(steps=1, epochs=1)
    with standard_error(Terminal()) as terminal:
        assert run_command(draw, [], "test") == 0
        bar.on_epoch_begin(0)
        bar.on_train_batch_end(0, {"loss": 0.125})
        bar.on_epoch_end(0)
        print(text_table(["measure", "value"], [["accuracy", 0.5]]), file=terminal)
        run_command(fail, [], "test")
    shown = terminal.getvalue()
    assert "Drawing" in shown and "Epoch 1/1" in shown and "of no use" in shown
    assert not re.search(r"\x1b\[[0-9;]*m", shown)


@pytest.mark.parametrize(("flag", "drawn"), [("--quiet", False), ("", True), ("--verbose", True)])
def test_quiet_draws_none(flag, drawn):
    with standard_error(Terminal()) as terminal:
        assert run_command(draw, [flag] if flag else [], "test") == 0
    assert ("Drawing" in terminal.getvalue()) is drawn


def test_the_bar_of_an_epoch_is_gone_before_its_line():
    bar = EpochBar(steps=2, epochs=9)
    with standard_error(Terminal()) as terminal:
        for epoch in range(2):
            bar.on_epoch_begin(epoch)
            for batch in range(2):
                bar.on_train_batch_end(batch, {"loss": 0.125})
            bar.on_epoch_end(epoch)
            print("epoch line", file=terminal)
    shown = [text.rpartition("\r")[2] for text in terminal.getvalue().split("\n")]
    assert shown == ["epoch line", "epoch line", ""]
    assert "Epoch 2/9" in terminal.getvalue()


def test_a_training_shows_the_time_that_is_left(monkeypatch):
    clock = iter([100.0, 130.0, 180.0])
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    bar = EpochBar(steps=2, epochs=10)
    with standard_error(Terminal()) as terminal:
        for epoch in (4, 5, 6):  # resumed at the fifth
            bar.on_epoch_begin(epoch)
            bar.on_epoch_end(epoch)
    titles = re.findall(r"Epoch [^:]*?/10(?:, [\d:]+ left)?", terminal.getvalue())
    # 30 s an epoch and five to go; then 40 s an epoch and four.
    assert list(dict.fromkeys(titles)) == [
        "Epoch 5/10",
        "Epoch 6/10, 02:30 left",
        "Epoch 7/10, 02:40 left",
    ]


def test_all_bars_follow_these_rules():
    package = Path(kerascxr.__file__).parent
    users = [path.name for path in package.rglob("*.py") if "import tqdm" in path.read_text()]
    assert users == ["progress.py"]
