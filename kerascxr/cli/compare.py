"""Compare finished runs: which differences are larger than chance."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from kerascxr.cli.options import new_parser, read_options
from kerascxr.runs.atomic import write_json, write_text


def parser(prog: str) -> ArgumentParser:
    """Returns the command's parser."""
    made = new_parser(prog, __doc__)
    made.add_argument("runs", type=Path, nargs="+", help="Run folders, or folders of them.")
    made.add_argument("--to", type=Path | None, help="A folder for compare.md and compare.json.")
    return made


def run(argv: Sequence[str], prog: str) -> None:
    """Runs the command."""
    values = read_options(parser(prog), argv)
    from kerascxr.evaluation.run_comparison import compare_runs
    from kerascxr.report.comparison import comparison_markdown, comparison_text

    result = compare_runs(values.runs)
    if values.to is not None:
        write_json(values.to / "compare.json", result)
        write_text(values.to / "compare.md", comparison_markdown(result))
    print(comparison_text(result))
