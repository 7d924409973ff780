"""How an ensemble decides: by what is fitted to common validation images, or by votes."""

import numpy as np
import pytest
import tensorflow as tf

from kerascxr.evaluation.abstention import NOT_DECIDED, SEVERAL
from kerascxr.models.decision_rule import DecisionRule
from kerascxr.models.ensemble_rule import EnsembleRule
from kerascxr.models.input_checks import (
    CONSTANT,
    FAR,
    INVERTED,
    InputChecks,
    OrientationClassifier,
)
from kerascxr.models.ood_detector import OODDetector

CLASSES = ("a", "b")


def member(least=0.3, thresholds=(0.2, 0.2), limit=1.0, orientation=False):
    """A rule whose checks are not asked: only the detector's limit and the kinds count."""
    nothing = np.zeros(1, np.float32)
    detector = OODDetector(0, *[nothing] * 4, 0.0, nothing, nothing, limit)
    classifier = OrientationClassifier((INVERTED,), nothing, nothing, 0.0) if orientation else None
    return DecisionRule(InputChecks(detector, classifier), np.float32(thresholds), least)


def apply(rule, probabilities, warnings=None, scores=None):
    """The answer for images: of each, a row of every member's probability of a."""
    first = np.array(probabilities, np.float32).T
    each = np.stack([first, 1 - first], axis=-1)
    warnings = warnings or [[""] * each.shape[1]] * each.shape[0]
    scores = np.zeros(each.shape[:2], np.float32) if scores is None else np.float32(scores)
    answer = rule.apply(tf.constant(each), tf.constant(warnings), tf.constant(scores), CLASSES)
    return {
        name: [item.decode() if isinstance(item, bytes) else item for item in of.numpy().tolist()]
        for name, of in answer.items()
    }


def test_members_vote_by_their_own_thresholds():
    rule = EnsembleRule(tuple(member() for _ in range(3)))
    images = [
        (0.9, 0.8, 0.2),  # two of three for a, which the mean is for too
        (0.9, 0.5, 0.2),  # one for a, one for both, one for b
        (0.75, 0.75, 0.05),  # two for a
        (0.71, 0.71, 0.0),  # two for a, but the mean is for b
    ]
    answer = apply(rule, images)
    assert rule.votes
    assert answer["decision"] == ["a", NOT_DECIDED, "a", NOT_DECIDED]
    assert answer["warnings"] == ["", SEVERAL, "", SEVERAL]
    assert answer["prediction_set"] == ["a", "a; b", "a; b", "a; b"]


def test_half_of_the_members_are_not_a_majority():
    rule = EnsembleRule((member(), member()))
    assert apply(rule, [(0.9, 0.5), (0.9, 0.9)])["decision"] == [NOT_DECIDED, "a"]
    two = apply(rule, [(0.9, 0.9)], [[FAR], [""]])
    assert (two["decision"], two["warnings"]) == (["a"], [""])


def test_a_threshold_of_the_mean_is_fitted_to_common_validation_images():
    truth = np.zeros(99, int)
    of_truth = np.linspace(0.5, 0.99, 99)
    mean = np.stack([of_truth, 1 - of_truth], axis=1)
    rule = EnsembleRule.fit([member(least=0.9)] * 2, truth, mean, np.zeros((2, 99)))
    assert not rule.votes
    assert rule.least == pytest.approx(of_truth[4])  # of 100, five are below
    np.testing.assert_allclose(rule.thresholds, [of_truth[4], 0], rtol=1e-6)
    answer = apply(rule, [(0.95, 0.2), (0.5, 0.51)])
    assert answer["decision"] == ["a", NOT_DECIDED]
    assert answer["warnings"] == ["", SEVERAL]
    assert answer["prediction_set"] == ["a; b", "a; b"]  # no validation image excludes b


def test_the_sets_of_a_vote_and_of_the_mean():
    vote = EnsembleRule(tuple(member() for _ in range(3)))
    of_mean = EnsembleRule(vote.members, np.float32([0.2, 0.7]), 0.3)
    first = np.array([(0.9, 0.8, 0.9), (0.9, 0.5, 0.2), (0.1, 0.1, 0.0)]).T
    each = np.stack([first, 1 - first], axis=-1)
    assert vote.prediction_sets(each).tolist() == [[True, False], [True, True], [False, True]]
    assert of_mean.prediction_sets(each).tolist() == [[True, False], [True, False], [False, True]]


def test_a_class_is_in_every_set_of_a_vote_if_it_is_in_most_members():
    few, enough = member(thresholds=(0.2, 0.0)), member(thresholds=(0.2, 0.1))
    assert few.in_every_set == (1,) and enough.in_every_set == ()
    assert EnsembleRule((few, few, enough)).in_every_set == (1,)
    assert EnsembleRule((few, enough)).in_every_set == ()
    assert EnsembleRule((few, few), np.float32([0.0, 0.1]), 0.5).in_every_set == (0,)


def test_a_check_warns_if_it_does_for_most_members_and_the_score_says_so():
    rule = EnsembleRule((member(limit=1.0), member(limit=2.0), member(limit=3.0)))
    warnings = [
        [f"{CONSTANT}; {FAR}", FAR],
        [f"{SEVERAL}; {FAR}", ""],
        [CONSTANT, ""],
    ]
    scores = [[1.5, 9.0], [2.25, 1.0], [0.0, 0.0]]
    answer = apply(rule, [(0.9, 0.9, 0.9)] * 2, warnings, scores)
    assert answer["warnings"] == [f"{CONSTANT}; {FAR}", ""]
    assert answer["decision"] == [NOT_DECIDED, "a"]
    assert answer["ood_score"] == [0.25, -1.0]
    assert rule.kinds == (SEVERAL, *rule.members[0].checks.kinds)


def test_the_mean_of_the_out_of_distribution_scores_has_a_limit_of_its_own():
    limits = np.array([[1.0], [5.0]])
    held_out = np.random.default_rng(0).normal(limits, size=(2, 199))
    members = [member(limit=limit) for limit in limits[:, 0]]
    truth, mean = np.zeros(199, int), np.full((199, 2), 0.5)
    rule = EnsembleRule.fit(members, truth, mean, held_out)
    means = np.sort((held_out - limits).mean(axis=0))
    assert rule.ood_limit == pytest.approx(means[187], rel=1e-5)  # of 200, 12 are over
    more = 2 * rule.ood_limit
    scores = [[1.01 + more, 0.99 + more, np.nan, 0.0], [5.0, 5.0, 0.0, 0.0]]
    own = [[FAR, FAR, FAR, ""], ["", FAR, "", f"{CONSTANT}; {FAR}"]]
    answer = apply(rule, [(0.9, 0.9)] * 4, own, scores)
    assert answer["warnings"] == [FAR, "", FAR, ""]  # the members' own warnings do not count
    assert answer["decision"][0] == NOT_DECIDED
    np.testing.assert_allclose(answer["ood_score"][:2], [0.005, -0.005], atol=1e-5)


def test_a_check_that_some_members_have_not_is_decided_by_the_others():
    """A member on a region of interest cannot see that an image is upside down."""
    seeing, blind = member(orientation=True), member()
    one_of_two, one_of_four = [[INVERTED], [""]], [[INVERTED], [""], [""], [""]]
    assert apply(EnsembleRule((seeing, blind)), [(0.9, 0.9)], one_of_two)["warnings"] == [INVERTED]
    assert apply(EnsembleRule((seeing, seeing)), [(0.9, 0.9)], one_of_two)["warnings"] == [""]
    four = EnsembleRule((seeing, blind, blind, blind))
    assert apply(four, [(0.9,) * 4], one_of_four)["warnings"] == [INVERTED]


def test_votes_keep_what_they_promise():
    """Three members, each wrong about one image in twenty, as badly together as they can be."""
    random = np.random.default_rng(0)
    n, validation = 20_000, 199
    rules, probabilities = [], []
    for _ in range(3):
        # The true class is a; scores of a member's validation images and of new ones are alike.
        rules.append(member(least=float(np.sort(random.uniform(0.01, 0.99, validation))[9])))
        probabilities.append(random.uniform(0.01, 0.99, n))
    decided = apply(EnsembleRule(tuple(rules)), np.array(probabilities).T)["decision"]
    assert 0 < decided.count("b") / n < 0.1


def test_what_a_rounding_error_can_change_is_borderline():
    """For a vote it is each member's thresholds that count, else those of the mean."""
    each = np.array([[0.6, 0.88, 0.301, 0.501], [0.6, 0.52, 0.8, 0.4995]])  # of a, by member
    each = np.stack([each, 1 - each], axis=-1)
    scores = np.array([0.5, 0.5, 0.5, 0.5])
    vote = EnsembleRule((member(), member()))
    assert vote.borderline(each, scores, 0.002, 0.01).tolist() == [False, False, True, True]
    fitted = EnsembleRule((member(), member()), np.float32([0.599, 0.1]), 0.7)
    assert fitted.borderline(each, scores, 0.002, 0.01).tolist() == [True, True, False, True]
    assert vote.borderline(each, np.full(4, -0.009), 0.0, 0.01).all()
    assert not vote.borderline(each, np.full(4, -0.011), 0.0, 0.01).any()
