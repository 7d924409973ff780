"""What the tests of serving share."""

import json
import shutil

import numpy as np
import pytest
from filelock import FileLock

from kerascxr import __main__ as verbs
from kerascxr.evaluation import lung_masks
from kerascxr.evaluation.calibration import apply_temperature
from tests.support.web_page import Opened, chromium, served, write_app


@pytest.fixture(scope="session")
def chest(shared_folder, runs):
    """An export of the classifier with the U-Net, read-only; the first worker makes it for all."""
    to = shared_folder / "models/chest"
    command = ["export", str(runs[0]), "--segmentation", str(runs[1]), "--to", str(to)]
    with FileLock(shared_folder / "chest.lock"), pytest.MonkeyPatch.context() as patched:
        patched.setattr(lung_masks, "MOST_IMPLAUSIBLE", 1.0)
        if not (to / "1").exists():
            assert verbs.main(command) == 0
    return to


@pytest.fixture(scope="session")
def plain(shared_folder, runs, chest):
    """Exports of the classifier, read-only: version 1 with the U-Net, version 2 without."""
    to = shared_folder / "plain/chest"
    with FileLock(shared_folder / "plain.lock"):
        if not (to / "2").exists():
            shutil.copytree(chest, to)
            assert verbs.main(["export", str(runs[0]), "--to", str(to)]) == 0
    return to


@pytest.fixture(scope="session")
def at_temperature():
    """Gives the test's probabilities, from its raw ones, as a run's predictions and exports do."""

    def apply(run, probabilities):
        found = json.loads((run / "metrics.json").read_text())["calibration"]["temperature"]
        return apply_temperature(np.asarray(probabilities), found)

    return apply


@pytest.fixture(scope="session")
def web_app(tmp_path_factory):
    """The browser page with its stand-in model, read-only."""
    return write_app(tmp_path_factory.mktemp("web") / "app")


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium. Playwright's event loop must not outlive the module."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def web_url(web_app):
    """Where ``web_app`` is served."""
    with served(web_app) as address:
        yield address


@pytest.fixture(scope="module")
def once(browser, web_url):
    """One page for all tests that leave it as it was."""
    one = Opened(browser, web_url, reduced_motion="reduce").ready()
    yield one
    one.close()


@pytest.fixture
def opened(once):
    """The page, without images and with its settings at the beginning."""
    page = once.page
    page.set_viewport_size({"width": 1280, "height": 720})
    if page.locator("#clear").is_visible():
        page.click("#clear")
    yield once
    assert not once.complaints, once.complaints


@pytest.fixture
def sixty_images(served, tmp_path):
    """Sixty images and one that cannot be read, among the last."""
    folder = tmp_path / "images"
    folder.mkdir()
    for path in (served / "set").glob("*/*.png"):
        if path.parent.name != "middle":
            (folder / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    (folder / "e.png").write_bytes(b"GIF")
    return folder
