"""The U-Net's training step in PyTorch, for ``tools.benchmark_unet``. It imports nothing of ours.

An interpreter of another environment runs this file: PyTorch is no package of the project.
"""

import json
import resource
import sys
import time

import torch
from torch import nn

_DEPTH = 4


def _double_conv(channels: int, filters: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for given in (channels, filters):
        parts.append(nn.Conv2d(given, filters, 3, padding=1, bias=False))
        parts.append(nn.BatchNorm2d(filters))
        parts.append(nn.ReLU(inplace=True))
    return nn.Sequential(*parts)


class UNet(nn.Module):
    """The layers of ``kerascxr.models.build_unet``.

    Args:
        filters: Of the first stage.
    """

    def __init__(self, filters: int):
        super().__init__()
        widths = [filters * 2**stage for stage in range(_DEPTH + 1)]
        self.down = nn.ModuleList(
            _double_conv(before, width) for before, width in zip([1, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in ups)
        self.up = nn.ModuleList(_double_conv(2 * b, b) for _, b in ups)
        self.logits = nn.Conv2d(filters, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits (batch, 1, h, w) of images (batch, 1, h, w), 0..255."""
        x = images - images.mean((1, 2, 3), keepdim=True)
        x = x / torch.sqrt(x.square().mean((1, 2, 3), keepdim=True) + 1.0)
        skips = []
        for stage, convolve in enumerate(self.down):
            x = convolve(self.pool(x) if stage else x)
            skips.append(x)
        skips.pop()
        for enlarge, convolve in zip(self.enlarge, self.up, strict=True):
            x = convolve(torch.cat([skips.pop(), enlarge(x)], 1))
        with torch.autocast("cpu", enabled=False):
            return self.logits(x.float())


def bce_dice(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Returns the loss of ``kerascxr.training.losses.BCEDice``."""
    p, sides = torch.sigmoid(logits), (1, 2, 3)
    overlap, size = (p * masks).sum(sides), p.sum(sides) + masks.sum(sides)
    dice = 1 - (2 * overlap + 1) / (size + 1)
    return nn.functional.binary_cross_entropy_with_logits(logits, masks) + dice.mean()


def main() -> None:
    """Takes a step for each line of standard input, as ``benchmark_unet.worker`` does."""
    settings = json.loads(sys.argv[1])
    torch.manual_seed(0)
    size, batch = settings["size"], settings["batch"]
    model = UNet(settings["filters"]).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    x = torch.rand(batch, 1, size, size) * 255
    y = (x > 128).float()
    x = x.to(memory_format=torch.channels_last)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings["bfloat16"]):
            logits = model(x)
        loss = bce_dice(logits, y)
        loss.backward()
        optimizer.step()
        return float(loss)

    losses = [step() for _ in range(2)]
    parameters = sum(weights.numel() for weights in model.parameters())
    ready = {"parameters": parameters, "version": torch.__version__, "losses": losses}
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, flush=True)
            return
        start = time.perf_counter(), time.process_time()
        step()
        taken = time.perf_counter() - start[0], time.process_time() - start[1]
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
