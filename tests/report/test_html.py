"""HTML from templates: escaped, grouped, complete."""

import base64
import importlib.resources

from kerascxr.report.blocks import Figure, Section, Tabulated
from kerascxr.report.html import html_page
from kerascxr.tables import Table
from tests.support.web_page import chromium

TEXT = "<b>\"1\" & '2'</b>"
ESCAPED = "&lt;b&gt;&#34;1&#34; &amp; &#39;2&#39;&lt;/b&gt;"


def test_all_text_is_escaped(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"picture")
    table = Tabulated(Table(TEXT, [TEXT, "n"], [[TEXT, 1], [TEXT, TEXT]]), "label", TEXT)
    blocks = [TEXT, table, Figure(picture, "a", TEXT, TEXT)]
    page = html_page([Section(TEXT, blocks)], TEXT, TEXT)
    assert TEXT not in page
    # Twice in the title, the contents, the heading, the paragraph; in the table its region,
    # caption, one heading, three cells, the note; alt and caption; the footer.
    assert page.count(ESCAPED) == 2 + 1 + 1 + 1 + 7 + 2 + 1
    assert base64.b64encode(b"picture").decode() in page


def test_consecutive_figures_share_a_gallery(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"picture")
    one = Figure(picture, "a", "alt", "caption")
    page = html_page([Section("S", [one, one, "between", one])], "T")
    assert page.count('<div class="gallery">') == 2
    assert page.count("<img ") == 3


def test_columns_of_numbers_are_told_from_text():
    rows = [
        ["a", 0.5, "0.9632 [0.944, 0.980]", "0.5 ± 0.1", "1.2 (1.0 to 1.4)", "256×256", "x " * 20],
        ["b", None, "-0.5", "–", "0.1", "7", "7"],
        ["c", None, "", "", "0.1", "7", "7"],
    ]
    header = ["run", "plain", "interval", "deviation", "range", "size", "sentence"]
    page = html_page([Section("S", [Tabulated(Table("T", header, rows), "t")])], "T")
    for name in header[1:5]:
        assert f'<th scope="col" class="number">{name}</th>' in page
    assert '<th scope="col">size</th>' in page
    assert '<th scope="col" class="text">sentence</th>' in page
    assert '0.9632 <span class="interval">[0.944, 0.980]</span></td>' in page
    assert '1.2 <span class="interval">(1.0 to 1.4)</span></td>' in page


def test_a_short_word_with_a_hyphen_is_kept_on_one_line():
    rows = [["depth 2 (seed-0)", "a-b"]]
    page = html_page([Section("S", [Tabulated(Table("T", ["run", "n"], rows), "t")])], "T")
    assert 'depth 2 <span class="word">(seed-0)</span></th>' in page


def test_a_long_name_breaks_behind_underscores():
    rows = [["a", "file efficientnetb0_notop.weights.h5 & more"]]
    page = html_page([Section("S", [Tabulated(Table("T", ["run", "n"], rows), "t")])], "T")
    assert "file efficientnetb0_<wbr>notop.weights.h5 &amp; more</td>" in page


def test_tables_beside_each_other_do_not_overlap_in_print():
    scores = ["0.2192 [0.140, 0.327]"] * 3
    answers = [["Viral Pneumonia at 0.9 or more and decided", *scores], ["standardize", *scores]]
    stages = [["standardize", 128, "128x128", "transposed conv 2x2, concatenate skip", 143680]]
    tables = [
        Table("Answers", ["measure", "own test images", "other", "tuberculosis"], answers),
        Table("Stages", ["stage", "channels", "output size", "operation", "parameters"], stages),
    ]
    blocks = [Tabulated(table, table.title, beside=True) for table in tables]
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 703, "height": 1000})  # A4 within its margins
        page.emulate_media(media="print")
        page.set_content(html_page([Section("S", blocks)], "T"))
        found = page.evaluate("""[...document.querySelectorAll('.beside')].map((box) => {
            const name = [...box.querySelectorAll('th')]
                .find((th) => th.innerText == 'standardize');
            const letters = document.createRange();
            letters.selectNodeContents(name);
            const [outer, table] = [box, box.querySelector('table')].map(
                (element) => element.getBoundingClientRect());
            return {top: outer.top, over: table.right - outer.right,
                lines: letters.getClientRects().length};
        })""")
    assert found[0]["top"] == found[1]["top"], "they are beside each other"
    assert all(box["over"] <= 0.5 and box["lines"] == 1 for box in found), found


def test_templates_are_found_in_the_package():
    folder = importlib.resources.files("kerascxr.report") / "templates"
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert names >= {"page.html", "page.css", "blocks.html"}
    for name in names:
        assert (folder / name).read_text(encoding="utf-8").strip(), name
