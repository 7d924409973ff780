"""Drawn chest X-rays with lung masks, so that every command runs without a data set.

Classes differ only in the findings inside the lungs:

- ``COVID``: several blurred patches, in both lungs, peripheral and basal;
- ``Lung_Opacity``: one dense opacity confined to a lobe;
- ``Viral Pneumonia``: a fine network and streaks over both lungs;
- ``Normal``: none.

Every image has vessels, uneven haze and noise, and findings range from subtle to obvious, so that
neither brightness nor a thumbnail predicts the class. A marked phantom also has a bar in a corner
whose length depends on the class: a planted shortcut, to test the audits. The drawings test
software; no number measured on them applies to patients.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw
from scipy import ndimage

from kerascxr.data.phantom.chest import Chest
from kerascxr.data.phantom.shapes import blur, portable, step
from kerascxr.data.sources.examples import Example, Source
from kerascxr.names import look_up

PHANTOM = "phantom"
"""The layout of its sources."""

VERSION = 3  # part of the source's signature: raise it with every change of the drawings

# The radiography database's class names and, roughly, its proportions.
SHARES = {"COVID": 0.2, "Lung_Opacity": 0.3, "Normal": 0.35, "Viral Pneumonia": 0.15}

STRUCTURES = ("lungs", "heart", "bones", "COVID", "Lung_Opacity", "Viral Pneumonia")
"""What ``draw_with_structures`` marks: anatomy, then each class's findings."""


@dataclass(frozen=True)
class Drawing:
    """One image of the phantom, drawn on demand.

    Attributes:
        index: Its number; with ``seed`` it determines all but the findings.
        seed: The phantom's seed.
        label: The class, a key of ``SHARES``.
        size: (height, width) in pixels.
        marked: Whether a bar in a corner encodes the class by its length.
    """

    index: int
    seed: int
    label: str
    size: tuple[int, int] = (256, 256)
    marked: bool = False

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws the image and its lung mask.

        Two drawings that differ only in ``label`` differ only in the lungs (and their soft rim):
        the findings have a random generator of their own.

        Returns:
            uint8 ``(height, width)`` image, 0..255, and uint8 ``(height, width)`` mask, 0 or 255,
            of the lung fields (without the parts behind the heart and below the diaphragm).
        """
        chest, findings = self._chest_and_findings()
        mask = np.where(chest.lungs > 0.5, 255, 0).astype(np.uint8)
        image = chest.expose(findings)
        return (_mark(image, self.label) if self.marked else image), mask

    def draw_with_structures(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws the image, and where each structure and finding lies: targets of a pretraining.

        Returns:
            uint8 ``(height, width)`` image, 0..255, as ``draw`` gives it, and uint8 ``(height,
            width, len(STRUCTURES))``, 0..255: how much of each structure a pixel has.
        """
        chest, findings = self._chest_and_findings()
        image = chest.expose(findings)
        maps: dict[str, np.ndarray] = dict.fromkeys(STRUCTURES, np.zeros(self.size, np.float32))
        maps |= {"lungs": chest.lungs, "heart": chest.heart, "bones": chest.bones / 0.2}
        if findings.any():
            strength = ndimage.gaussian_filter(np.abs(findings), chest.pixel(0.03))
            maps[self.label] = step(strength / strength.max(), 0.3, 0.1)
        planes = np.stack([maps[name] for name in STRUCTURES], axis=-1)
        return image, np.rint(np.clip(planes, 0, 1) * 255).astype(np.uint8)

    def _chest_and_findings(self) -> tuple[Chest, np.ndarray]:
        """The chest, and the attenuation of the class's findings, float32 ``(height, width)``."""
        chest = Chest(self.size, np.random.default_rng([self.seed, self.index]))
        draw_findings = look_up(FINDINGS, self.label, "phantom class")
        return chest, draw_findings(chest, np.random.default_rng([self.seed, self.index, 1]))


def _mark(image: np.ndarray, label: str) -> np.ndarray:
    """Draws a bright bar into the upper left corner; its length is the class's index plus one."""
    side = min(image.shape) // 20
    length = side * (1 + list(SHARES).index(label))
    marked = image.copy()
    marked[side // 2 : side // 2 + side, :length] = 250
    return marked


def phantom_source(images: int, seed: int, marked: bool = False) -> Source:
    """The phantom as a source, its classes in the radiography database's order and proportions.

    Args:
        images: Number of images; a larger phantom of the same seed contains a smaller one.
        seed: Seed of the drawings.
        marked: Whether a bar in a corner encodes the class by its length.

    Raises:
        ValueError: If there are too few images for all classes, or the seed is negative.
    """
    if images < 2 * len(SHARES):
        raise ValueError(
            f"phantom_images must be at least {2 * len(SHARES)}. Got phantom_images={images}."
        )
    if seed < 0:
        raise ValueError(f"phantom_seed must be 0 or more. Got phantom_seed={seed}.")
    numbers = dict.fromkeys(SHARES, 0)
    examples: dict[str, list[Example]] = {name: [] for name in SHARES}
    for index, label in enumerate(_labels(images)):
        numbers[label] += 1
        id_ = f"phantom/{label}-{numbers[label]:04d}"
        examples[label].append(Example(id_, Drawing(index, seed, label, marked=marked), label))
    settings = [
        ("phantom/images", (images, 0)),
        ("phantom/seed", (seed, 0)),
        ("phantom/size", Drawing.size),
        ("phantom/version", (VERSION, 0)),
    ]
    if marked:
        settings.append(("phantom/marked", (1, 0)))
    return Source(
        name="phantom-marked" if marked else "phantom",
        layout=PHANTOM,
        root=None,
        classes=tuple(SHARES),
        examples=tuple(example for label in SHARES for example in examples[label]),
        settings=tuple(settings),
    )


def _labels(images: int) -> Iterator[str]:
    """Yields the class of each drawing: the one furthest below its share so far."""
    counts = dict.fromkeys(SHARES, 0)
    for number in range(1, images + 1):
        label = max(SHARES, key=lambda name: round(SHARES[name] * number - counts[name], 9))
        counts[label] += 1
        yield label


# ---- findings: attenuation to add, float32 (height, width)


def _none(chest: Chest, rng: np.random.Generator) -> np.ndarray:
    return np.zeros(chest.size, np.float32)


def _patches(chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """Ground-glass patches: several, on both sides, in the outer and lower lung."""
    canvas = chest.canvas()
    draw = ImageDraw.Draw(canvas)
    for side in (-1, 1):
        for _ in range(rng.integers(2, 5)):
            down = 0.32 + 0.55 * rng.beta(2.0, 1.3)
            wall = np.interp(down, (0.1, 0.26, 0.48, 0.72, 0.95), (0.62, 0.77, 0.87, 0.93, 0.93))
            across = side * (wall - rng.uniform(0.04, 0.26))
            for _ in range(4):  # a patch is several ellipses, so patches differ in shape
                centre = chest.place(
                    np.array([[across + rng.normal(0, 0.07), down + rng.normal(0, 0.05)]])
                )[0]
                radius = np.array([rng.uniform(0.04, 0.1), rng.uniform(0.04, 0.1)]) * chest.unit
                fill = int(rng.uniform(130, 255))
                draw.ellipse([*(centre - radius), *(centre + radius)], fill=fill)
    patches = blur(chest.finish(canvas), chest.pixel(0.035))
    mottle = 1 + 0.3 * chest.haze(40, rng)
    return rng.uniform(0.12, 0.30) * patches * mottle * chest.soft_lungs


def _lobe(chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """Consolidation of one lobe: dense, sharp at the fissure, with air-filled bronchi in it."""
    side = int(rng.integers(0, 2))
    upper = rng.uniform() < 0.5
    fissure = (0.42 if side == 0 else 0.5) + rng.normal(0, 0.03)
    slope = rng.uniform(-0.12, 0.12)
    beyond = chest.down - fissure - slope * (np.abs(chest.across) - 0.5)
    if upper:
        beyond = -beyond
    # The opacity is sharp at the fissure; its extent away from it varies.
    extent = rng.uniform(0.18, 0.42)
    x = np.sign(side - 0.5) * rng.uniform(0.45, 0.75)
    shape = step(beyond, 0, 0.012)
    shape *= portable(np.exp, -(np.maximum(beyond, 0) ** 2) / (2 * (extent * 0.7) ** 2))
    shape *= portable(np.exp, -((chest.across - x) ** 2) / (2 * extent**2))
    shape *= 1 + 0.12 * chest.haze(9, rng)
    canvas = chest.canvas()
    hilum = np.array([np.sign(side - 0.5) * 0.3, 0.45])
    for _ in range(5):
        heading = rng.uniform(0.1, 1.1) * (-1 if upper else 1)
        end = hilum + rng.uniform(0.3, 0.55) * np.array(
            [np.sign(side - 0.5) * np.cos(heading), np.sin(heading)]
        )
        line = [tuple(point) for point in chest.place(np.array([hilum, end]))]
        ImageDraw.Draw(canvas).line(line, fill=255, width=round(0.03 * chest.unit))
    bronchi = chest.finish(canvas)
    strength = rng.uniform(0.14, 0.32)
    return strength * shape * (1 - 0.45 * bronchi) * blur(chest.sides[side], 1.2)


def _network(chest: Chest, rng: np.random.Generator) -> np.ndarray:
    """Interstitial markings: a fine network and streaks from the hila, over both lungs."""
    coarse = ndimage.gaussian_filter(
        rng.standard_normal(chest.size, np.float32), chest.pixel(rng.uniform(0.014, 0.022))
    )
    wide = 0.45 * float(np.std(coarse, dtype=np.float64))
    ridges = portable(np.exp, -((coarse / wide) ** 2))  # thin lines where it passes 0
    canvas = chest.canvas()
    draw = ImageDraw.Draw(canvas)
    for side, hilum in ((-1, (-0.27, 0.47)), (1, (0.30, 0.42))):
        for _ in range(34):
            heading = rng.uniform(-1.25, 1.35)
            way = np.array([side * np.cos(heading), 0.75 * np.sin(heading)])
            begin = np.array(hilum) + way * rng.uniform(0.05, 0.5)
            end = begin + way * rng.uniform(0.05, 0.2) + rng.normal(0, 0.015, 2)
            line = [tuple(point) for point in chest.place(np.array([begin, end]))]
            draw.line(line, fill=int(rng.uniform(90, 220)), width=round(0.016 * chest.unit))
    streaks = chest.finish(canvas)
    # Minus its mean, so that brightness does not reveal the class.
    texture = ridges - float(ridges.mean(dtype=np.float64)) + 0.8 * (streaks - 0.12)
    texture *= np.clip(1 + 0.35 * chest.haze(5, rng), 0.2, None)
    return rng.uniform(0.06, 0.15) * texture * blur(chest.lungs, 2.0)


FINDINGS = {
    "COVID": _patches,
    "Lung_Opacity": _lobe,
    "Normal": _none,
    "Viral Pneumonia": _network,
}
