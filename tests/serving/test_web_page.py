"""The browser page in headless Chromium, with a stand-in model."""

import csv
import io
import json
import time
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from tests.support import hostile_files as hostile
from tests.support.web_page import (
    CLASSES,
    WARNINGS,
    WEB,
    Opened,
    answer_of,
    chromium,
    served,
    write_app,
    write_model_card,
)

ROWS, COLUMNS = 96, 128
MARKUP = "<img src=x onerror=alert(1)>"


def lungs_on_bright():
    """An image whose dark halves the stand-in takes for lungs: uint8 (ROWS, COLUMNS)."""
    grey = np.full((ROWS, COLUMNS), 200, np.uint8)
    grey[24:72, 16:48] = grey[24:72, 80:112] = 30
    grey[80:84, 60:64] = 30  # a third component, which is dropped
    return grey


def file(name, data):
    return {"name": name, "mimeType": "", "buffer": data}


def png(name="chest.png", grey=None):
    return file(name, hostile.encode(lungs_on_bright() if grey is None else grey))


def dicom(name="chest.dcm", **tags):
    grey = lungs_on_bright()
    return file(name, hostile.dicom(grey.tobytes(), ROWS, COLUMNS, **tags))


DARK = png("dark.png", np.full((50, 50), 5, np.uint8))


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return write_app(tmp_path_factory.mktemp("web") / "app")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def url(app):
    with served(app) as address:
        yield address


@pytest.fixture
def open_page(browser, url):
    """Opens the page; at the end it must have asked nobody else and complained of nothing."""
    opened = []

    def open_one(address=url, **options):
        opened.append(Opened(browser, address, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def until(page, condition):
    """Waits for a condition; Playwright's own way needs eval, which the page forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        time.sleep(0.05)
    raise AssertionError(condition)


def text(page, selector):
    return " ".join(page.inner_text(selector).split())


def test_an_image_is_answered_as_the_graph_does(open_page):
    opened = open_page().ready()
    page = opened.page
    assert "For research, not for diagnosis" in text(page, "header")
    start = text(page, "#answers")
    assert "95.4 % (95 % interval 93.0 % to 97.0 %) on 458 test images of its own data set" in start
    assert start.endswith("The border alone predicts the class better than chance.")
    opened.give(png())
    probabilities, _ = answer_of(lungs_on_bright())
    best = CLASSES[int(probabilities.argmax())]
    assert page.inner_text("#decision .verdict") == f"{best}, {100 * probabilities.max():.1f} %"
    shown = page.locator(".bars .value").all_inner_texts()
    assert shown == [f"{100 * value:.1f} %" for value in probabilities]
    # Two lungs of 48 x 32 pixels; the graph resizes to 64 x 64 (linear), exactly by its own rule.
    assert "Of the image 25.0 %" in text(page, "#answer")
    assert "a PNG file does not state the size of its pixels" in text(page, "#answer")
    assert best in page.inner_text("#live")


@pytest.mark.parametrize("width", [400, 1400])
def test_warnings_stand_before_the_image_and_the_score_in_plain_words(open_page, width):
    opened = open_page(viewport={"width": width, "height": 800}).ready()
    opened.give(DARK)
    page = opened.page
    sentence = WARNINGS["nearly constant"]
    assert text(page, "#decision") == f"Not decided {sentence}"
    assert "Most probable, but not decided" in text(page, "#answer")
    places = [page.locator(f"#{name}").bounding_box() for name in ("decision", "view", "controls")]
    assert [box["y"] for box in places] == sorted(box["y"] for box in places)
    assert page.locator("#answer").bounding_box()["y"] > places[0]["y"] + places[0]["height"]
    assert "not decided nearly constant" in text(page, "#rows")


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
def test_a_dicom_file_gives_an_area(open_page, tags, says):
    opened = open_page().ready()
    opened.give(dicom(WindowCenter="128", WindowWidth="256", Modality="DX", **tags))
    shown = text(opened.page, "#answer")
    assert says in shown
    area = float(shown.split("Area ")[1].split(" mm²")[0].replace(",", ""))
    assert area == pytest.approx(2 * 48 * 32 * 0.5 * 0.25, rel=0.03)
    assert "Modality DX" in shown and "centre 128, width 256" in shown


def test_what_speaks_against_a_chest_x_ray_is_said(open_page):
    opened = open_page().ready()
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
    assert "in an upright frontal X-ray: it does not lie in the middle of the image." in shown
    assert "this DICOM file does not state the size of its pixels" in shown


def test_each_image_begins_as_its_file_shows_it(open_page):
    opened = open_page().ready()
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


def test_the_csv_is_the_table_of_predict(open_page):
    opened = open_page().ready()
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


def test_nothing_is_asked_for_or_kept_after_the_page_is_loaded(open_page):
    opened = open_page().ready()
    page = opened.page
    before = len(opened.requests)
    opened.give(png(), dicom(), DARK, file("bad.png", b"text"))
    page.fill("#mix", "60")
    page.select_option("#map-class", "Normal")
    page.click("#next")
    with page.expect_download():
        page.click("#save")
    page.click("#open-card")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    late = [url for url in opened.requests[before:] if not url.startswith("blob:")]
    assert not late
    assert not opened.context.cookies()
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert page.evaluate("indexedDB.databases()") == []
    kept = page.evaluate(
        """async () => (await Promise.all((await caches.keys()).map(async (name) =>
          (await (await caches.open(name)).keys()).map(({url}) => new URL(url).pathname))
        )).flat()"""
    )
    listed = page.evaluate("fetch('files.json').then((r) => r.json())")["files"]
    assert sorted(kept) == sorted(f"/{name}" for name in [*listed, "files.json"] if name != "sw.js")


def test_the_policy_forbids_other_origins_in_the_page_and_in_workers(browser, url):
    opened = Opened(browser, url).ready()
    ask = "fetch('https://example.org/').then(() => 'sent', () => 'refused')"
    assert opened.page.evaluate(ask) == "refused"
    asked = """new Promise((done) => {
      const script = "fetch('https://example.org/')"
        + ".then(() => postMessage('sent'), () => postMessage('refused'))";
      const worker = new Worker(URL.createObjectURL(new Blob([script], {type: "text/javascript"})));
      worker.onmessage = ({data}) => done(data);
    })"""
    assert opened.page.evaluate(asked) == "refused"
    assert sum("Content Security Policy" in line for line in opened.complaints) >= 1
    opened.context.close()


def test_files_come_by_drop_and_by_paste_too(open_page):
    opened = open_page().ready()
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


def test_files_chosen_before_the_model_is_there_are_answered(browser, url):
    opened = Opened(browser, url)
    opened.page.set_input_files("#files", [png()])
    opened.page.locator("#decision .verdict").wait_for()
    opened.close()


def test_the_page_works_by_keyboard(open_page):
    opened = open_page().ready()
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "open-card"
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('#card').open")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "open-card"
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([png("a.png"), png("b.png"), DARK])
    page.locator("#all[aria-busy=false]").wait_for()
    zoom = "document.querySelector('#view').dataset.zoom"
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "view":
            break
    page.keyboard.press("+")
    assert page.evaluate(zoom) == "1.25"
    page.keyboard.press("0")
    assert page.evaluate(zoom) == "1.00"
    page.focus("#mix")
    page.keyboard.press("End")
    assert page.locator("#map-scale").is_visible()
    page.focus("#next")
    page.keyboard.press("Enter")
    assert page.inner_text("#image-name") == "b.png"
    assert "b.png: " in page.inner_text("#live")
    page.locator("#rows button").nth(2).focus()
    page.keyboard.press("Enter")
    assert page.inner_text("#image-name") == "dark.png"
    assert "not decided" in text(page, "#rows [aria-current]")
    page.focus("#clear")
    page.keyboard.press("Enter")
    assert page.locator("#start").is_visible() and page.locator("#result").is_hidden()


def test_the_map_the_window_and_the_outline_change_the_picture(open_page):
    opened = open_page(viewport={"width": 900, "height": 1400}).ready()
    page = opened.page
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


def hostile_ones():
    """Files that end in one line, each with a part of it."""
    files = hostile.small_files(lungs_on_bright()) | hostile.dicom_files()
    files["PNG of 30,000 x 30,000, black"] = hostile.black_png(30_000, 30_000)
    files["GIF89"] = b"GIF89a" + bytes(100)
    return files


def test_hostile_files_end_in_one_line_and_the_page_lives(open_page):
    opened = open_page().ready()
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


def test_tags_with_markup_are_shown_as_text(open_page):
    opened = open_page().ready()
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1400])
def test_nothing_is_clipped_and_axe_finds_nothing(open_page, width, scheme):
    opened = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme).ready()
    page = opened.page
    check(page)
    long = "a_very_long_name_without_any_space_" * 4 + ".png"
    opened.give(dicom(PixelSpacing=[0.5, 0.5]), DARK, png(long), file("bad.png", b"text"))
    page.fill("#mix", "50")
    for _ in range(4):
        check(page)
        if page.locator("#next").is_enabled():
            page.click("#next")
    page.click("#open-card")
    check(page)


def check(page):
    """Fails for what sticks out of the window or its box, and for what axe finds."""
    page.wait_for_timeout(300)
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
    found = page.evaluate("axe.run().then(({violations}) => violations)")
    told = [(one["id"], [node["html"][:150] for node in one["nodes"]]) for one in found]
    assert not told, json.dumps(told, indent=1)


def test_the_page_works_without_a_network_and_takes_a_newer_version(browser, tmp_path):
    folder = write_app(tmp_path / "app")
    with served(folder, isolating=False) as address:
        opened = Opened(browser, address).ready()
        page = opened.page
        assert page.evaluate("crossOriginIsolated") is False
        opened.context.set_offline(True)
        page.reload()
        opened.ready()
        opened.give(png())
        assert page.locator("#decision .verdict").is_visible()
        # The service worker adds the headers that a plain server does not send.
        assert page.evaluate("crossOriginIsolated") is True
        assert page.locator("#newer").is_hidden()
        opened.context.set_offline(False)
        write_model_card(folder, "A newer model")
        second = opened.context.new_page()
        second.goto(address)
        second.locator("#answers").wait_for()
        assert second.inner_text("#model-name") == "A newer model"
        # The first tab goes on with its model, and says so.
        page.locator("#newer").wait_for()
        assert page.inner_text("#model-name") == "Stand-in"
        page.click("#reload")
        page.get_by_text("A newer model").first.wait_for()
        opened.ready()
        assert page.locator("#newer").is_hidden()
        assert len(page.evaluate("caches.keys()")) == 1
        opened.context.close()


def test_another_program_at_the_address_is_not_covered_by_the_page(browser, app, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("<p>Another program</p>")
    with served(app) as address:
        context = Opened(browser, address).ready().context
    with served(other, port=urllib.parse.urlsplit(address).port) as address:
        page = context.new_page()
        page.goto(address)
        page.get_by_text("Another program").wait_for()
        context.close()


def test_a_worker_that_dies_or_hangs_ends_in_a_line_and_is_replaced(browser, url):
    opened = Opened(
        browser,
        url,
        script="""
        window.workers = [];
        window.Worker = class extends Worker {
          constructor(...given) { super(...given); window.workers.push(this); }
          postMessage(message, ...others) {
            if (message.kind !== window.deaf) super.postMessage(message, ...others);
            else window.unheard = (window.unheard ?? 0) + 1;
          }
        };""",
    ).ready()
    page = opened.page
    page.evaluate("window.deaf = 'run'")
    page.set_input_files("#files", [png("dies.png")])
    until(page, "window.unheard === 1")
    page.evaluate("workers[0].dispatchEvent(new ErrorEvent('error', {message: 'out of memory'}))")
    page.locator("#rows", has_text="could not be answered (out of memory)").wait_for()
    page.clock.install()
    page.set_input_files("#files", [png("hangs.png")])
    until(page, "window.unheard === 2")
    page.clock.fast_forward(301_000)
    page.locator("#rows", has_text="takes longer than 300 s").wait_for()
    page.evaluate("deaf = ''")
    opened.give(png("good.png"))
    lines = page.locator("#rows tr").all_inner_texts()
    assert [("Not read" in line) for line in lines] == [True, True, False]
    opened.close()


def test_a_missing_model_and_one_of_another_export_are_named(browser, tmp_path):
    folder = write_app(tmp_path / "app")
    with served(folder) as address:
        for change, says in (
            (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "does not belong to this"),
            (lambda path: path.unlink(), "could not be loaded (404)"),
        ):
            change(folder / "model/classifier.onnx")
            opened = Opened(browser, address)
            opened.page.locator("#trouble").wait_for()
            assert f"model/classifier.onnx {says}" in text(opened.page, "#trouble")
            opened.context.close()
