"""Copies are found, distinct drawings are not, and nothing grows without bounds."""

import numpy as np
import pytest

from kerascxr.audits.leakage import read_pixels
from kerascxr.data.ingest import candidates as selection
from kerascxr.data.ingest import duplicates
from kerascxr.data.ingest.candidates import candidates, tangent_planes
from kerascxr.data.ingest.duplicates import Pair, copies_of, duplicate_clusters, find_duplicates
from kerascxr.data.ingest.records import digest
from kerascxr.data.ingest.thumbnails import reduced, thumbnail, unit_rows
from kerascxr.data.sources.open import open_source
from tests.support import planted_copies

DISTINCT = 60
COPIES = 12


@pytest.fixture(scope="module")
def drawings():
    source = open_source("phantom", phantom_images=DISTINCT, phantom_seed=4)
    return [read_pixels(example) for example in source.examples]


def look(images):
    return np.stack([thumbnail(image) for image in images]), [digest(image) for image in images]


def test_planted_copies_are_found_and_distinct_drawings_are_not(drawings):
    planted, told = planted_copies.plant(drawings, COPIES)
    found = find_duplicates(*look(drawings + planted))
    rows = {row[0]: row for row in planted_copies.score(found, told, DISTINCT)}
    assert set(rows) == set(planted_copies.KINDS)
    for kind, (_, copies, recall, precision) in rows.items():
        assert copies == COPIES
        # A cut of 6 % on each side is beyond what the method promises.
        assert recall >= (0.75 if "6 %" in kind else 0.9 if "crop" in kind else 1), kind
        assert precision == 1, kind
    assert not [pair for pair in found if pair.second < DISTINCT]
    exact = {(pair.first, pair.second) for pair in found if pair.exact}
    for place, (index, kind) in enumerate(told):
        if kind == "exact":
            assert (index, DISTINCT + place) in exact


def test_copies_of_another_sets_images_are_found_and_no_copies_within_a_set(drawings):
    planted, told = planted_copies.plant(drawings[:30], 4)
    # The last two are copies of each other, and of no image of the other set.
    images, _ = look([*planted, drawings[40], drawings[40][3:, 2:]])
    others, _ = look([*drawings[:20], drawings[50], drawings[50]])
    found = copies_of(images, others)
    likely = np.array([index < 20 and "6 %" not in kind for index, kind in told])
    assert found[: len(told)][likely].mean() > 0.9
    assert not found[: len(told)][[index >= 20 for index, _ in told]].any()
    assert not found[-2:].any()
    assert copies_of(images[:0], others).shape == (0,)


def test_all_pairs_of_a_large_family_are_listed(drawings):
    bright = np.clip(drawings[0].astype(int) + 20, 0, 255).astype(np.uint8)
    found = find_duplicates(*look([drawings[0]] * 25 + [bright] * 3 + drawings[1:4]))
    assert {(pair.first, pair.second) for pair in found} == {
        (i, j) for i in range(28) for j in range(i + 1, 28)
    }
    assert sum(pair.exact for pair in found) == 25 * 24 // 2 + 3
    assert {pair.similarity for pair in found if pair.exact} == {1}
    assert found == sorted(found, key=lambda pair: (pair.first, pair.second))


@pytest.mark.parametrize("n", [1, 2])
def test_few_and_constant_images_make_no_near_pairs(n):
    plain = [np.full((40, 40), 50 * index, np.uint8) for index in range(n)]
    assert find_duplicates(*look(plain)) == []


@pytest.mark.parametrize("versions", [1, 3, 30])
def test_versions_of_one_image_are_joined_without_any_other_image(drawings, versions):
    """Their mean is the image itself: with it removed, none of them would be left."""
    plain = drawings[0] // 2 + 40
    images = [plain] * 3 + [plain + 20] * 2
    if versions > 1:
        gains = np.linspace(0.6, 1, versions)
        images = [np.rint(plain * gain).astype(np.uint8) for gain in gains]
    found = find_duplicates(*look(images))
    assert not duplicate_clusters(found, len(images)).any()
    if versions == 1:
        assert len(found) == 3 + 1 + 3 * 2
        assert all(pair.similarity > 0.999 for pair in found)


def test_two_distinct_images_alone_are_not_joined(drawings):
    for n in (2, 3):
        assert find_duplicates(*look(drawings[:n])) == []


def test_a_thumbnail_averages_boxes_of_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (192, 128)).astype(np.uint8)
    means = pixels.reshape(64, 3, 64, 2).mean(axis=(1, 3))
    assert np.abs(thumbnail(pixels) - means).max() <= 1
    assert candidates(thumbnail(pixels)[None]).shape == (0, 2)


def test_the_plane_of_an_image_is_spanned_by_unit_vectors_without_mean(drawings):
    small, _ = look(drawings[:6])
    coarse = unit_rows(reduced(small, 16).reshape(6, -1))
    planes = tangent_planes(coarse, coarse.mean(axis=0))
    np.testing.assert_allclose(planes @ planes.transpose(0, 2, 1), [np.eye(5)] * 6, atol=1e-5)
    np.testing.assert_allclose(planes.mean(axis=2), 0, atol=1e-6)


def test_chains_join_what_pairs_join():
    pairs = [Pair(0, 3, 1.0, True), Pair(3, 5, 0.95, False), Pair(1, 2, 0.99, False)]
    numbers = duplicate_clusters(pairs, 6).tolist()
    assert numbers[0] == numbers[3] == numbers[5]
    assert numbers[1] == numbers[2]
    assert len(set(numbers)) == 3
    assert len(set(duplicate_clusters([], 4).tolist())) == 4


def test_many_copies_of_one_image_do_not_make_millions_of_pairs(drawings, monkeypatch):
    monkeypatch.setattr(duplicates, "_MOST_COPIES", 10)
    bright = np.clip(drawings[0].astype(int) + 20, 0, 255).astype(np.uint8)
    images = [drawings[0]] * 30 + [bright] * 30
    found = find_duplicates(*look(images))
    assert len(found) == 29 + 29 + 10 * 10
    assert len(set(duplicate_clusters(found, 60).tolist())) == 1


def test_candidates_do_not_hang_on_the_blocks(drawings, monkeypatch):
    small, _ = look(drawings)
    whole = candidates(small)
    monkeypatch.setattr(selection, "_BLOCK", 7)
    np.testing.assert_array_equal(candidates(small), whole)


def test_some_blocks_alone_give_the_candidates_of_their_images(drawings, monkeypatch):
    small, _ = look(drawings + [image[4:, 3:] for image in drawings[:20]])
    whole = candidates(small)
    monkeypatch.setattr(selection, "_BLOCK", 10)
    part = {tuple(pair) for pair in candidates(small, every=3).tolist()}
    assert part < {tuple(pair) for pair in whole.tolist()}
    blocks = np.arange(len(small)) // 10 % 3 == 0
    assert all(blocks[one] or blocks[other] for one, other in part)
    assert {(index, index + DISTINCT) for index in range(10)} & part


@pytest.fixture
def indexed(monkeypatch):
    pytest.importorskip("faiss", reason="pip install faiss-cpu to run this")
    monkeypatch.setattr(selection, "EXACT_UP_TO", 0)


def test_an_index_finds_the_copies_that_comparing_all_does(drawings, monkeypatch, request):
    planted, _ = planted_copies.plant(drawings, COPIES)
    small, digests = look(drawings + planted)
    exact, every = find_duplicates(small, digests), candidates(small)
    request.getfixturevalue("indexed")
    monkeypatch.setattr(selection, "_NEIGHBOURS", 5)  # of 144 images, 20 would be nearly all
    monkeypatch.setattr(selection, "_LISTS_VISITED", 8)
    chosen = candidates(small)
    assert len(chosen) < len(every)
    assert (chosen[:, 0] < chosen[:, 1]).all()
    assert len(np.unique(chosen, axis=0)) == len(chosen)
    near = {(pair.first, pair.second) for pair in exact}
    assert {(pair.first, pair.second) for pair in find_duplicates(small, digests)} == near


def test_an_indexs_candidates_do_not_hang_on_the_blocks(drawings, monkeypatch, indexed):
    small, _ = look(drawings)
    whole = candidates(small)
    monkeypatch.setattr(selection, "_BLOCK", 7)
    np.testing.assert_array_equal(candidates(small), whole)


def test_versions_are_shifted_and_stretched_by_half_a_pixel(drawings):
    small, _ = look(drawings[:3])
    rows = unit_rows(reduced(small, 16).reshape(3, -1))
    found = selection.versions(rows, rows.mean(axis=0))
    assert found.shape == (3, 9, 256)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, atol=1e-5)
    across = selection.versions(
        np.tile(np.arange(16, dtype=np.float32), (1, 16)), np.float32(0) * rows[0]
    )
    moved = np.tile(np.arange(16) - 0.5, 16)
    np.testing.assert_allclose(across[0, 3], unit_rows(moved[None])[0], atol=1e-5)


def test_without_the_index_many_images_are_compared_with_all_others_in_a_line(
    drawings, monkeypatch, messages
):
    small, _ = look(drawings[:8])
    whole = candidates(small)
    assert not messages()
    monkeypatch.setattr(selection, "EXACT_UP_TO", 7)
    monkeypatch.setattr(selection.importlib.util, "find_spec", lambda name: None)
    np.testing.assert_array_equal(candidates(small), whole)
    (line,) = messages()
    assert "among 8 images" in line and "pip install faiss-cpu" in line


def test_similarities_do_not_hang_on_the_blocks(drawings, monkeypatch):
    copies = [image[4:, 3:] for image in drawings[:20]]
    small, _ = look(drawings + copies)
    pairs = candidates(small)
    whole = duplicates.similarities(small, pairs)
    assert (whole > duplicates.SAME).sum() >= 18
    monkeypatch.setattr(duplicates, "_PAIRS_AT_ONCE", 11)
    np.testing.assert_allclose(duplicates.similarities(small, pairs), whole, atol=1e-4)
