"""Files that the browser page is given and does not answer, or that have one name, are not lost."""

import csv
import io

import pytest

from tests.support.web_images import file, png

DROP = """([folders]) => {
  const failing = (name, fullPath, isFile, more) => ({name, fullPath, isFile, ...more});
  const folder = ({name, files, broken}) => failing(name, `/${name}`, false, {
    isDirectory: true,
    createReader: () => {
      let left = Array.from({length: files}, (_, n) => failing(
        `${n}.png`, `/${name}/${n}.png`, true, {file: (_, reject) => reject(new Error("locked"))},
      ));
      return {readEntries: (resolve, reject) => {
        if (broken) return reject(new Error("locked"));
        resolve(left);
        left = [];
      }};
    },
  });
  const event = new Event("drop", {bubbles: true, cancelable: true});
  const items = folders.map((one) => ({webkitGetAsEntry: () => folder(one)}));
  Object.defineProperty(event, "dataTransfer", {value: {items, files: [], types: ["Files"]}});
  document.body.dispatchEvent(event);
}"""


def saved(page):
    with page.expect_download() as download:
        page.click("#save")
    return list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))


def test_files_of_one_name_have_rows_that_differ(opened):
    page = opened.page
    opened.give(png("a.png"), png("a.png"), png("a.png (2)"))
    opened.give(png("a.png"), file("b.png", b"text"))
    paths = [row["path"] for row in saved(page)]
    assert paths == ["a.png", "a.png (2)", "a.png (2) (2)", "a.png (3)"]
    page.click("#clear")
    opened.give(png("a.png"))
    assert page.inner_text("#image-name") == "a.png"


@pytest.mark.parametrize(("files", "rows"), [(2000, 2000), (2003, 2001)])
def test_what_a_drop_does_not_take_is_said(opened, files, rows):
    page = opened.page
    page.evaluate(DROP, [[{"name": "ward", "files": files}]])
    page.locator("#rows tr").nth(rows - 1).wait_for()
    assert page.locator("#rows tr").count() == rows
    last = " ".join(page.locator("#rows tr").last.inner_text().split())
    if rows > 2000:
        assert last.startswith("ward Not read: it holds 3 more files than the 2,000 that one drop")
    assert f"{rows} could not be read" in page.inner_text("#progress-text")


def test_a_file_and_a_folder_that_cannot_be_opened_have_rows(opened):
    page = opened.page
    folders = [{"name": "ward", "files": 1}, {"name": "locked", "files": 0, "broken": True}]
    page.evaluate(DROP, [folders])
    page.locator("#rows tr").nth(1).wait_for()
    shown = [" ".join(row.inner_text().split()) for row in page.locator("#rows tr").all()]
    assert shown == [
        "ward/0.png Not read: it cannot be opened.",
        "locked Not read: it cannot be opened.",
    ]
