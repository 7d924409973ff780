"""The documents: links lead somewhere, named files exist, each design page has a date."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DESIGN = sorted(path for path in ROOT.glob("docs/design/*.md") if path.name != "README.md")
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]


def without_code(text):
    return re.sub(r"```.*?```|^    .*$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links_lead_somewhere(path):
    text = without_code(path.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)", text, re.M)
    for target in targets:
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{path} links to {target}"
        if anchor:
            assert anchor in anchors(found), f"{path} links to {target}"


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_named_files_exist(path):
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:kerascxr|tests|tools|docs|configs|examples)/[\w./*-]+)`", text):
        if name != "docs/decisions/":  # of the changelog: where the design notes were
            assert list(ROOT.glob(name.rstrip("/"))), f"{path} names {name}"
    for module in re.findall(r"python -m (tools\.\w+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), f"{path} names {module}"
    for config in re.findall(r"--config (configs/\S+\.yaml)", text):
        assert (ROOT / config).exists(), f"{path} names {config}"


@pytest.mark.parametrize("path", DESIGN, ids=lambda path: path.stem)
def test_a_design_page_has_a_date_and_is_in_the_index(path):
    title, blank, date = path.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ") and not blank
    assert re.fullmatch(r"Date: 20\d\d-\d\d-\d\d", date)
    index = (path.parent / "README.md").read_text(encoding="utf-8")
    assert f"]({path.name}) |" in index


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("extra", [None, "dev"])
def test_the_ranges_of_pyproject_hold_exactly_the_pinned_packages(extra):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    file = "requirements-dev.txt" if extra else "requirements.txt"
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().split("==") for line in lines if "==" in line)
    ranges = project["optional-dependencies"][extra] if extra else project["dependencies"]
    wanted = [Requirement(item) for item in ranges]
    assert {item.name.lower() for item in wanted} == set(pins)
    for item in wanted:
        assert item.specifier.contains(pins[item.name.lower()]), item
