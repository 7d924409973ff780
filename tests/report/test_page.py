"""The report: from run folders alone, complete, self-contained, and written whole or not at all."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.special import softmax

from kerascxr import __main__ as verbs
from kerascxr.evaluation import classification, segmentation, uncertainty
from kerascxr.evaluation.calibration import calibrate
from kerascxr.plots import calibration, curves
from kerascxr.report import page, reference
from kerascxr.report.calibration import overview
from kerascxr.report.limits import drawn_notice, limits
from kerascxr.runs.reading import find_runs, read_runs

CLASSES = list(reference.CLASSES)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FIGURES = {
    "classification": [
        *("accuracy", "loss", "confusion_matrix", "roc_and_precision_recall"),
        *("sample_predictions", "data_samples", "grad_cam"),
    ],
    "segmentation": ["loss", "dice", "sample_predictions"],
}


def write_run(path, task, title, images=3050, weights="file", **metrics):
    """Writes what a finished run holds, with figures that are small curves."""
    path.mkdir(parents=True)
    key = "dice" if task == "segmentation" else "accuracy"
    history = [
        {"epoch": epoch, "loss": 1 / epoch, "val_loss": 1.1 / epoch, key: 0.5, f"val_{key}": 0.6}
        for epoch in (1, 2, 3)
    ]
    parameters = dict.fromkeys(("total", "trainable", "non_trainable"), 1234567)
    sizes = ("input_mb", "forward_backward_mb", "params_mb", "estimated_total_mb")
    per_class = {
        "images": images // 4,
        "groups": 10,
        "height": [224] * 3,
        "width": [299] * 3,
        "mean_grey": 130.2,
        "deviation_grey": 55.0,
        "exact_duplicates": 3,
        "near_duplicates": 7,
        "masks": {"none": 1, "ok": 9},
    }
    files = {
        "metrics.json": {
            "task": task,
            "title": title,
            "parameters": parameters | dict.fromkeys(sizes, 1.5),
            "data": {
                "source": "some <set> & more-0123abcd",
                "fingerprint": "ab" * 32,
                "images": {"train": 2134, "validation": 458, "test": 458},
            },
            "best_epoch": 2,
            "epochs": 3,
            **metrics,
        },
        "history.json": history,
        "environment.json": {
            "data_fingerprint": {
                "digest": "ab" * 32,
                "images": images,
                "rejected": 2,
                "classes": dict.fromkeys(CLASSES, per_class),
            },
            "weights": {"kind": weights, "description": "backbone.h5"},
            "seed": 0,
            "regime": {
                "trained_on": "images",
                "augmentation": True,
                "augmented_copies": None,
                "feature_engine": None,
                "precision": "float32",
                "device_strategy": "single",
                "xla": False,
                "devices": ["CPU (2 cores)"],
            },
            "packages": {"tensorflow": "2", "keras": "3"},
        },
        "timing.json": {"seconds": 90.0},
    }
    for name, value in files.items():
        (path / name).write_text(json.dumps(value))
    (path / "figures").mkdir()
    for name in FIGURES[task]:
        curves.training_curves(history, path / "figures" / f"{name}.png", what="loss", title=name)
    (path / "DONE").touch()
    return path


def classifier(path, depth, **options):
    truth = np.arange(40) % 4
    probabilities = np.random.default_rng(depth).dirichlet(np.ones(4), 40)
    probabilities[np.arange(40), truth] += 1
    test = classification.evaluate(truth, probabilities / 2, CLASSES)
    if depth:  # depth 0 is an old run, from before there were intervals
        test["intervals"] = uncertainty.classification_intervals(
            truth, probabilities / 2, CLASSES, [str(index) for index in range(40)], resamples=100
        )
    title = f"EfficientNet-B0, depth {depth}"
    more = {"backbone": "efficientnetb0", "depth": depth, "test": test}
    return write_run(path, "classification", title, **more, **options)


def segmenter(path):
    masks = np.zeros((30, 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    rows = [{"id": "a"} | segmentation.score_image(mask, mask) for mask in masks]
    rows = [row | {"group": str(index)} for index, row in enumerate(rows)]
    intervals = uncertainty.segmentation_intervals(rows, resamples=100)
    test = segmentation.summarise(rows) | {"intervals": intervals}
    more = {"test": test, "test_all_components": test, "threshold": 0.5}
    stages = [["encoder1", 16, "256x256", "conv 3x3 twice", 2464]]
    return write_run(path, "segmentation", "U-Net, 16 base filters", stages=stages, **more)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for depth in (0, 1):
        classifier(folder / "classification" / f"depth{depth}", depth)
    segmenter(folder / "segmentation" / "unet")
    (folder / "segmentation" / "unet" / "external" / "other").mkdir(parents=True)
    (folder / "segmentation" / "unet" / "external" / "other" / "DONE").touch()
    return folder


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    to = tmp_path_factory.mktemp("out") / "report"
    assert verbs.main(["report", str(runs), "--to", str(to)]) == 0
    return to


class Seen(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.ids, self.headings, self.outside = [], [], set(), [], []
        self.captions = []
        self._caption = False
        self._heading = self._number = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.add(given.get("id"))
        self._caption = tag == "figcaption"
        if tag == "img":
            self.images.append(given)
        if tag == "a":
            self.links.append(given["href"])
        if given.get("class") != "place":  # the number before a heading
            self._heading = tag in ("h2", "h3") or given.get("class") == "caption"
        self._number = given.get("class") == "place"
        for name in ("src", "href", "srcset", "data", "action"):
            if name in given and not given[name].startswith(("data:", "#")):
                self.outside.append(given[name])

    def handle_data(self, data):
        if self._caption:
            self.captions.append(data.strip())
            self._caption = False
        if self._heading and not self._number:
            self.headings.append(data.strip())
            self._heading = False

    def handle_endtag(self, tag):
        if tag == "span":
            self._number = False


@pytest.mark.figures
def test_every_figure_and_table_is_there(report):
    seen = Seen((report / "index.html").read_text(encoding="utf-8"))
    # Of two classifiers four each, their data's samples, the U-Net's; for both tasks the scores and
    # the curves.
    assert len(seen.images) == 2 * 4 + 1 + 1 + 2 * 2
    assert all(len(image["alt"]) > 20 for image in seen.images)
    for heading in (
        *("In short", "Classifiers: test metrics", "Data: some <set> & more", "Learning curves"),
        *("EfficientNet-B0, depth 0", "EfficientNet-B0, depth 1"),
        *("Segmentation: U-Net, 16 base filters", "How it was made"),
        *("Test metrics", "Images by class", "Parameters, and memory for one image"),
        *("By class", "Stages", "Runs"),
    ):
        assert heading in seen.headings, heading


@pytest.mark.figures
def test_captions_are_sentences(report):
    captions = Seen((report / "index.html").read_text(encoding="utf-8")).captions
    assert len(captions) == 14
    assert [text for text in captions if not text.endswith(".")] == []


@pytest.mark.figures
def test_the_page_is_self_contained(report):
    text = (report / "index.html").read_text(encoding="utf-8")
    seen = Seen(text)
    assert seen.outside == []
    assert set(seen.links) <= {f"#{name}" for name in seen.ids if name}
    assert "<script" not in text
    assert not re.search(r"url\(|@import", text)


@pytest.mark.figures
def test_markdown_and_latex_hold_the_same(report):
    text = (report / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]{20,}\]\((figures/[\w-]+\.(?:png|webp))\)", text)
    assert sorted(pictures) == sorted(f"figures/{path.name}" for path in report.glob("figures/*"))
    assert len(set(pictures)) == len(pictures) == 14
    latex = (report / "tables.tex").read_text(encoding="utf-8")
    titles = re.findall(r"^\*\*(.+[^.])\*\*$", text, re.MULTILINE)
    assert len(titles) == latex.count(r"\begin{table}") == 8
    labels = re.findall(r"\\label\{(.+)\}", latex)
    assert len(set(labels)) == len(labels)
    captions = re.findall(r"\\caption(?:\[\{(.+?)\}\]|\{(.+?)\})", latex)
    named = [short or whole for short, whole in captions]
    assert len(set(named)) == len(named) == 8, "which model is a table of?"
    assert r"In brackets: 95\% intervals" in latex


def test_our_figures_stand_beside_the_studys_and_say_what_they_came_from(runs, tmp_path):
    warning = "another experiment"
    to = tmp_path / "report"
    page.write_report(find_runs([runs / "classification"]), to)
    text = (to / "report.md").read_text(encoding="utf-8")
    ours = json.loads((runs / "classification/depth1/metrics.json").read_text())["test"]
    assert f"{ours['accuracy']:.4f}" in text
    assert "0.9068" in text and "0.9848" in text  # the study's, at depth 1
    assert "subset: 3,050 of 21,165 images" in text and "file backbone.h5" in text
    assert warning in text
    alike = classifier(tmp_path / "alike", 2, images=21_165, weights="imagenet")
    page.write_report([alike], to)
    text = (to / "report.md").read_text(encoding="utf-8")
    assert warning not in text
    assert "0.9313" in text


def calibrated(path, depth):
    """A classifier's run that is too sure of itself, with its reliability figure."""
    random = np.random.default_rng(depth)
    both = []
    for n in (120, 80):
        logits = random.normal(0, 2, (n, 4))
        chances = softmax(logits, axis=1)
        truth = (chances.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
        both.append((truth, softmax(3 * logits, axis=1)))
    found = calibrate(*both, CLASSES, [str(index) for index in range(80)])
    classifier(path, depth, calibration=found)
    calibration.reliability(found, path / "figures" / "reliability.png")
    return found


def test_runs_with_one_temperature_warning_share_its_line(tmp_path):
    bound = {"at_bound": True, "bounds": [0.1, 10.0], "temperature": 10.0}
    for index in range(2):
        calibrated(tmp_path / f"fold{index}", 1)
        metrics = tmp_path / f"fold{index}/metrics.json"
        values = json.loads(metrics.read_text())
        values["calibration"] |= bound
        metrics.write_text(json.dumps(values))
    [section] = overview(read_runs([tmp_path / "fold0", tmp_path / "fold1"]))
    [warning] = [block for block in section.blocks if "bound of its search" in str(block)]
    name = "EfficientNet-B0, depth 1"
    assert warning.startswith(f"{name} (fold0); {name} (fold1): The temperature 10.000 is")


def test_scores_of_drawn_images_are_called_that_at_the_top(runs, tmp_path):
    drawn = classifier(tmp_path / "drawn", 0)
    metrics = drawn / "metrics.json"
    values = json.loads(metrics.read_text())
    values["data"]["layout"] = "phantom"
    metrics.write_text(json.dumps(values))
    to = tmp_path / "report"
    page.write_report([drawn], to)
    notice = "All scores on this page are of drawn X-rays (phantom), not of patients."
    for name in ("index.html", "report.md"):
        text = (to / name).read_text(encoding="utf-8")
        assert notice in text
        assert text.index(notice) < text.index("Classifiers: test metrics")
    both = drawn_notice(read_runs([drawn, runs / "classification/depth1"]))
    assert both.startswith("Scores of EfficientNet-B0, depth 0 are of drawn")
    assert not drawn_notice(read_runs([runs / "classification/depth1"]))
    values["data"] |= {"source": "phantom-limbs-0123abcd", "layout": "folders"}  # a user's folder
    metrics.write_text(json.dumps(values))
    assert not drawn_notice(read_runs([drawn]))


@pytest.mark.parametrize("own", ["folders", "phantom"])
@pytest.mark.parametrize("other", ["folders", "phantom"])
def test_external_scores_of_drawn_images_are_called_that(tmp_path, own, other):
    run = classifier(tmp_path / "run", 1)
    values = json.loads((run / "metrics.json").read_text())
    for path, layout in ((run, own), (run / "external/set-0123abcd", other)):
        path.mkdir(parents=True, exist_ok=True)
        values["data"]["layout"] = layout
        (path / "metrics.json").write_text(json.dumps(values))
    begins = {
        ("folders", "folders"): "",
        ("phantom", "folders"): "Scores of EfficientNet-B0, depth 1 are of drawn X-rays",
        ("folders", "phantom"): "External tests of EfficientNet-B0, depth 1 on set are of drawn",
        ("phantom", "phantom"): "All scores on this page are of drawn X-rays",
    }[own, other]
    notice = drawn_notice(read_runs([run]))
    assert notice.startswith(begins) and bool(notice) == bool(begins)


def test_limits_are_those_of_the_images(tmp_path):
    def said(change):
        run = classifier(tmp_path / "run", 1)
        metrics, environment = run / "metrics.json", run / "environment.json"
        known = json.loads(metrics.read_text()), json.loads(environment.read_text())
        change(*known)
        for path, values in zip((metrics, environment), known, strict=True):
            path.write_text(json.dumps(values))
        text = limits(read_runs([run]))
        shutil.rmtree(run)
        return text

    def other(metrics, environment):
        environment["data_fingerprint"]["classes"] = {"ill": {}, "well": {}}

    database = said(lambda *known: None)
    assert "all RSNA" in database and "percentage points" in database
    others = said(other)
    assert "RSNA" not in others and "a hospital, a device or an age group" in others
    drawn = said(lambda metrics, environment: metrics["data"].update(layout="phantom"))
    assert "RSNA" not in drawn and "Drawn X-rays show no patient" in drawn
    lungs = limits(read_runs([segmenter(tmp_path / "unet")]))
    assert "Dice" in lungs and "RSNA" not in lungs and "accuracy" not in lungs


def test_calibration_stands_beside_runs_that_have_none(tmp_path):
    found = calibrated(tmp_path / "runs" / "new", 1)
    classifier(tmp_path / "runs" / "old", 0)
    page.write_report(find_runs([tmp_path / "runs"]), tmp_path / "report")
    seen = Seen((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert seen.headings.count("Calibration") == 2  # a section and its table
    assert seen.headings.count("Operating points") == 1
    (alt,) = [image["alt"] for image in seen.images if "over confidence" in image["alt"]]
    assert f"{found['before']['ece']:.3f}" in alt and f"{found['after']['ece']:.3f}" in alt
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "(figures/classifier-2-reliability.webp)" in text
    cells = [found["temperature"]]
    cells += [found[side][key] for key in ("ece", "brier", "nll") for side in ("before", "after")]
    assert " | ".join(f"{cell:.4f}" for cell in cells) in re.sub(" +", " ", text)
    for name, point in found["operating_points"].items():
        low, high = point["sensitivity_interval"]
        assert f"{point['sensitivity']:.4f} [{low:.3f}, {high:.3f}]" in text, name


@pytest.mark.figures
def test_intervals_stand_behind_their_figures_where_a_run_has_them(runs, report):
    text = (report / "report.md").read_text(encoding="utf-8")
    test = json.loads((runs / "classification/depth1/metrics.json").read_text())["test"]
    name, row = next(iter(test["per_class"].items()))
    for value, (low, high) in (
        (test["accuracy"], test["intervals"]["accuracy"]),
        (row["recall"], test["intervals"]["per_class"][name]["recall"]),
    ):
        assert f"{value:.4f} [{low:.3f}, {high:.3f}]" in text
    old = json.loads((runs / "classification/depth0/metrics.json").read_text())["test"]
    assert f"| {old['accuracy']:.4f} " in text
    low, high = json.loads((runs / "segmentation/unet/metrics.json").read_text())["test"][
        "intervals"
    ]["dice"]
    assert f"1.0000 ± 0.0000 [{low:.3f}, {high:.3f}]" in text


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    paths = [classifier(tmp_path / name, 0) for name in ("seed0", "seed1")]
    assert [run.name for run in read_runs(paths)] == [
        "EfficientNet-B0, depth 0 (seed0)",
        "EfficientNet-B0, depth 0 (seed1)",
    ]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "DONE").unlink(), "finished run"),
        (lambda run: (run / "history.json").unlink(), "history.json"),
        (lambda run: (run / "metrics.json").write_text('{"task":'), "metrics.json"),
        (shutil.rmtree, "must be folders"),
    ],
)
def test_what_is_no_run_is_one_line_and_the_old_report_stays(tmp_path, capsys, damage, words):
    run, to = classifier(tmp_path / "run", 0), tmp_path / "report"
    assert verbs.main(["report", str(run), "--to", str(to)]) == 0
    before = (to / "index.html").read_bytes()
    damage(run)
    capsys.readouterr()
    assert verbs.main(["report", str(run), "--to", str(to)]) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
    assert (to / "index.html").read_bytes() == before
    left = {path.name for path in tmp_path.iterdir() if path != run}
    assert left - {".report.writing.lock"} == {"report"}


def test_a_folder_of_other_things_is_not_replaced(runs, tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    assert verbs.main(["report", str(runs), "--to", str(tmp_path)]) == 2
    assert "of kind report" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


PROBE = """<script>
addEventListener("load", () => {
  const broken = [...document.images].filter((image) => !image.naturalWidth).length;
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name)
    .filter((name) => !name.startsWith("data:"));
  const over = document.documentElement.scrollWidth - innerWidth;
  const visible = (cell) => cell.getBoundingClientRect().right <= innerWidth - 20;
  const scores = [...document.querySelector("tbody tr").children].filter(visible).length - 1;
  const cut = [...document.querySelectorAll(".scroll")]
    .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.ariaLabel);
  const left = [...document.querySelectorAll("td")]
    .filter((cell) => /^\\d\\.\\d{4}/.test(cell.innerText))
    .filter((cell) => getComputedStyle(cell).textAlign !== "right").length;
  document.title = JSON.stringify(
    {broken, loaded, over, images: document.images.length, scores, cut, left});
});
</script>"""


@pytest.mark.figures
@pytest.mark.skipif(CHROMIUM is None, reason="install Debian's chromium to run this")
@pytest.mark.parametrize(("width", "scores"), [(400, 2), (800, 5), (1400, 7)])
def test_a_browser_shows_it_without_errors_or_requests(report, tmp_path, width, scores):
    probed = tmp_path / "probed.html"
    text = (report / "index.html").read_text(encoding="utf-8")
    probed.write_text(text.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", f"--user-data-dir={tmp_path / 'user'}", "--enable-logging=stderr"),
        *(f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom"),
        probed.as_uri(),
    ]
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert "CONSOLE" not in done.stderr
    found = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert found, done.stderr[-2000:]
    shown = json.loads(found[1])
    assert shown.pop("over") <= 0, "the page scrolls sideways"
    assert shown.pop("scores") >= scores, "the first table's scores are off-screen"
    cut = shown.pop("cut")
    assert width < 1400 or not cut, "tables are cut off though the page has room"
    assert shown == {"broken": 0, "loaded": [], "images": 14, "left": 0}


@pytest.mark.figures
def test_no_picture_is_put_in_twice(report):
    sizes = [path.stat().st_size for path in (report / "figures").iterdir()]
    assert (report / "index.html").stat().st_size < 1.4 * sum(sizes) + 50_000
