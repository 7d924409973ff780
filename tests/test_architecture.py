"""Who may import whom: only from one's own group and from the groups above it."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
GROUPS = ["", "data", "models", "evaluation", "report", "training", "serving"]
WITHOUT_TENSORFLOW = (
    "kerascxr.config",
    "kerascxr.names",
    "kerascxr.parsing",
    "kerascxr.runs.folder",
    "kerascxr.runs.atomic",
    "kerascxr.cli.start",
    "kerascxr.data.sources.opening",
    "kerascxr.data.phantom.drawing",
    "kerascxr.data.ingest.records",
    "kerascxr.data.ingest.folds",
    "kerascxr.evaluation.calibration",
    "kerascxr.data.corruptions",
    "kerascxr.audits.leakage",
    "kerascxr.evaluation.classification",
    "kerascxr.evaluation.segmentation",
    "kerascxr.evaluation.uncertainty",
    "kerascxr.evaluation.comparison",
    "kerascxr.evaluation.origin_probes",
    "kerascxr.report.origins",
    "kerascxr.evaluation.run_comparison",
    "kerascxr.report.page",
    "kerascxr.report.leakage",
    "kerascxr.tables",
    "kerascxr.report.calibration",
    "kerascxr.plots.calibration",
    "kerascxr.report.robustness",
    "kerascxr.plots.classification",
    "kerascxr.plots.segmentation",
)


def top_level_imports(path):
    """Imports outside of functions: those inside are how verbs reach down without loading."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def group_of(parts):
    return parts[1] if len(parts) > 2 else ""


def test_imports_go_one_way():
    for path in (ROOT / "kerascxr").rglob("*.py"):
        own = GROUPS.index(group_of(path.relative_to(ROOT).with_suffix("").parts))
        for module in top_level_imports(path):
            if module.startswith("kerascxr."):
                parts = module.split(".")
                inside = (ROOT / "kerascxr" / parts[1]).is_dir()
                other = GROUPS.index(parts[1] if inside else "")
                assert other <= own, f"{path.relative_to(ROOT)} imports {module}"


def test_what_needs_no_tensorflow_does_not_import_it():
    script = (
        "import importlib, sys\n"
        f"for name in {WITHOUT_TENSORFLOW!r}: importlib.import_module(name)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'TensorFlow was imported'"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_and_ci_give_the_same_test_command():
    command = "pip install -q -r requirements-dev.txt && pytest"
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n{command}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
