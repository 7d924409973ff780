"""The registry of backbones: how to build each, what its depths train, its published weights.

Keras is imported when a backbone is built, so that a command can check a name before TensorFlow
starts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class PublishedWeights:
    """A file of pretrained weights on the internet.

    Attributes:
        url: Its address.
        algorithm: "md5" or "sha256", as its publisher states.
        digest: The file's digest in hexadecimal, or the first digits of it.
        description: Its publisher and the data that it was trained on.
    """

    url: str
    algorithm: str
    digest: str
    description: str

    @property
    def file_name(self) -> str:
        """The last part of the URL, and the file's name in the cache."""
        return self.url.rsplit("/", maxsplit=1)[-1]


@dataclass(frozen=True)
class Backbone:
    """A backbone for classifiers.

    Attributes:
        name: Its name in records and tables.
        study_name: Its name in the reference study's tables.
        build: (height, width) to a functional model with random weights, float32 images
            (batch, height, width, 3) in 0..255 to features (batch, h, w, channels).
        image_size: The (height, width) in pixels that it was designed for.
        last_convolution: Prefixes of the names of the layers trained at depth 1.
        last_stage: Prefixes of the names of the layers trained in addition at depth 2.
        stage_outputs: Names of the layers at the end of the stem and of each stage, whose
            statistics say whether an image is like the training images; by default the features
            alone.
        imagenet: Its published ImageNet weights, if any.
        torch_module_name: Maps a layer's name to the torchvision module with its parameters; None
            if torchvision's network is not the same function.

    Examples:
        >>> import kerascxr
        >>> backbone = kerascxr.models.BACKBONES["efficientnetb0"]
        >>> backbone.last_stage
        ('block7',)
        >>> backbone.build((64, 64)).output.shape
        (None, 2, 2, 1280)
    """

    name: str
    study_name: str
    build: "Callable[[tuple[int, int]], keras.Model]"
    image_size: tuple[int, int]
    last_convolution: tuple[str, ...]
    last_stage: tuple[str, ...]
    stage_outputs: tuple[str, ...] = ()
    imagenet: PublishedWeights | None = None
    torch_module_name: Callable[[str], str] | None = None


def _build_efficientnetb0(image_size: tuple[int, int]) -> "keras.Model":
    from kerascxr.models.efficientnet import build_efficientnetb0

    return build_efficientnetb0(image_size)


def _build_shufflenet(width: float, image_size: tuple[int, int]) -> "keras.Model":
    from kerascxr.models.shufflenet_v2 import build_shufflenet_v2

    return build_shufflenet_v2(width, image_size)


def _torch_module_name(layer_name: str) -> str:
    from kerascxr.models.shufflenet_v2 import torch_module_name

    return torch_module_name(layer_name)


def _shufflenet(width: float, file_name: str, digest: str) -> Backbone:
    return Backbone(
        name=f"shufflenetv2_x{width:.1f}".replace(".", "_"),
        # The study's "x0.5" has the parameters of x1.0, which therefore has its name here.
        study_name="ShuffleNetV2" if width == 1.0 else f"ShuffleNetV2 x{width}",
        build=partial(_build_shufflenet, width),
        image_size=(224, 224),
        last_convolution=("conv5",),
        last_stage=("stage4",),
        stage_outputs=(
            "conv1_relu",
            "stage2_block3_shuffle",
            "stage3_block3_shuffle",
            "stage3_block7_shuffle",
        ),
        imagenet=PublishedWeights(
            url=f"https://download.pytorch.org/models/{file_name}",
            algorithm="sha256",
            digest=digest,
            description="torchvision's ImageNet-1k weights",
        ),
        torch_module_name=_torch_module_name,
    )


_X0_5 = _shufflenet(0.5, "shufflenetv2_x0.5-f707e7126e.pth", "f707e7126e")
_X1_0 = _shufflenet(1.0, "shufflenetv2_x1-5666bf0f80.pth", "5666bf0f80")

BACKBONES: dict[str, Backbone] = {
    "efficientnetb0": Backbone(
        name="efficientnetb0",
        study_name="EfficientNet-B0",
        build=_build_efficientnetb0,
        image_size=(224, 224),
        last_convolution=("top_",),
        last_stage=("block7",),
        stage_outputs=(
            "block1a_project_bn",
            "block2b_add",
            "block3b_add",
            "block4c_add",
            "block5c_add",
            "block6d_add",
        ),
        imagenet=PublishedWeights(
            url="https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
            algorithm="md5",
            digest="50bc09e76180e00e4465e1a485ddc09d",
            description="keras.applications' ImageNet-1k weights",
        ),
    ),
    # The study's ShuffleNet tables are titled "x0.5", but count the parameters of x1.0.
    "shufflenetv2": _X1_0,
    "shufflenetv2_x0_5": _X0_5,
    "shufflenetv2_x1_0": _X1_0,
}
