"""The browser page in headless Chromium, with a stand-in model."""

import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from kerascxr.evaluation.lung_masks import lung_mask_faults
from tests.support import hostile_files as hostile
from tests.support.web_images import COLUMNS, DARK, ROWS, dicom, file, lungs_on_bright, png
from tests.support.web_page import (
    CLASSES,
    WARNINGS,
    WEB,
    Opened,
    answer_of,
    served,
    text,
    write_app,
)

MARKUP = "<img src=x onerror=alert(1)>"


def test_an_image_is_answered_as_the_graph_does(opened):
    page = opened.page
    assert "For research, not for diagnosis" in text(page, "header")
    start = text(page, "#answers")
    assert "95.4% (95% interval 93.0% to 97.0%) on 458 test images of its own data set" in start
    assert start.endswith("The border alone predicts the class better than chance.")
    opened.give(png())
    probabilities, _ = answer_of(lungs_on_bright())
    best = CLASSES[int(probabilities.argmax())]
    assert page.inner_text("#decision .verdict") == f"{best}, {100 * probabilities.max():.1f}%"
    shown = page.locator(".bars .value").all_inner_texts()
    assert shown == [f"{100 * value:.1f}%" for value in probabilities]
    # Two lungs of 48 x 32 pixels; the graph resizes to 64 x 64 (linear), exactly by its own rule.
    assert "Of the image 25.0%" in text(page, "#answer")
    assert "a PNG file does not state the size of its pixels" in text(page, "#answer")
    assert best in page.inner_text("#live")


@pytest.mark.parametrize("width", [400, 1400])
def test_warnings_stand_before_the_image_and_the_score_in_plain_words(opened, width):
    page = opened.page
    page.set_viewport_size({"width": width, "height": 800})
    opened.give(DARK)
    sentence = WARNINGS["nearly constant"]
    assert text(page, "#decision") == f"Not decided {sentence}"
    assert "Most probable, but not decided" in text(page, "#answer")
    places = [page.locator(f"#{name}").bounding_box() for name in ("decision", "view", "controls")]
    assert [box["y"] for box in places] == sorted(box["y"] for box in places)
    assert page.locator("#answer").bounding_box()["y"] > places[0]["y"] + places[0]["height"]
    # The row says whose probability it is, since the decision names no class.
    row = text(page, "#rows")
    assert re.search(rf"not decided nearly constant [\d.]+% ({'|'.join(CLASSES)})", row), row


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"PixelSpacing": [0.5, 0.25]}, "by PixelSpacing. The file does not say whether"),
        (
            {"PixelSpacing": [0.5, 0.25], "PixelSpacingCalibrationType": "GEOMETRY"},
            "calibrated in the patient (GEOMETRY)",
        ),
        (
            {"ImagerPixelSpacing": [0.5, 0.25]},
            "by ImagerPixelSpacing: at the detector, where the patient appears magnified",
        ),
    ],
)
def test_a_dicom_file_gives_an_area(opened, tags, says):
    opened.give(dicom(WindowCenter="128", WindowWidth="256", Modality="DX", **tags))
    shown = text(opened.page, "#answer")
    assert says in shown
    area = float(shown.split("Area ")[1].split(" mm²")[0].replace(",", ""))
    assert area == pytest.approx(2 * 48 * 32 * 0.5 * 0.25, rel=0.03)
    assert "Modality DX" in shown and "centre 128, width 256" in shown


def test_what_speaks_against_a_chest_x_ray_is_said(opened):
    page = opened.page
    opened.give(dicom(Modality="DX", PixelSpacing=[1, 1]))
    assert "Decision" in text(page, "#decision") and "modality" not in text(page, "#decision")
    assert "This outline is not" not in text(page, "#answer")
    page.click("#clear")
    grey = lungs_on_bright()
    grey[:, 64:] = 200
    one_lung = hostile.dicom(grey.tobytes(), ROWS, COLUMNS, Modality="MG")
    opened.give(file("breast.dcm", one_lung))
    shown = text(page, "#decision")
    assert shown.startswith("The file is of modality MG, not an X-ray image (CR, DX). Decision")
    shown = text(page, "#answer")
    (fault,) = [  # two lungs are not asked for
        fault for fault in lung_mask_faults(grey < 128) if "side by side" not in fault
    ]
    assert f"in an upright frontal X-ray: it {fault}." in shown
    assert "this DICOM file does not state the size of its pixels" in shown


def test_each_image_begins_as_its_file_shows_it(opened):
    page = opened.page
    opened.give(png("a.png"), png("b.png"))
    page.fill("#level", "90")
    page.fill("#window", "50")
    page.fill("#mix", "40")
    page.click("#next")
    assert page.inner_text("#image-name") == "b.png"
    read = {name: page.input_value(f"#{name}") for name in ("level", "window", "mix")}
    assert read == {"level": "0", "window": "0", "mix": "40"}
    page.click("#clear")
    assert page.input_value("#mix") == "0"


def test_the_csv_is_the_table_of_predict(opened):
    opened.give(png(), dicom(PixelSpacing=[1, 1]), DARK, file("not.png", b"text"), png("=1+1.png"))
    with opened.page.expect_download() as download:
        opened.page.click("#save")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert list(rows[0]) == [
        *("path", "predicted", *(f"probability {name}" for name in CLASSES)),
        *("decision", "prediction_set", "warnings", "ood_score", "lung_fraction", "lung_mm2"),
    ]
    # A spreadsheet would compute "=1+1"; what could not be read has no row.
    assert [row["path"] for row in rows] == ["chest.png", "chest.dcm", "dark.png", "./=1+1.png"]
    assert "1 could not be read; the CSV leaves them out" in text(opened.page, "#progress-text")
    for row, grey in zip(rows, (lungs_on_bright(), None, np.full((50, 50), 5)), strict=False):
        if grey is None:
            continue
        probabilities, kinds = answer_of(grey)
        found = [float(row[f"probability {name}"]) for name in CLASSES]
        np.testing.assert_allclose(found, probabilities, atol=1e-6)
        best = CLASSES[int(probabilities.argmax())]
        assert row["predicted"] == best
        assert row["decision"] == ("not decided" if kinds else best)
        assert row["warnings"] == "; ".join(kinds)
        inside = [name for name, value in zip(CLASSES, probabilities, strict=True) if value >= 0.2]
        assert row["prediction_set"] == "; ".join(inside)


def test_files_come_by_drop_and_by_paste_too(opened):
    page = opened.page
    give = """([data, kind]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(data)], `${kind}.png`, {type: "image/png"}));
      const event = kind === "drop"
        ? new DragEvent("drop", {dataTransfer: transfer, cancelable: true, bubbles: true})
        : new ClipboardEvent("paste", {clipboardData: transfer, cancelable: true, bubbles: true});
      document.body.dispatchEvent(event);
      return event.defaultPrevented;
    }"""
    for n, kind in enumerate(("drop", "paste"), 1):
        assert page.evaluate(give, [list(png()["buffer"]), kind])
        page.locator("#rows tr").nth(n - 1).wait_for()
        page.locator("#all[aria-busy=false]").wait_for()
        assert page.inner_text("#image-name") == f"{kind}.png"


def test_a_folder_that_is_dropped_gives_its_files_with_their_paths(opened, tmp_path):
    page = opened.page
    (tmp_path / "ward/deep").mkdir(parents=True)
    for name in ("ward/b10.png", "ward/b9.png", "ward/deep/c.png", "ward/.hidden.png"):
        (tmp_path / name).write_bytes(png()["buffer"])
    session = opened.context.new_cdp_session(page)
    data = {"items": [], "files": [str(tmp_path / "ward")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"type": kind, "x": 300, "y": 300, "data": data}
        session.send("Input.dispatchDragEvent", place)
    page.locator("#rows tr").nth(2).wait_for()
    page.locator("#all[aria-busy=false]").wait_for()
    shown = page.locator("#rows button").all_inner_texts()
    assert shown == ["ward/b9.png", "ward/b10.png", "ward/deep/c.png"]
    assert page.locator("#dropping").is_hidden()


def test_the_map_the_window_and_the_outline_change_the_picture(opened):
    page = opened.page
    page.set_viewport_size({"width": 900, "height": 1400})
    opened.give(png())

    def colours():
        page.wait_for_timeout(150)
        shot = Image.open(io.BytesIO(page.locator("#view").screenshot())).convert("RGB")
        return np.asarray(shot)[20:-80].astype(int)

    outlined = colours()
    page.uncheck("#outline")
    plain = colours()
    assert np.ptp(outlined, axis=2).max() > 50 and np.ptp(plain, axis=2).max() < 10
    page.fill("#mix", "100")
    assert np.ptp(colours(), axis=2).max() > 50
    page.fill("#mix", "0")
    page.fill("#level", "100")
    assert colours().mean() > plain.mean() + 20
    page.click("#reset")
    page.uncheck("#outline")
    assert np.array_equal(colours(), plain)


def test_an_ensemble_of_a_region_gets_the_lungs_and_shows_its_map_there(browser, tmp_path):
    with served(write_app(tmp_path / "app", region=True)) as address:
        opened = Opened(browser, address).ready()
        page = opened.page
        assert "It gets the right half of the lungs." in text(page, "#answers")
        page.set_viewport_size({"width": 900, "height": 1400})
        grey = lungs_on_bright()
        grey[2:18, 56:72] = 30  # a third component, of 2 % of the image
        opened.give(png(grey=grey))
        shown = text(page, "#answer")
        # The share of the two largest components alone, as the classifier got them.
        assert "Out-of-distribution score 0.25" in shown and "Of the image 25.0%" in shown
        assert "The mean of 2 members." in shown and page.locator(".mark").count() == 0
        page.uncheck("#outline")
        page.fill("#mix", "100")
        page.wait_for_timeout(150)
        shot = Image.open(io.BytesIO(page.locator("#view").screenshot())).convert("RGB")
        coloured = np.ptp(np.asarray(shot).astype(int), axis=2) > 10
        coloured[:40] = coloured[-80:] = False  # buttons
        rows, columns = np.nonzero(coloured)
        height, width = coloured.shape
        scale = min(height / ROWS, width / COLUMNS)  # the image fills its box one way
        assert columns.min() == pytest.approx(width / 2, abs=3)
        assert rows.min() == pytest.approx(height / 2 - ROWS * scale / 4, abs=3)
        page.click("#clear")
        opened.give(png("none.png", np.full((64, 64), 200, np.uint8)))
        caution = "The model gets the right half of the lungs, but what was found here cannot be"
        assert caution in text(page, "#decision")
        page.click("#open-card")
        assert "Members one, two" in text(page, "#card-text")
        opened.close()


def hostile_ones():
    """Files that end in one line, each with a part of it."""
    files = hostile.small_files(lungs_on_bright()) | hostile.dicom_files()
    files["PNG of 30,000 x 30,000, black"] = hostile.black_png(30_000, 30_000)
    files["GIF89"] = b"GIF89a" + bytes(100)
    return files


def test_hostile_files_end_in_one_line_and_the_page_lives(opened):
    page = opened.page
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    names = []
    for name, data in hostile_ones().items():
        names.append(name)
        page.set_input_files("#files", [file(f"{name}.png", data)])
    page.set_input_files("#files", [png(f"{MARKUP}.png"), png("good.png")])
    page.locator("#all[aria-busy=false]").wait_for()
    rows = dict(zip([*names, MARKUP, "good"], page.locator("#rows tr").all(), strict=True))
    lines = {name: " ".join(row.inner_text().split()) for name, row in rows.items()}
    for name, says in {
        "zero bytes": "is empty",
        "PNG cut in the middle": "is truncated",
        "JPEG cut in the middle": "is truncated",
        "PNG of 100,000 x 100,000, by its header": "more than 80 million",
        "PNG of 30,000 x 30,000, black": "more than 80 million",
        "JPEG of 65,535 x 65,535, by its header": "more than 80 million",
        "PNG with a wrong check sum": "is damaged",
        "SVG": "is an SVG drawing",
        "HTML": "is an HTML page",
        "text": "is not a PNG, JPEG or DICOM image",
        "GIF": "is of a format that this page does not read",
        "DICOM of 65,535 x 65,535": "claims 65535 x 65535 pixels",
        "DICOM that unpacks to 1 GB": "deflated as a whole",
        "DICOM of two frames": "holds 2 frames",
        "DICOM cut in the middle": "holds 1111 frames",
    }.items():
        assert says in lines[name], (name, lines[name])
    assert "Not read" not in lines["good"] and "Not read" not in lines[MARKUP]
    assert all(len(line) < 300 for line in lines.values())
    assert page.locator("img[src=x]").count() == 0
    assert MARKUP in page.inner_text("#rows")


def test_tags_with_markup_are_shown_as_text(opened):
    page = opened.page
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    opened.give(
        dicom(
            Modality="<B>X",
            PatientName=MARKUP,
            PatientID="<script>alert(1)</script>",
            ViewPosition="<i>",
            PixelSpacing=[1, 1],
            PixelSpacingCalibrationType="<script>",
        )
    )
    assert page.locator("#answer :is(b, i, script, img)").count() == 0
    shown = text(page, "body")
    assert "alert(1)" not in shown  # nothing of the patient is shown
    assert "Modality BX" in shown


@pytest.mark.parametrize("width", [400, 800, 1400])
def test_nothing_is_clipped_and_axe_finds_nothing(opened, width):
    page = opened.page
    page.set_viewport_size({"width": width, "height": 900})
    check(page)
    long = "a_very_long_name_without_any_space_" * 4 + ".png"
    opened.give(dicom(PixelSpacing=[0.5, 0.5]), DARK, png(long), file("bad.png", b"text"))
    page.fill("#mix", "50")
    for _ in range(4):
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        check(page)
        if page.locator("#next").is_enabled():
            page.click("#next")
    page.click("#open-card")
    check(page)
    page.click("#close-card")


def check(page):
    """Fails for what sticks out of the window or its box, and for what axe finds."""
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    clipped = page.evaluate(
        """[...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()
          && !e.closest(".visually-hidden") && !["CANVAS", "INPUT", "SELECT"].includes(e.tagName)
          && e.clientWidth > 0 && (e.scrollWidth > e.clientWidth + 1
            || e.getBoundingClientRect().right > window.innerWidth + 1))
          .map((e) => `${e.tagName} ${e.id} ${e.className}: ${e.textContent.slice(0, 60)}`)"""
    )
    assert not clipped, clipped
    source = WEB / "node_modules/axe-core/axe.min.js"
    if not source.exists():
        return
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(source.read_text(encoding="utf-8"))
    # Colours alone depend on the scheme.
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        asked = {"resultTypes": ["violations"], **rules}
        found = page.evaluate("(asked) => axe.run(asked).then((r) => r.violations)", asked)
        told = [(one["id"], [node["html"][:150] for node in one["nodes"]]) for one in found]
        assert not told, (scheme, json.dumps(told, indent=1))
