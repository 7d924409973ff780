"""Loads pretrained weights into a backbone, strictly: every parameter matches or none is set."""

import dataclasses
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import h5py
import keras
import numpy as np

from kerascxr.models.backbones import BACKBONES, Backbone
from kerascxr.models.download import fetch, file_digest, is_cached, is_reachable
from kerascxr.models.layers import HEAD_PREFIX, IMAGENET_MEAN, IMAGENET_STD, LINEAR_PROBE
from kerascxr.models.packed_weights import read_card, read_weights
from kerascxr.models.torch_checkpoint import read_torch_checkpoint
from kerascxr.names import look_up

Shapes = Mapping[str, Any]
"""Names to a shape, or to a layer's list of shapes."""

Arrays = dict[str, list[np.ndarray]]
"""Layer names to arrays in the order of ``layer.weights``."""

DRAWN = Path(__file__).parent / "drawn"
"""Backbones pretrained on drawn X-rays: NAME.weights.npz, with a card in NAME.json and NAME.md."""

_INSTEAD = "drawn chest X-rays, not {} ({}). Use natural-image weights for real X-rays."

_LOUD = (
    "RANDOM WEIGHTS, not {} ({}). Results will be far below those of a pretrained network, and at "
    "depth 0 to 2 hardly better than chance: the frozen layers are random. Give the path of a "
    "weights file, or train everything (depth all)."
)

_MAX_BYTES = 1 << 30  # of all the arrays in one file

# keras.applications keeps its input scaling in a layer of this name; ours is constant.
_SCALING_PREFIX = "normalization"


@dataclass(frozen=True)
class WeightsUsed:
    """The starting weights of a model, as a run records them.

    Attributes:
        kind: "imagenet", "drawn", "file" or "none".
        source: The path or URL; "" for random weights.
        sha256: The file's digest; "" for random weights.
        description: A short text for tables and reports.
    """

    kind: Literal["imagenet", "drawn", "file", "none"]
    source: str
    sha256: str
    description: str


def load_weights(
    model: keras.Model,
    backbone: str | Backbone,
    weights: str | Path,
    *,
    mirror: str | None = None,
) -> WeightsUsed:
    """Loads pretrained weights into a model's backbone: all parameters match, or none is set.

    Args:
        model: A backbone, or a classifier from ``build_classifier``.
        backbone: A key of ``BACKBONES``, or one of its values.
        weights: "imagenet": the published file, from the cache or the internet. "drawn": those
            that come with the package, pretrained on drawn X-rays. "none": random. "auto":
            "imagenet" if it is cached or reachable, else "drawn". Otherwise the path of a
            ``.weights.h5``, ``.h5`` or ``.keras`` file of this backbone or of a classifier with it,
            or, for ShuffleNetV2, of a torchvision checkpoint (``.pth``, ``.pt``).
        mirror: A URL that serves the published files by name, instead of their publisher's.

    Returns:
        The weights used. A head in the file is loaded too if its shapes are the model's; the
        description says so.

    Raises:
        FileNotFoundError: If the path does not exist.
        ConnectionError: If weights are "imagenet" and the download fails.
        ValueError: If the file is damaged, of another kind, or does not fit the backbone. The
            model is then unchanged.

    Source:
        keras.applications (EfficientNet-B0) and torchvision (ShuffleNetV2); ``BACKBONES`` has the
        URLs and digests.

    Examples:
        >>> import kerascxr
        >>> model = kerascxr.models.build_classifier("shufflenetv2_x0_5", n_classes=4)
        >>> kerascxr.models.load_weights(model, "shufflenetv2_x0_5", "none").description
        'random weights'
    """
    if isinstance(backbone, str):
        backbone = look_up(BACKBONES, backbone, "backbone")
    if weights == "none":
        return WeightsUsed("none", "", "", "random weights")
    if weights in ("auto", "imagenet"):
        return _load_published(model, backbone, mirror, required=weights == "imagenet")
    if weights == "drawn":
        return _load_drawn(model, backbone)
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(
            "weights must be auto, imagenet, drawn, none or the path of a file. Got "
            f"weights={weights}, which does not exist."
        )
    return WeightsUsed("file", str(path), file_digest(path), _load_file(model, backbone, path))


def _load_published(
    model: keras.Model, backbone: Backbone, mirror: str | None, required: bool
) -> WeightsUsed:
    """Loads the published weights; without them the package's own, or it is an error."""
    published = backbone.imagenet
    if published is None:
        reason = f"{backbone.name} has no published weights"
        if required:
            raise ValueError(f"weights must not be imagenet: {reason}. Got weights=imagenet.")
        return _load_instead(model, backbone, "pretrained ones", reason)
    if mirror is not None:
        url = f"{mirror.rstrip('/')}/{published.file_name}"
        published = dataclasses.replace(published, url=url)
    try:
        if not required and not is_cached(published) and not is_reachable(published.url):
            raise ConnectionError(f"{published.url} is neither cached nor reachable")
        path = fetch(published)
    except (ConnectionError, ValueError) as error:
        if required:
            raise
        return _load_instead(model, backbone, published.description, str(error))
    _load_file(model, backbone, path)
    description = f"{published.description} ({published.file_name})"
    return WeightsUsed("imagenet", published.url, file_digest(path), description)


def _load_instead(model: keras.Model, backbone: Backbone, wanted: str, reason: str) -> WeightsUsed:
    """Loads the package's weights where published ones cannot be had; random ones as a last way."""
    if not _drawn_path(backbone).is_file():
        return WeightsUsed("none", "", "", _LOUD.format(wanted, reason))
    used = _load_drawn(model, backbone)
    return dataclasses.replace(used, description=_INSTEAD.format(wanted, reason))


def _drawn_path(backbone: Backbone) -> Path:
    return DRAWN / f"{backbone.name}.weights.npz"


def _load_drawn(model: keras.Model, backbone: Backbone) -> WeightsUsed:
    """Loads the weights that come with the package."""
    path = _drawn_path(backbone)
    having = sorted(item.name.partition(".")[0] for item in DRAWN.glob("*.weights.npz"))
    if backbone.name not in having:
        raise ValueError(
            f"weights must not be drawn for {backbone.name}: the package has them for "
            f"{', '.join(having)}. Got weights=drawn."
        )
    card = f"{backbone.name}.json"
    try:
        read_card(DRAWN, card, (path.name,))
    except ValueError as error:
        raise ValueError(f"{DRAWN} cannot be used: {error}. Install kerascxr again.") from None
    arrays: Arrays = {}
    for name, array in read_weights(path).items():  # layer/0, layer/1 and so on
        arrays.setdefault(name.rpartition("/")[0], []).append(array)
    body = [layer for layer in model.layers if not layer.name.startswith(HEAD_PREFIX)]
    _check(path, backbone, "layers", _shapes_of_layers(body), _shapes_of_arrays(arrays))
    for name, values in arrays.items():
        model.get_layer(name).set_weights(values)
    return WeightsUsed("drawn", path.name, file_digest(path), "drawn chest X-rays")


def _load_file(model: keras.Model, backbone: Backbone, path: Path) -> str:
    """Copies a file's arrays into the model; returns the description of the file."""
    if path.suffix in (".pth", ".pt"):
        arrays = _from_torch(model, backbone, path)
    elif path.suffix == ".keras":
        arrays = _read_keras_archive(path)
    elif path.suffix == ".h5":
        arrays = _read_h5(path, path)
    else:
        raise ValueError(
            f"weights must end in .weights.h5, .h5, .keras, .pth or .pt. Got weights={path}."
        )
    head = [layer for layer in model.layers if layer.name.startswith(HEAD_PREFIX)]
    body = [layer for layer in model.layers if not layer.name.startswith(HEAD_PREFIX)]
    in_head = {name: arrays.pop(name) for name in list(arrays) if name.startswith(HEAD_PREFIX)}
    scaling = [arrays.pop(name) for name in list(arrays) if name.startswith(_SCALING_PREFIX)]
    has_probe = arrays.pop(LINEAR_PROBE, None) is not None
    _check(path, backbone, "layers", _shapes_of_layers(body), _shapes_of_arrays(arrays))
    notes = [path.name]
    if head and _shapes_of_layers(head) == _shapes_of_arrays(in_head):
        arrays |= in_head
        notes.append("with its head")
    elif head and in_head:
        notes.append("its head not loaded: its shapes differ")
    if has_probe:  # a training fits one of its own
        notes.append("its linear probe not loaded")
    if any(not _is_imagenet_scaling(*values[:2]) for values in scaling):
        notes.append("ITS INPUT SCALING, WHICH IS NOT IMAGENET'S, REPLACED")
    for name, values in arrays.items():
        model.get_layer(name).set_weights(values)
    return ", ".join(notes)


def _is_imagenet_scaling(mean: np.ndarray, variance: np.ndarray) -> bool:
    """Whether the values are ImageNet's; Keras' own file stores deviations as variances."""
    deviation = np.array(IMAGENET_STD)
    return np.allclose(mean, IMAGENET_MEAN, atol=1e-3) and (
        np.allclose(variance, deviation**2, atol=1e-3)
        or np.allclose(variance, deviation, atol=1e-3)
    )


def _check(path: Path, backbone: Backbone, noun: str, needed: Shapes, found: Shapes) -> None:
    """Raises a one-line error that lists the differences, if there are any."""
    missing = [name for name in needed if name not in found]
    other = [name for name in needed if name in found and needed[name] != found[name]]
    extra = [name for name in found if name not in needed]
    differences = []
    if missing:
        differences.append(f"{len(missing)} are missing, first {missing[0]}")
    if other:
        name = other[0]
        differences.append(
            f"{len(other)} have another shape, first {name} with {found[name]} for {needed[name]}"
        )
    if extra:
        differences.append(f"{len(extra)} have no place in it, first {extra[0]}")
    if differences:
        raise ValueError(
            f"{path} must hold the {len(needed)} {noun} of {backbone.name}. "
            f"Got {len(found)}: {'; '.join(differences)}."
        )


def _shapes_of_layers(layers: Iterable[keras.layers.Layer]) -> dict[str, list[tuple[int, ...]]]:
    """Returns "stem_conv" to [(3, 3, 3, 32)], and so on."""
    return {
        layer.name: [tuple(w.shape) for w in layer.weights] for layer in layers if layer.weights
    }


def _shapes_of_arrays(arrays: Arrays) -> dict[str, list[tuple[int, ...]]]:
    return {name: [value.shape for value in values] for name, values in arrays.items()}


def _from_torch(model: keras.Model, backbone: Backbone, path: Path) -> Arrays:
    """Reads a torchvision checkpoint, converted to Keras' names and layouts."""
    if backbone.torch_module_name is None:
        raise ValueError(
            f"weights must be a Keras file for {backbone.name}: torchvision's network of that name "
            f"pads its strided convolutions differently. Got weights={path}."
        )
    state = {
        name: array
        for name, array in read_torch_checkpoint(path).items()
        # The classifier of the ImageNet classes, and a counter, are not used.
        if not name.startswith("fc.") and not name.endswith(".num_batches_tracked")
    }
    sources: dict[str, list[tuple[str, Callable[[np.ndarray], np.ndarray]]]] = {}
    needed: dict[str, tuple[int, ...]] = {}
    for layer in model.layers:
        if not layer.weights or layer.name.startswith(HEAD_PREFIX):
            continue
        module = backbone.torch_module_name(layer.name)
        if isinstance(layer, keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            sources[layer.name] = [(f"{module}.{name}", np.asarray) for name in names]
            needed |= {name: tuple(layer.gamma.shape) for name, _ in sources[layer.name]}
        else:
            # From (out, in, height, width) to (height, width, in, out); depthwise from
            # (channels, 1, height, width) to (height, width, channels, 1).
            height, width, inputs, outputs = layer.kernel.shape
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            sources[layer.name] = [(f"{module}.weight", partial(np.transpose, axes=axes))]
            shape = (inputs, outputs) if depthwise else (outputs, inputs)
            needed[f"{module}.weight"] = (*shape, height, width)
    _check(
        path, backbone, "parameters", needed, {name: array.shape for name, array in state.items()}
    )
    return {
        layer: [turn(state[name].astype(np.float32)) for name, turn in names]
        for layer, names in sources.items()
    }


def _read_keras_archive(path: Path) -> Arrays:
    """Reads the weights of a ``.keras`` file; its configuration is not used."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo("model.weights.h5")
            if info.file_size > _MAX_BYTES:
                raise ValueError(f"{path} must hold at most {_MAX_BYTES >> 20} MiB of weights.")
            content = archive.read(info)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, error) from error
    return _read_h5(io.BytesIO(content), path)


def _read_h5(file: Path | io.BytesIO, path: Path) -> Arrays:
    """Reads Keras 3's weights layout, or the older one of ``keras.applications``' files."""
    try:
        with h5py.File(file, "r") as root:
            if "model_weights" in root:  # a whole model in the older layout
                root = root["model_weights"]
            found = _legacy_datasets(root) if "layer_names" in root.attrs else _datasets(root)
            if sum(item.nbytes for items in found.values() for item in items) > _MAX_BYTES:
                raise ValueError(f"{path} must hold at most {_MAX_BYTES >> 20} MiB of weights.")
            return {name: [item[()] for item in items] for name, items in found.items()}
    except (OSError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise _damaged(path, error) from error


def _datasets(root: h5py.Group) -> dict[str, list[h5py.Dataset]]:
    """Finds each layer's arrays: Keras 3 stores the layer's name as an attribute of ``vars``."""
    found: dict[str, list[h5py.Dataset]] = {}

    def visit(path: str, group: h5py.Group) -> None:
        # Optimizers and random generators store their states in such groups as well.
        if path.endswith("vars") and not re.search(r"(^|/)(optimizer|seed_generator)/", path):
            items = [group[str(i)] for i in range(len(group))]
            if items:
                found[str(group.attrs["name"])] = items

    root.visititems(visit)
    return found


def _legacy_datasets(root: h5py.Group) -> dict[str, list[h5py.Dataset]]:
    """Finds each layer's arrays by the attributes that list them."""
    found = {}
    for name in _texts(root.attrs["layer_names"]):
        weights = _texts(root[name].attrs["weight_names"])
        if weights := [weight for weight in weights if "seed" not in weight]:
            found[name] = [root[name][weight] for weight in weights]
    return found


def _texts(values: Iterable[str | bytes]) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return ValueError(
        f"{path} must be a whole Keras weights file; it is truncated, damaged or another kind of "
        f"file ({reason})."
    )
