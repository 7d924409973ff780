"""What the documentation's site generates, and what its reference pages must name."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from kerascxr.cli.config_files import config_files
from kerascxr.cli.help import shown_options
from kerascxr.cli.main import COMMANDS, command_module

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
HOOKS = runpy.run_path(str(DOCS / "site/hooks.py"))
NAMES = [name for names in COMMANDS.values() for name in names]


def built(place):
    """A page's Markdown as the site has it."""
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place))
    text = (DOCS / place).read_text(encoding="utf-8")
    return HOOKS["on_page_markdown"](text, page, None, None)


@pytest.fixture(scope="module")
def commands():
    """Command -> its section of the page of commands."""
    sections = re.split(r"^### kerascxr ", built("reference/commands.md"), flags=re.M)[1:]
    return dict(section.split("\n", 1) for section in sections)


@pytest.mark.parametrize("name", [*NAMES, "data audit"])
def test_the_site_has_every_option_of_every_command(name, commands):
    module = command_module(name) if name in NAMES else command_module("data").data_audit
    actions = shown_options(module.parser(name), getattr(module, "HIDDEN", ()))
    shown = re.findall(r"^`([^` ]+).*`$\n:   \S", commands[name], re.M)
    wanted = [action.option_strings[-1] for action in actions if action.option_strings]
    assert set(wanted) <= set(shown)
    assert len(shown) == len(actions) + 2  # --quiet and --help


def test_titles_of_options_are_text(commands):
    assert "**Images (--data.\\*)**" in commands["train-cls"]


def test_the_site_has_every_packaged_config():
    text = built("reference/configs.md")
    for name, path in config_files().items():
        assert f"## {name}\n" in text and path.read_text(encoding="utf-8").rstrip() in text


@pytest.mark.parametrize(
    ("source", "place", "target", "wanted"),
    [
        ("CONTRIBUTING.md", "contributing.md", "docs/results.md#lungs", "results.md#lungs"),
        ("docs/results.md", "results.md", "../CHANGELOG.md", "changelog.md"),
        ("docs/how-to/a.md", "how-to/a.md", "../../CHANGELOG.md", "../changelog.md"),
        ("docs/how-to/a.md", "how-to/a.md", "https://a.org/a.md", "https://a.org/a.md"),
        ("docs/how-to/a.md", "how-to/a.md", "../../LICENSE", None),
        ("docs/index.md", "index.md", "notebooks/audit.ipynb", "notebooks/audit.md"),
        ("docs/notebooks/audit.md", "notebooks/audit.md", "audit.ipynb", "audit.ipynb"),
    ],
)
def test_links_of_the_repository_lead_to_pages_of_the_site(source, place, target, wanted):
    moved = HOOKS["_moved"]("[here]", target, source, place)
    assert moved == (f"[here]({wanted})" if wanted else "here")


def test_the_navigation_has_every_page():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def pages(entries):
        for entry in entries:
            for value in entry.values() if isinstance(entry, dict) else [entry]:
                yield from [value] if isinstance(value, str) else pages(value)

    found = list(pages(config["nav"]))
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    made = {*HOOKS["PAGES"].values(), *HOOKS["NOTEBOOKS"].values()}
    assert sorted(found) == sorted(written | made)


def test_the_python_page_has_the_public_interface():
    page = (DOCS / "reference/python.md").read_text(encoding="utf-8")
    for stub, prefix in (("__init__.pyi", "kerascxr"), ("models/__init__.pyi", "kerascxr.models")):
        text = (ROOT / "kerascxr" / stub).read_text(encoding="utf-8")
        for name in re.findall(r"^from \.\w\S* import (\w+) as", text, re.M):
            assert f"::: {prefix}.{name}\n" in page


def test_the_page_of_a_runs_files_names_each_of_them(runs):
    page = (DOCS / "reference/run-folder.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w.*/]+)`", page))
    for run in runs:
        files = {path.name + "/" * path.is_dir() for path in run.iterdir()}
        files = {name for name in files if not name.startswith((".", "coarse_history"))}
        assert files <= named, files - named


def test_code_breaks_behind_separators_and_never_within_an_option():
    def shown(content):
        return HOOKS["on_page_content"](content, None, None, None)

    option = '<span class="option">--data.source</span>'
    block = '<pre><code>train<span class="w"> </span>--data.source A-B</code></pre>'
    assert shown(block) == block.replace("--data.source", option)
    assert shown("<td><code>--data.source</code></td>") == f"<td><code>{option}</code></td>"
    long = "training/test_repeats::test_each_seed_has_its_own"
    found = shown(f"<td><code>{long}</code> {long}</td>")
    code, _, text = found.partition("</code> ")
    assert "training/<wbr>test_<wbr>repeats::<wbr>test_<wbr>each" in code
    assert text == f"{long}</td>" and "<wbr>" not in shown("<code>run_name</code>")
    assert shown("<p>10 % of</p>") == "<p>10\N{NO-BREAK SPACE}% of</p>"


def test_a_picture_opens_in_its_own_size():
    picture = '<img alt="Curves" src="../images/a.png" />'
    found = HOOKS["on_page_content"](f"<p>{picture}</p>", None, None, None)
    assert '<a href="../images/a.png"' in found and picture in found
