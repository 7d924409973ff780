"""The registry; what its entries build is tested in test_classifier.py."""

import pytest

from kerascxr.models.backbones import BACKBONES
from kerascxr.names import look_up


def test_every_name_leads_to_its_backbone():
    for name, backbone in BACKBONES.items():
        assert backbone.name == {"shufflenetv2": "shufflenetv2_x1_0"}.get(name, name)
        assert backbone.image_size == (224, 224)


def test_shufflenetv2_means_x1_0():
    assert BACKBONES["shufflenetv2"] is BACKBONES["shufflenetv2_x1_0"]


def test_published_files_have_their_digests():
    names = {backbone.imagenet.file_name for backbone in BACKBONES.values()}
    assert names == {
        "efficientnetb0_notop.h5",
        "shufflenetv2_x0.5-f707e7126e.pth",
        "shufflenetv2_x1-5666bf0f80.pth",
    }
    for name in ("shufflenetv2_x0_5", "shufflenetv2_x1_0"):
        published = BACKBONES[name].imagenet
        assert published.file_name.endswith(f"-{published.digest}.pth")
        assert published.algorithm == "sha256"


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(ValueError, match="did you mean 'shufflenetv2'"):
        look_up(BACKBONES, "shufflenet_v2", "backbone")
