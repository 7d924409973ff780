"""Runs the tests that protect the fixes of silent faults, or plants the faults again.

Run by hand, from the project's root::

    python -m tools.silent_faults
    python -m tools.silent_faults --plant

The faults, and the tests of each, are in ``tools/silent_faults.yaml``. The first command runs the
tests. The second plants one fault after another in a copy of the project, and runs that fault's
tests there: one must fail by itself, on an assertion or an error that it expects and does not get.
Ends with code 1 if a test fails in the first case, or a fault is not noticed in the second.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/design/silent-faults.md"
_LIST = Path(__file__).with_suffix(".yaml")
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S+?\.py::(\w+)(?:.* - (\w+))?", re.MULTILINE)
_BROKEN = ("NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")


class Fault(NamedTuple):
    """A fault that can be planted.

    Attributes:
        row: Its row of the table, e.g. "3b".
        fault: What was wrong, in a sentence.
        fixed: The commit that fixed it, shortened.
        file: The file to change, from the project's root.
        before: The passage that is there once.
        after: What takes its place.
        tests: Tests of which one must fail then.
    """

    row: str
    fault: str
    fixed: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def planted(self, text: str) -> str:
        """Returns a file's text with the fault.

        Raises:
            ValueError: If the passage is not there once.
        """
        count = text.count(self.before)
        if count != 1:
            raise ValueError(
                f"{self.file} must hold the passage of fault {self.row} once. Got it {count} "
                f"times; write the passage of {_LIST.name} anew, and see that a test fails."
            )
        return text.replace(self.before, self.after)


def read_faults() -> list[Fault]:
    """Returns the faults of the list."""
    items = yaml.safe_load(_LIST.read_text(encoding="utf-8"))
    return [Fault(**item | {"tests": tuple(item["tests"])}) for item in items]


def table(faults: Sequence[Fault]) -> str:
    """Returns the table of the page, as Markdown."""
    lines = ["| row | fault | tests that fail with it | fixed in |", "|---|---|---|---|"]
    for of in faults:
        tests = "<br>".join(f"`{_short(test)}`" for test in of.tests)
        lines.append(f"| {of.row} | {of.fault} | {tests} | {of.fixed} |")
    return "\n".join(lines)


def _short(test: str) -> str:
    """Returns a test's name, with its folder and file."""
    return test.removeprefix("tests/").replace(".py", "")


def main() -> int:
    """Runs the tool; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plant", action="store_true", help="Plant the faults, one by one.")
    parser.add_argument("--rows", nargs="+", help="Rows of the table, as 3b; by default all.")
    parser.add_argument("--table", action="store_true", help="Print the table, and run nothing.")
    arguments = parser.parse_args()
    faults = read_faults()
    unknown = set(arguments.rows or ()) - {of.row for of in faults}
    if unknown:
        parser.error(f"--rows must be rows of the table. Got {', '.join(sorted(unknown))}.")
    if arguments.rows:
        faults = [of for of in faults if of.row in arguments.rows]
    if arguments.table:
        print(table(faults))
        return 0
    if not arguments.plant:
        tests = list(dict.fromkeys(test for of in faults for test in of.tests))
        return _pytest(ROOT, tests, "-q").returncode
    return _plant_all(faults)


def _plant_all(faults: Sequence[Fault]) -> int:
    unnoticed = []
    with tempfile.TemporaryDirectory(prefix="kerascxr-silent-") as folder:
        copy = Path(folder)
        _copy_project(copy)
        for of in faults:
            path = copy / of.file
            text = path.read_text(encoding="utf-8")
            broken = of.planted(text)
            if path.suffix == ".py":
                ast.parse(broken)
            path.write_text(broken, encoding="utf-8")
            done = _pytest(copy, of.tests, "-q", "--tb=line", capture=True)
            path.write_text(text, encoding="utf-8")
            noticed = noticing(done.stdout)
            if not noticed:
                unnoticed.append(of.row)
                print(done.stdout[-1500:], done.stderr[-500:])
            print(f"{of.row}: {', '.join(noticed) or 'NOT NOTICED'}", flush=True)
    print(f"{len(faults) - len(unnoticed)} of {len(faults)} planted faults were noticed.")
    return 1 if unnoticed else 0


def noticing(printed: str) -> list[str]:
    """Returns the tests that failed, by what pytest printed, but for those that could not run."""
    failed = _FAILED.findall(printed)
    return list(dict.fromkeys(test for test, reason in failed if reason not in _BROKEN))


def _copy_project(to: Path) -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    packages = ROOT / "web/node_modules"  # not in Git; the page's tests read its runtime there
    if packages.is_dir():
        (to / "web/node_modules").symlink_to(packages)


def _pytest(
    folder: Path, tests: Sequence[str], *options: str, capture: bool = False
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-rfE"]
    return subprocess.run(
        [*command, *options, *tests],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=capture,
        text=True,
    )


if __name__ == "__main__":
    sys.exit(main())
