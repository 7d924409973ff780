"""Progress bars: only on a terminal, not with --quiet, and gone before the line of an epoch."""

import contextlib
import io
from pathlib import Path

import pytest

import kerascxr
from kerascxr.cli.start import run_command
from kerascxr.progress import ProgressBar
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


def test_bars_are_drawn_on_a_terminal_only():
    with standard_error(Terminal()) as terminal:
        draw([], "")
    assert "Drawing" in terminal.getvalue()
    with standard_error(io.StringIO()) as file:
        draw([], "")
    assert not file.getvalue()


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


def test_all_bars_follow_these_rules():
    package = Path(kerascxr.__file__).parent
    users = [path.name for path in package.rglob("*.py") if "import tqdm" in path.read_text()]
    assert users == ["progress.py"]
