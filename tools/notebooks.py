r"""Runs the notebooks of ``docs/notebooks/`` and keeps their outputs in them.

Run by hand, from the project's root, after a change of a notebook or of what it shows::

    python -m tools.notebooks

``--check`` runs them and keeps nothing: it fails where a cell fails, or where a notebook's outputs
are missing or too large. Each notebook runs in an empty folder. No Jupyter is needed: cells are
plain Python, and a cell's last expression is shown as Jupyter would show it, as a picture or text.
"""

import argparse
import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
MAX_BYTES = 300_000
"""Of a notebook with its outputs."""


def run_cells(cells: list[dict[str, Any]], change: Callable[[str], str] = str) -> None:
    """Runs a notebook's code cells in order and sets their outputs.

    Args:
        cells: The cells; those of code are changed.
        change: Changes the source of a cell before it runs; a test makes it quick.

    Raises:
        Exception: Whatever a cell raises.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        count += 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            shown = _run(change("".join(cell["source"])), names)
        outputs: list[dict[str, Any]] = []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            outputs.append({"output_type": "stream", "name": "stdout", "text": text})
        if shown is not None:
            outputs.append(
                {
                    "output_type": "execute_result",
                    "execution_count": count,
                    "metadata": {},
                    "data": _display(shown),
                }
            )
        cell["execution_count"] = count
        cell["outputs"] = outputs


def _run(source: str, names: dict[str, Any]) -> Any:
    """Runs a cell; returns the value of its last expression, None without one."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, "<cell>", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


def _display(value: Any) -> dict[str, Any]:
    """Returns a value's output: as PNG where it has one, and as text."""
    data: dict[str, Any] = {"text/plain": [repr(value)]}
    picture = getattr(value, "_repr_png_", lambda: None)()
    if picture:
        data = {"text/plain": ["<picture>"], "image/png": base64.b64encode(picture).decode()}
    return data


def main() -> int:
    """Runs the notebooks; returns 1 if one does not stand as it should."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="run them, and keep nothing")
    arguments = parser.parse_args()
    wrong = []
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        kept = [bool(cell.get("outputs")) for cell in notebook["cells"]]
        here, began = Path.cwd(), time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            os.chdir(scratch)
            try:
                run_cells(notebook["cells"])
            finally:
                os.chdir(here)
        print(f"{path.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
        elif kept != [bool(cell.get("outputs")) for cell in notebook["cells"]]:
            wrong.append(f"{path}: outputs are missing; run python -m tools.notebooks")
        if len(text.encode()) > MAX_BYTES:
            wrong.append(f"{path}: {len(text.encode()):,} bytes, more than {MAX_BYTES:,}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
