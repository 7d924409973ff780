"""Makes tests/golden/shufflenet_v2_*.npz: what ShuffleNetV2 gives in torch, stage by stage.

Run by hand, where torch is installed (nothing else in this repository needs it)::

    python -m tools.make_golden tests/golden                      # from torch's layers, below
    python -m tools.make_golden tests/golden --cut OUTPUTS.npz    # from torchvision's own outputs

The weights are drawn by name and the images by seed, so a file holds neither: ``draw`` and
``images`` give them again. Of each stage it holds every ``stride``-th number, counted over the
flattened channels-last output, and the stage's largest magnitude.

``--cut`` takes a file with images, stem, stage2, ..., last, pooled, as torchvision's
``shufflenet_v2_x0_5`` gave them; the file for x0.5 is made so, the one for x1.0 from the layers
below. Both ways agree for x0.5 (the tool says how far).
"""

import argparse
import math
from pathlib import Path

import numpy as np

from tests.support.golden_weights import draw, images

CHANNELS = {"x0_5": (24, 48, 96, 192, 1024), "x1_0": (24, 116, 232, 464, 1024)}
STAGES = ("stem", "stage2", "stage3", "stage4", "last", "pooled")
NUMBERS_A_STAGE = 1200


def torch_outputs(channels: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Runs the network in torch, float32, evaluation mode, and returns every stage's output."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        """One unit of figure 3: (c), or (d) where it halves the resolution."""

        def __init__(self, inputs: int, outputs: int, stride: int):
            super().__init__()
            half = outputs // 2
            self.stride = stride
            if stride == 2:
                self.branch1 = nn.Sequential(
                    nn.Conv2d(inputs, inputs, 3, 2, 1, groups=inputs, bias=False),
                    nn.BatchNorm2d(inputs),
                    nn.Conv2d(inputs, half, 1, bias=False),
                    nn.BatchNorm2d(half),
                    nn.ReLU(),
                )
            self.branch2 = nn.Sequential(
                nn.Conv2d(inputs if stride == 2 else half, half, 1, bias=False),
                nn.BatchNorm2d(half),
                nn.ReLU(),
                nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False),
                nn.BatchNorm2d(half),
                nn.Conv2d(half, half, 1, bias=False),
                nn.BatchNorm2d(half),
                nn.ReLU(),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.stride == 2:
                branches = self.branch1(x), self.branch2(x)
            else:
                first, second = x.chunk(2, dim=1)
                branches = first, self.branch2(second)
            return functional.channel_shuffle(torch.cat(branches, dim=1), 2)

    stem, *stages, last = channels
    network = nn.Module()
    network.conv1 = nn.Sequential(
        nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()
    )
    before = stem
    for name, blocks, width in zip(("stage2", "stage3", "stage4"), (4, 8, 4), stages, strict=True):
        rest = [Block(width, width, 1) for _ in range(blocks - 1)]
        network.add_module(name, nn.Sequential(Block(before, width, 2), *rest))
        before = width
    network.conv5 = nn.Sequential(
        nn.Conv2d(before, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU()
    )
    network.load_state_dict(
        {
            name: torch.from_numpy(draw(name, tuple(value.shape))) if value.ndim else value
            for name, value in network.state_dict().items()
        }
    )
    network.eval()
    with torch.no_grad():
        x = torch.from_numpy(images()).permute(0, 3, 1, 2)
        outputs = {"stem": (x := functional.max_pool2d(network.conv1(x), 3, 2, 1))}
        for name in ("stage2", "stage3", "stage4"):
            outputs[name] = x = network.get_submodule(name)(x)
        outputs["last"] = x = network.conv5(x)
        outputs = {name: value.permute(0, 2, 3, 1).numpy() for name, value in outputs.items()}
        outputs["pooled"] = x.mean((2, 3)).numpy()
    return outputs


def save(path: Path, outputs: dict[str, np.ndarray]) -> None:
    """Writes every stage's sample under 50 KB."""
    arrays: dict[str, np.ndarray] = {}
    for name in STAGES:
        values = outputs[name]
        stride = max(1, values.size // NUMBERS_A_STAGE)
        while math.gcd(stride, values.shape[-1]) > 1:  # so that it visits every channel
            stride += 1
        arrays[f"{name}_sample"] = values.reshape(-1)[::stride]
        arrays[f"{name}_stride"] = np.array(stride)
        arrays[f"{name}_largest"] = np.abs(values).max()
        arrays[f"{name}_shape"] = np.array(values.shape)
    np.savez_compressed(path, allow_pickle=False, **arrays)
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cut", type=Path, help="outputs of torchvision's x0.5")
    arguments = parser.parse_args()
    if arguments.cut:
        with np.load(arguments.cut) as file:
            outputs = dict(file)
        if not np.array_equal(outputs["images"], images()):
            raise SystemExit(f"{arguments.cut} must hold the outputs for images().")
        save(arguments.folder / "shufflenet_v2_x0_5.npz", outputs)
        for name, values in torch_outputs(CHANNELS["x0_5"]).items():
            error = np.abs(values - outputs[name]).max() / np.abs(outputs[name]).max()
            print(f"{name}: the layers here differ from torchvision's by {error:.1e}")
    else:
        save(arguments.folder / "shufflenet_v2_x1_0.npz", torch_outputs(CHANNELS["x1_0"]))


if __name__ == "__main__":
    main()
