"""The notebooks run, with small settings, and stand in the repository with their outputs.

CI also runs them as they are (``python -m tools.notebooks --check``).
"""

import json
import re
import runpy
from pathlib import Path

import pytest

from tests.support.small_runs import bright_and_dark
from tools.notebooks import FOLDER, MAX_BYTES, run_cells

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SMALL = {
    "--backbone shufflenetv2 --weights drawn": "--backbone tiny --weights none",
    "--data.phantom_images 240": "--image_size 32,32",
    "--data.phantom_images 160": "",
    "--epochs 8": "--epochs 1",
    "--epochs 4": "--epochs 1",
}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def small(source):
    for ours, quick in SMALL.items():
        source = source.replace(ours, quick)
    return source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_run(path, served, tmp_path, monkeypatch, whole_unet):
    monkeypatch.chdir(tmp_path)
    bright_and_dark(tmp_path / "other", each=20, seed=1)
    places = {"SOURCE": f"{served}/set", "OTHER": "other"}

    def quick(source):
        for ours, other in SMALL.items():
            source = source.replace(ours, other)
        for name, place in places.items():
            source = re.sub(f"^{name} = .*", f'{name} = "{place}"', source, flags=re.M)
        return source

    cells = read(path)["cells"]
    shown = [bool(cell.get("outputs")) for cell in cells]
    run_cells(cells, quick)
    now = [bool(cell.get("outputs")) for cell in cells]
    assert all(after or not before for before, after in zip(shown, now, strict=True))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_stands_with_its_outputs_and_is_small(path):
    notebook = read(path)
    assert path.stat().st_size < MAX_BYTES
    assert notebook["nbformat"] == 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        source = "".join(cell["source"])
        if re.search(r"^(print|show|Image)\b", source, re.M):
            assert cell["outputs"], source
        for output in cell["outputs"]:
            assert "/tmp/" not in json.dumps(output)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_to_pages(path):
    for cell in read(path)["cells"]:
        for target in re.findall(r"\]\(([^)#\s]+)", "".join(cell["source"])):
            assert (path.parent / target).exists(), target


def test_the_site_has_its_text_and_its_outputs():
    page, pictures = runpy.run_path(str(ROOT / "docs/site/hooks.py"))["notebook_page"](NOTEBOOKS[0])
    cells = read(NOTEBOOKS[0])["cells"]
    for cell in cells:
        assert "".join(cell["source"]).split("\n", 1)[-1] in page
    assert len(pictures) == json.dumps(cells).count("image/png") > 0
    assert all(f"]({name})" in page for name in pictures)


def test_a_cell_that_fails_is_not_kept():
    cells = [{"cell_type": "code", "source": ["1 / 0"]}]
    with pytest.raises(ZeroDivisionError):
        run_cells(cells)
    assert "outputs" not in cells[0]
