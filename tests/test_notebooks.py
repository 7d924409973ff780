"""The notebooks stand in the repository with their outputs.

CI runs them as they are (``python -m tools.notebooks --check``).
"""

import json
import re
import runpy
from pathlib import Path

import pytest

from tools.notebooks import FOLDER, MAX_BYTES, run_cells

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


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
