"""Each command of tools/ can be imported and answers --help."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

TOOLS = sorted(path.stem for path in (Path(__file__).parent.parent / "tools").glob("[!_]*.py"))


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_answers_help_with_all_its_options(name, monkeypatch, capsys):
    module = importlib.import_module(f"tools.{name}")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert not ended.value.code
    shown = capsys.readouterr().out
    source = inspect.getsource(module)
    options = re.findall(r'add_argument\(\s*"([\w-]+)"(?!, help=argparse.SUPPRESS)', source)
    assert options and all(option in shown for option in options)
    assert f"python -m tools.{name}" in module.__doc__
