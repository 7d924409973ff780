"""What a reader of the browser page sees of names and of files that cannot be read."""

import pytest

from tests.support.web_images import file, png
from tests.support.web_page import text, until


def test_a_file_that_cannot_be_read_has_one_sentence_and_no_empty_stage(opened):
    page = opened.page
    opened.give(file("cut.png", png()["buffer"][:100]), png())
    assert text(page, "#result").count("cut.png is truncated.") == 1
    assert not page.locator("#view").is_visible()
    page.click("#next")
    until(page, "document.getElementById('stage-text').hidden")
    assert page.locator("#view").bounding_box()["height"] > 100


LINES = """(element) => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    const letters = document.createRange();
    const lines = [];
    let at;
    while (walker.nextNode()) {
        for (let place = 0; place < walker.currentNode.length; place++) {
            letters.setStart(walker.currentNode, place);
            letters.setEnd(walker.currentNode, place + 1);
            const { top } = letters.getBoundingClientRect();
            if (top === at) lines[lines.length - 1] += letters.toString();
            else lines.push(letters.toString());
            at = top;
        }
    }
    return lines;
}"""


@pytest.mark.parametrize("width", [400, 800])
def test_names_break_at_separators_and_not_within_their_ending(opened, width):
    page = opened.page
    opened.give(png("inverted.png"))
    page.set_viewport_size({"width": width, "height": 900})
    words = "unlike the training images; perhaps an inverted grey scale; several classes possible"
    page.locator("#rows td").nth(1).evaluate("(cell, text) => cell.append(text)", words)
    assert page.locator("#rows button").first.evaluate(LINES) == ["inverted.png"]
    page.click("#clear")
    page.set_viewport_size({"width": width, "height": 900})
    names = ["00000766_018.png", "posteroanteriorprojection.png", f"{'1234567890' * 9}.png"]
    names += ["patient_0000123_first-visit 2.png", "inverted.png"]
    opened.give(*map(png, names))
    for button in page.locator("#rows button").all():
        assert button.evaluate(LINES)[-1].endswith(".png")
    assert page.locator("#rows button").last.evaluate(LINES) == names[-1:]
    lines = page.locator("#rows button").first.evaluate(LINES)
    assert lines[0] in ("00000766_", names[0])
    page.locator("#rows button").nth(2).click()
    assert page.locator("#image-name").evaluate(LINES)[-1].endswith(".png")


def test_the_name_of_an_image_chosen_in_the_table_is_below_the_header(opened):
    page = opened.page
    page.set_viewport_size({"width": 400, "height": 700})
    opened.give(*(png(f"{number}.png") for number in range(12)))
    page.locator("#rows button").last.click()
    header, name = (page.locator(one).bounding_box() for one in ("header", "#image-name"))
    assert header["y"] + header["height"] <= name["y"] < 700


@pytest.mark.parametrize("width", [800, 1400])
def test_the_header_is_one_line_with_a_long_name(opened, width):
    page = opened.page
    page.set_viewport_size({"width": width, "height": 700})
    opened.give(png())
    page.evaluate(
        "document.getElementById('model-name').textContent = 'ensemble of 2 runs: a, '.repeat(4)"
    )
    boxes = [page.locator(one).bounding_box() for one in (".brand", "header .notice", "#add")]
    middles = [box["y"] + box["height"] / 2 for box in boxes]
    assert max(middles) - min(middles) < 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
