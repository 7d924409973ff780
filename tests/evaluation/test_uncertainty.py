"""Resamples score as scikit-learn scores the repeated images; intervals say what they should."""

import itertools

import numpy as np
import pytest
from scipy import stats

from kerascxr.evaluation import classification, resampling, segmentation, uncertainty
from kerascxr.evaluation.comparison import difference, holm, mcnemar
from kerascxr.evaluation.shares import wilson
from kerascxr.evaluation.weighted import weighted_scores

CLASSES = ["a", "b", "c", "never"]


def test_set(n=120, seed=0, strength=1.0, digits=1):
    """Predictions with many ties, three of four classes, groups of two."""
    random = np.random.default_rng(seed)
    truth = np.arange(n) // 2 % 3
    scores = random.random((n, 4))
    scores[np.arange(n), truth] += strength
    rounded = np.round(scores / scores.sum(axis=1, keepdims=True), digits)
    rounded[:, 3] += 1 - rounded.sum(axis=1)
    rounded = np.clip(rounded, 0, None)
    probabilities = rounded / rounded.sum(axis=1, keepdims=True)
    return truth, probabilities, [str(index // 2) for index in range(n)]


test_set.__test__ = False


@pytest.mark.parametrize("digits", [1, 2, 12])
def test_each_resample_scores_as_the_repeated_images(digits):
    truth, probabilities, groups = test_set(digits=digits)
    numbers = resampling.group_numbers(groups)
    strata = resampling.group_strata(numbers, truth)
    (weights,) = resampling.resample(numbers, strata, 6)
    weights[truth == 2, 4] = 0  # a class that is absent from a resample
    weights[truth != 1, 5] = 0  # and one that is alone in it
    scores = weighted_scores(truth, probabilities)(weights)
    for column in range(6):
        often = weights[:, column].astype(int)
        assert often.max() > 1
        again = classification.evaluate(
            np.repeat(truth, often), np.repeat(probabilities, often, axis=0), CLASSES
        )
        for measure, values in scores.overall.items():
            expected = np.nan if again[measure] is None else again[measure]
            assert values[column] == pytest.approx(expected, abs=1e-12, nan_ok=True), measure
        for measure, values in scores.per_class.items():
            expected = [row[measure] for row in again["per_class"].values()]
            expected = [np.nan if value is None else value for value in expected]
            assert values[:, column] == pytest.approx(expected, abs=1e-12, nan_ok=True), measure


def test_groups_stay_whole_and_classes_keep_their_number_of_groups(monkeypatch):
    monkeypatch.setattr(resampling, "_CHUNK_BYTES", 8 * 90 * 7)  # seven columns a piece
    labels = np.repeat([0, 1, 2], 30)
    groups = np.arange(90) // 3
    strata = resampling.group_strata(groups, labels)
    pieces = list(resampling.resample(groups, strata, 50))
    weights = np.concatenate(pieces, axis=1)
    assert len(pieces) == 8 and weights.shape == (90, 50)
    assert (weights.reshape(30, 3, 50).std(axis=1) == 0).all()
    assert (weights.reshape(3, 30, 50).sum(axis=1) == 30).all()
    assert weights.std() > 0.5
    again = np.concatenate(list(resampling.resample(groups, strata, 50)), axis=1)
    assert (again == weights).all()


def test_the_standard_error_of_an_accuracy_is_that_of_its_binomial_and_of_groups_if_there_are():
    right = np.random.default_rng(1).random(200).repeat(2) < 0.8  # right or wrong in pairs
    truth = np.arange(200).repeat(2) % 2
    probabilities = np.eye(2)[np.where(right, truth, 1 - truth)]
    alone = [str(index) for index in range(400)]
    together = [str(index // 2) for index in range(400)]
    widths = []
    for groups in (alone, together):
        low, high = uncertainty.classification_intervals(truth, probabilities, "ab", groups)[
            "accuracy"
        ]
        assert low < right.mean() < high
        widths.append(high - low)
    error = (right.mean() * (1 - right.mean()) / 400) ** 0.5
    assert widths[0] == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert widths[1] / widths[0] == pytest.approx(2**0.5, rel=0.1)


def test_a_test_without_an_error_is_not_certain():
    truth = np.arange(60) % 2
    found = uncertainty.classification_intervals(
        truth, np.eye(2)[truth], ["a", "b"], [str(index) for index in range(60)]
    )
    for measure in ("accuracy", "f1", "auc"):
        low, high = found[measure]
        assert high == 1 and 0.85 < low < 0.97
    assert found["per_class"]["a"]["recall"][0] < found["accuracy"][0]
    assert found["groups"] == 60 and found["resamples"] == 2000


def test_what_cannot_be_known_is_none():
    truth, probabilities, groups = test_set()
    groups = ["one" if label == 2 else name for label, name in zip(truth, groups, strict=True)]
    found = uncertainty.classification_intervals(truth, probabilities, CLASSES, groups)
    assert found["per_class"]["c"]["recall"] is None  # all of it is one patient's
    assert found["per_class"]["never"]["f1"] is None
    assert found["per_class"]["never"]["specificity"] is not None
    assert found["f1"] is None and found["accuracy"] is not None


def test_a_patient_may_have_images_of_several_classes():
    truth, probabilities, _ = test_set()
    patients = [str(index // 6) for index in range(120)]  # each with all three classes
    found = uncertainty.classification_intervals(truth, probabilities, CLASSES, patients)
    scores = classification.evaluate(truth, probabilities, CLASSES)
    for name in CLASSES[:3]:
        low, high = found["per_class"][name]["recall"]
        assert low < scores["per_class"][name]["recall"] <= high
    assert found["f1"][0] < scores["f1"] <= found["f1"][1]
    perfect = uncertainty.classification_intervals(truth, np.eye(4)[truth], CLASSES, patients)
    assert perfect["accuracy"][0] == pytest.approx(perfect["per_class"]["a"]["recall"][0])


def rarely_predicted(right):
    """Of three classes of 25 images, the last is predicted only for ``right`` of its images."""
    truth = np.repeat([0, 1, 2], 25)
    predicted = np.where(truth == 2, 0, truth)
    predicted[50 : 50 + right] = 2
    probabilities = np.eye(3)[predicted]
    groups = [str(index) for index in range(75)]
    found = uncertainty.classification_intervals(
        truth, probabilities, list("abc"), groups, resamples=200
    )
    return classification.evaluate(truth, probabilities, list("abc")), found


def test_the_interval_of_a_precision_counts_the_images_predicted_as_the_class():
    scores, found = rarely_predicted(2)
    assert scores["per_class"]["c"]["precision"] == 1
    assert found["per_class"]["c"]["precision"] == pytest.approx((0.342, 1), abs=0.001)
    low, high = found["precision"]
    assert low < scores["precision"] - 0.658 / 3 and high > scores["precision"]
    # 25 of the 48 images that are of class a or taken for it are both.
    ends = [2 * share / (1 + share) for share in wilson(25 / 48, 48)]
    assert found["per_class"]["a"]["f1"] == pytest.approx(ends)


def test_the_precision_of_a_class_that_is_never_predicted_is_undefined():
    scores, found = rarely_predicted(0)
    assert scores["per_class"]["c"]["precision"] is None
    assert found["per_class"]["c"]["precision"] is None and found["precision"] is None
    low, high = found["per_class"]["c"]["f1"]
    assert scores["per_class"]["c"]["f1"] == low == 0 and 0.1 < high < 0.3


def test_the_intervals_of_accuracy_and_recall_are_wilsons_where_images_are_independent():
    truth = np.repeat([0, 1, 2], 40)
    predicted = (truth + 1) % 3
    predicted[:40], predicted[40:42] = 0, 1
    groups = [str(index) for index in range(120)]
    found = uncertainty.classification_intervals(
        truth, np.eye(3)[predicted], "abc", groups, resamples=200
    )
    assert found["accuracy"] == pytest.approx(wilson(42 / 120, 120))
    assert found["accuracy"] == pytest.approx((0.27, 0.44), abs=0.01)
    assert found["per_class"]["a"]["recall"] == pytest.approx(wilson(1, 40))
    assert found["per_class"]["b"]["recall"] == pytest.approx(wilson(2 / 40, 40))


def lungs(n=80, seed=0):
    random = np.random.default_rng(seed)
    rows = []
    for index in range(n):
        truth = np.zeros((16, 16), bool)
        truth[3:12, 3:12] = True
        predicted = truth ^ (random.random(truth.shape) < random.uniform(0.01, 0.1))
        if index == 7:
            predicted[:] = False
        rows.append({"group": str(index // 2)} | segmentation.score_image(truth, predicted))
    return rows


def test_segmentation_resamples_are_means_of_the_repeated_images():
    rows = lungs()
    numbers = resampling.group_numbers([row["group"] for row in rows])
    (weights,) = resampling.resample(numbers, np.zeros(40, int), 5)
    found = uncertainty.segmentation_metrics(rows, resamples=5)
    for column in range(5):
        often = weights[:, column].astype(int)
        repeated = [row for row, times in zip(rows, often, strict=True) for _ in range(times)]
        again = segmentation.summarise(repeated)
        for measure, metric in found.items():
            assert metric.resamples[column] == pytest.approx(again[measure])
    intervals = uncertainty.segmentation_intervals(rows)
    summary = segmentation.summarise(rows)
    for measure in found:
        low, high = intervals[measure]
        assert low < summary[measure] < high
    assert intervals["groups"] == 40


def test_distances_in_mm_have_intervals_of_the_images_that_have_them():
    rows = lungs()
    known = [
        row | ({"hd95_mm": 2 * row["hd95"], "assd_mm": 2 * row["assd"]} if row["hd95"] else {})
        for row in rows
    ]
    pixels = uncertainty.segmentation_intervals(rows, resamples=200)
    both = uncertainty.segmentation_intervals(known, resamples=200)
    assert "hd95_mm" not in pixels
    for measure in ("hd95", "assd"):
        assert both[f"{measure}_mm"] == pytest.approx([2 * end for end in both[measure]])
        assert both[measure] == pixels[measure]


def test_perfect_lungs_have_an_interval_of_dice_and_none_of_distance():
    mask = np.eye(6, dtype=bool)
    rows = [{"group": str(i)} | segmentation.score_image(mask, mask) for i in range(30)]
    intervals = uncertainty.segmentation_intervals(rows, resamples=50)
    assert intervals["hd95"] is None
    assert intervals["dice"][1] == 1 and 0.8 < intervals["dice"][0] < 1


def test_a_paired_difference_is_narrower_and_as_scipy_has_it():
    truth, good, _ = test_set(300, strength=0.6, digits=12)
    groups = [str(index) for index in range(300)]
    other = good.copy()
    other[:40] = test_set(300, seed=5, strength=0.6, digits=12)[1][:40]
    first = uncertainty.classification_metrics(truth, good, groups)[0]["accuracy"]
    second = uncertainty.classification_metrics(truth, other, groups)[0]["accuracy"]
    paired = difference(first, second, paired=True)
    apart = difference(first, second, paired=False)
    assert paired.value == apart.value == second.value - first.value
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)
    right = [predictions.argmax(axis=1) == truth for predictions in (good, other)]
    expected = stats.ttest_rel(right[1].astype(float), right[0].astype(float))
    assert paired.p == pytest.approx(expected.pvalue, abs=0.05)
    same = difference(first, first, paired=True)
    assert same.value == 0 and same.p == 1  # but other images could tell them apart
    assert same.low < -0.005 and 0.005 < same.high < 0.02


@pytest.mark.parametrize(("first_right", "second_right"), [(40, 40), (40, 30), (30, 45)])
def test_the_correlation_of_a_paired_difference_has_newcombes_limit(first_right, second_right):
    counts, shares = (first_right, second_right), (first_right / 50, second_right / 50)
    limits = [stats.binomtest(right, 50).proportion_ci(method="wilson") for right in counts]
    resamples = np.linspace(0.5, 0.9, 9)  # the same for both: their correlation is 1
    runs = [
        uncertainty.Resampled(share, tuple(interval), resamples, groups=50)
        for share, interval in zip(shares, limits, strict=True)
    ]
    # Method 10 takes n / 2 from the numerator of phi, the root of these margins' product.
    margins = np.prod([right * (50 - right) for right in counts]) ** 0.5
    phi = (margins - 50 / 2) / margins
    down, up = shares[0] - limits[0].low, limits[0].high - shares[0]
    other_down, other_up = shares[1] - limits[1].low, limits[1].high - shares[1]
    low = (up**2 - 2 * phi * up * other_down + other_down**2) ** 0.5
    high = (down**2 - 2 * phi * down * other_up + other_up**2) ** 0.5
    found = difference(*runs, paired=True)
    value = shares[1] - shares[0]
    assert found[:3] == pytest.approx((value, value - low, value + high))


def test_values_without_an_error_are_equal_or_certainly_different():
    two, three = (uncertainty.Resampled(v, (v, v), np.full(9, v)) for v in (2.0, 3.0))
    assert difference(two, two, paired=True) == (0, 0, 0, 1)
    assert difference(two, three, paired=True) == (1, 1, 1, 0)


def test_mcnemar_is_the_mid_p_of_the_binomial_test():
    first = np.array([True] * 9 + [False] * 2 + [True] * 50)
    second = np.array([False] * 9 + [True] * 2 + [True] * 50)
    exact = stats.binomtest(2, 11).pvalue
    alone = np.arange(61)
    found = mcnemar(first, second, alone)
    assert found == (9, 2, pytest.approx(exact - stats.binom.pmf(2, 11, 0.5)))
    assert mcnemar(first, first, alone) == (0, 0, 1)
    assert mcnemar(first[:0], first[:0], alone[:0]).p == 1


def test_mcnemar_counts_the_images_of_a_group_as_one_observation():
    first, second = np.ones(60, bool), np.zeros(60, bool)
    assert mcnemar(first, second, np.arange(60)).p < 1e-15
    assert mcnemar(first, second, np.arange(60) // 20) == (60, 0, pytest.approx(1 / 8))
    random = np.random.default_rng(0)
    first, second = random.random((2, 40)) < [[0.9], [0.6]]
    groups = random.permutation(np.arange(40) // 4)
    gains = [int(first[groups == of].sum()) - int(second[groups == of].sum()) for of in range(10)]
    # All ways in which the two can change places in whole groups.
    sums = np.array([np.dot(gains, signs) for signs in itertools.product((-1, 1), repeat=10)])
    beyond, equal = (abs(sums) > abs(sum(gains))).mean(), (abs(sums) == abs(sum(gains))).mean()
    assert mcnemar(first, second, groups).p == pytest.approx(beyond + equal / 2)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.6]) == pytest.approx([0.04, 0.09, 0.09, 0.6])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([]) == []
