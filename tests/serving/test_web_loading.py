"""The browser page as it is loaded: what it asks for and keeps, versions, workers, the keyboard."""

import os
import urllib.parse

import pytest

from tests.support.web_images import DARK, dicom, file, png
from tests.support.web_page import Opened, served, text, until, write_app, write_model_card


@pytest.fixture
def open_page(browser, web_url):
    """Opens the page; at the end it must have asked nobody else and complained of nothing."""
    opened = []

    def open_one(address=web_url, **options):
        opened.append(Opened(browser, address, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


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


def test_the_policy_forbids_other_origins_in_the_page_and_in_workers(browser, web_url):
    opened = Opened(browser, web_url).ready()
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


def test_files_chosen_before_the_model_is_there_are_answered(browser, web_url):
    opened = Opened(browser, web_url)
    opened.page.set_input_files("#files", [png()])
    opened.page.locator("#decision .verdict").wait_for()
    opened.close()


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
        for path in folder.rglob("*.json"):  # or another run's, exported long before
            os.utime(path, (0, 0))
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


def test_another_program_at_the_address_is_not_covered_by_the_page(browser, web_app, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("<p>Another program</p>")
    with served(web_app) as address:
        context = Opened(browser, address).ready().context
    with served(other, port=urllib.parse.urlsplit(address).port) as address:
        page = context.new_page()
        page.goto(address)
        page.get_by_text("Another program").wait_for()
        context.close()


def test_a_worker_that_dies_or_hangs_ends_in_a_line_and_is_replaced(browser, web_url):
    opened = Opened(
        browser,
        web_url,
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


def test_the_page_works_by_keyboard(open_page):
    opened = open_page()
    page = opened.page
    # Listened to from here on: expect_file_chooser() may begin to listen only after the key.
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    opened.ready()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "open-card"
    page.keyboard.press("Enter")
    page.locator("#card").wait_for()
    page.keyboard.press("Escape")
    until(page, "document.activeElement.id === 'open-card'")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for _ in range(200):
        if choosers:
            break
        page.wait_for_timeout(50)
    choosers[0].set_files([png("a.png"), png("b.png"), DARK])
    page.locator("#all[aria-busy=false]").wait_for()
    page.locator("#view[aria-label='X-ray a.png']").wait_for()  # drawn after its answer
    zoom = "document.querySelector('#view').dataset.zoom"
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "view":
            break
    page.keyboard.press("+")
    until(page, f"{zoom} === '1.25'")
    page.keyboard.press("0")
    until(page, f"{zoom} === '1.00'")
    page.focus("#mix")
    page.keyboard.press("End")
    page.locator("#map-scale").wait_for()
    page.focus("#next")
    page.keyboard.press("Enter")
    page.locator("#image-name", has_text="b.png").wait_for()
    assert "b.png: " in page.inner_text("#live")
    page.locator("#rows button").nth(2).focus()
    page.keyboard.press("Enter")
    page.locator("#image-name", has_text="dark.png").wait_for()
    assert "not decided" in text(page, "#rows [aria-current]")
    page.focus("#clear")
    page.keyboard.press("Enter")
    page.locator("#start").wait_for()
    assert page.locator("#result").is_hidden()
