"""What decides a predictor's answers, as its identity says."""

from types import SimpleNamespace

import pytest

from kerascxr.evaluation.ensembles import VALIDATION
from kerascxr.models.decision_rule import FILE
from kerascxr.runs.reading import Run
from kerascxr.serving import predict, predict_masks, predictors
from kerascxr.serving.predict import _identity


@pytest.fixture
def identity(tmp_path, monkeypatch):
    """Returns the identity of a run on the lungs' box, some of which is changed."""
    lungs = SimpleNamespace(size=(8, 8), threshold=0.5, masks=lambda images: images)
    monkeypatch.setattr(predictors, "load_segmenter", lambda run: lungs)
    monkeypatch.setattr(
        predictors, "load_saved", lambda path: SimpleNamespace(input_shape=(None, 8, 8, 3))
    )
    monkeypatch.setattr(predictors, "Classifier", lambda *given, **more: None)
    monkeypatch.setattr(predictors, "from_bytes", lambda *given: lambda items: None)
    for name in ("run", "lungs"):
        (tmp_path / name).mkdir()

    def of(weights=b"w", temperature=1.0, lung_weights=b"l", threshold=0.5, **more):
        (tmp_path / "run/model.keras").write_bytes(weights)
        (tmp_path / "lungs/model.keras").write_bytes(lung_weights)
        lungs.threshold = threshold
        metrics = {"test": {"classes": more.get("classes", ["a", "b"])}, "data": {}}
        metrics["calibration"] = {"temperature": temperature}
        config = {"roi": more.get("roi", "lung_crop"), "lungs": str(tmp_path / "lungs")}
        run = Run(tmp_path / "run", metrics, [], [], {}, config, 1.0, "run")
        finder = predictors.load_lung_finder(tmp_path / "lungs")
        predictor = predictors._from_runs([run])
        assert predictor.keras_model is None  # Grad-CAM is of the whole image
        return (
            _identity(predictor, None, None),
            _identity(SimpleNamespace(identity=""), finder, None),
        )

    return of


@pytest.mark.parametrize(
    "changed",
    [
        *({"weights": b"v"}, {"temperature": 2.0}, {"lung_weights": b"m"}, {"threshold": 0.4}),
        *({"roi": "lungs_only"}, {"classes": ["b", "a"]}),
    ],
)
def test_a_run_is_another_with_other_weights_lungs_settings_or_classes(identity, changed):
    run, finder = identity()
    assert identity() == (run, finder)
    other_run, other_finder = identity(**changed)
    assert other_run != run
    assert (other_finder != finder) == bool({"lung_weights", "threshold"} & set(changed))


def test_rows_are_others_in_another_folder_of_overlays_or_with_another_model(tmp_path):
    one, other = (SimpleNamespace(identity=name) for name in "ab")
    rows = {_identity(one, None, None), _identity(other, None, None), _identity(one, other, None)}
    rows |= {_identity(one, None, tmp_path), _identity(one, None, tmp_path / "a")}
    masks = {predict_masks._identity(model, None) for model in (one, other)}
    masks |= {predict_masks._identity(one, at) for at in (tmp_path, tmp_path / "a")}
    assert (len(rows), len(masks)) == (5, 4)


def test_rows_of_other_package_versions_are_not_taken_up(monkeypatch):
    model = SimpleNamespace(identity="a")
    before = _identity(model, None, None), predict_masks._identity(model, None)
    assert (_identity(model, None, None), predict_masks._identity(model, None)) == before
    for module in (predict, predict_masks):
        monkeypatch.setattr(module, "versions", lambda: {"TensorFlow": "1.0"})
    after = _identity(model, None, None), predict_masks._identity(model, None)
    assert before[0] != after[0] and before[1] != after[1]


def test_a_run_is_another_with_another_rule_or_other_validation_predictions(tmp_path):
    found = set()
    for name in ("model.keras", FILE, VALIDATION):
        for content in (b"a", b"b"):
            (tmp_path / name).write_bytes(content)
            run = SimpleNamespace(path=tmp_path, temperature=1.0)
            found.add(str(predictors._decides(run)))
    assert len(found) == 6


def test_an_export_is_another_with_any_other_file(tmp_path):
    (tmp_path / "variables").mkdir()
    for name in ("metadata.json", "variables/data"):
        (tmp_path / name).write_text("a")
    first = predictors.export_digest(tmp_path)
    assert predictors.export_digest(tmp_path) == first
    (tmp_path / "variables/data").rename(tmp_path / "variables/index")
    second = predictors.export_digest(tmp_path)
    (tmp_path / "variables/index").write_text("b")
    assert len({first, second, predictors.export_digest(tmp_path)}) == 3
