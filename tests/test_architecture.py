"""Who may import whom: a module imports from its own folder and from the folders above it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kerascxr"

# From top to bottom; the modules and folders of a row may import each other.
ORDER = (
    {"__init__", "names"},
    {"parsing", "progress", "config", "tables"},
    {"runs"},
    {"cluster"},
    {"evaluation"},
    {"data"},
    {"models"},
    {"plots"},
    {"training"},
    {"audits"},
    {"serving"},
    {"report"},
    {"cli", "__main__"},
)
WITHOUT_TENSORFLOW = (
    "names",
    "parsing",
    "progress",
    "config",
    "tables",
    "runs",
    "cluster",
    "evaluation",
    "plots",
)
WITHOUT_TENSORFLOW += ("report", "data.sources", "data.phantom", "cli.start", "serving.formats")
WITHOUT_TENSORFLOW += ("models.backbones", "serving.files", "serving.model_folder")
WITHOUT_TENSORFLOW += ("serving.predict_on_cluster", "serving.saved_rows")
_FORBIDDEN = {"tensorflow", "keras", "keras_cv", "tensorflow_datasets", "ray"}


def modules():
    """Every module of the package, by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(path, everywhere=True):
    """The package's modules that a module imports, also inside of functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for item in node.names:
                whole = f"{node.module}.{item.name}"
                yield whole if whole in MODULES else node.module


def place(module):
    """The row of ``ORDER`` that a module stands in."""
    parts = module.split(".")
    top = parts[1] if len(parts) > 1 else "__init__"
    rows = [index for index, row in enumerate(ORDER) if top in row]
    assert rows, f"{module} has no place in ORDER"
    return rows[0]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_above(module):
    for other in imports_of(MODULES[module]):
        if other.split(".")[0] == "kerascxr":
            assert place(other) <= place(module), f"{module} imports {other}"


def test_there_is_no_circle():
    graph = {name: {o for o in imports_of(path) if o in MODULES} for name, path in MODULES.items()}
    done, walking = set(), []

    def walk(name):
        assert name not in walking, " -> ".join([*walking, name])
        if name not in done:
            walking.append(name)
            for other in graph[name] - {name}:
                walk(other)
            done.add(walking.pop())

    for name in graph:
        walk(name)


def test_what_needs_no_tensorflow_does_not_import_it():
    names = [
        name
        for name in MODULES
        if any(f"{name}.".startswith(f"kerascxr.{top}.") for top in WITHOUT_TENSORFLOW)
    ]
    tools = [f"tools.{path.stem}" for path in (ROOT / "tools").glob("[!_]*.py")]
    script = (
        "import importlib, sys\n"
        f"for name in {['kerascxr', *names, *tools]!r}: importlib.import_module(name)\n"
        f"found = {_FORBIDDEN!r} & set(sys.modules)\n"
        "assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_ray_is_imported_where_a_cluster_is_asked_for_alone():
    importing = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] == "ray" for name in imports_of(path))
    }
    assert importing == {"cluster/ray_cluster.py"}
    tree = ast.parse((PACKAGE / "cluster/ray_cluster.py").read_text(encoding="utf-8"))
    assert not any(isinstance(one, ast.Import) and one.names[0].name == "ray" for one in tree.body)


def test_help_does_not_wait_for_slow_packages():
    script = (
        "import sys\n"
        "from kerascxr.cli import data_audit, main\n"
        "from kerascxr.cli.help import help_text\n"
        "main.overview()\n"
        "for names in main.COMMANDS.values():\n"
        "    for name in names:\n"
        "        help_text(main.command_module(name).parser(name))\n"
        "help_text(data_audit.parser('audit'))\n"
        "slow = {'sklearn', 'scipy.stats', 'pandas', 'matplotlib', 'tensorflow', 'keras'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def converted_by_autograph(path):
    """The lines where a module lets TensorFlow rewrite a function's source before its graph."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    as_it_is = {
        id(call.func)
        for call in calls
        for k in call.keywords
        if ast.unparse(k) == "autograph=False"
    }
    return [
        node.lineno
        for node in nodes
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) == "tf.function"
        and id(node) not in as_it_is
    ]


def test_functions_are_traced_as_they_are():
    """AutoGraph takes longer than many a graph, and no branch of ours hangs on a tensor."""
    assert {
        name: found for name, path in MODULES.items() if (found := converted_by_autograph(path))
    } == {}


def test_tools_are_commands_and_nothing_imports_them():
    for path in (*PACKAGE.rglob("*.py"), *(ROOT / "tools").glob("*.py")):
        assert not any(name.split(".")[0] == "tools" for name in imports_of(path)), path
    for path in (ROOT / "tools").glob("[!_]*.py"):
        assert '__name__ == "__main__"' in path.read_text(encoding="utf-8"), path


def test_the_readme_and_ci_give_the_same_test_command():
    command = "pip install -q -r requirements-dev.txt && pytest"
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n{command}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_only_the_age_of_cached_files_is_by_the_clock_that_can_be_set():
    """Intervals are by ``perf_counter``: a clock that jumps must not decide anything."""
    users = {name for name, path in MODULES.items() if "time.time()" in path.read_text("utf-8")}
    assert users == {"kerascxr.runs.cache"}
