"""The chest of the phantom: all that is drawn independently of the class.

A drawing is a sum of attenuations, so bright means dense, as on a radiograph: body, heart, spine,
ribs and clavicles, minus the air of the lungs. Pose, build, exposure, frame and markers vary.
"""

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from kerascxr.data.phantom.shapes import (
    BLADE,
    HEART,
    LEFT_LUNG,
    LETTERS,
    RIGHT_LUNG,
    TORSO,
    blur,
    enlarge_heart,
    largest_part,
    portable,
    resize,
    ribbons,
    spline,
    step,
    vary,
)

SCALE = 2  # drawing at twice the size, then reduction, gives smooth edges


class Chest:
    """One drawn chest, without findings.

    Attributes:
        lungs: float32 ``(height, width)``, 0..1: the lung fields.
        sides: The right and the left lung field.
        across: float32 ``(height, width)``: -1..1 between the outer walls, negative on the right.
        down: float32 ``(height, width)``: 0 at the apices, 1 at the outer bases.
        bones: float32 ``(height, width)``: their attenuation, once exposed.
        heart: float32 ``(height, width)``, 0..1: its area, once exposed.
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        self.size = size
        self.rng = rng
        height, width = size
        uniform = rng.uniform
        # ---- pose and build: chest frame -> pixels of the large canvas
        self.unit = 0.5 * width * SCALE * uniform(0.64, 0.93)  # half of the chest's width
        self.tall = height * SCALE * uniform(0.54, 0.78)
        turn = np.deg2rad(rng.normal(0, 3))
        self.turn = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        self.middle = SCALE * np.array(
            [width * (0.5 + rng.normal(0, 0.025)), height * (0.49 + rng.normal(0, 0.035))]
        )
        # ---- lungs
        bases = rng.normal(0, 0.035, 2)  # the height of each half of the diaphragm varies
        apex = rng.normal(0, 0.06)
        self.heart_growth = uniform(-0.03, 0.13)
        self.outlines = [
            self.place(spline(enlarge_heart(vary(outline, rng, base, apex), self.heart_growth)))
            for outline, base in zip((RIGHT_LUNG, LEFT_LUNG), bases, strict=True)
        ]
        # Right, left: float32 (height, width), 0..1.
        self.sides = [largest_part(self.fill(outline)) for outline in self.outlines]
        self.lungs = np.maximum(*self.sides)
        self.soft_lungs = blur(self.lungs, 1.2)
        self.across, self.down = self._places(height, width)

    def _places(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the pixels of a ``rows x columns`` grid lie in the chest: two float32 maps."""
        height, width = self.size
        x = (np.arange(columns) + 0.5) * (SCALE * width / columns) - self.middle[0]
        y = (np.arange(rows) + 0.5) * (SCALE * height / rows) - self.middle[1]
        back = (self.turn / (self.unit, self.tall)).astype(np.float32)  # undoes ``place``
        x, y = x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]
        return x * back[0, 0] + y * back[1, 0], x * back[0, 1] + y * back[1, 1] + np.float32(0.5)

    # ---- drawing in the chest's frame

    def place(self, points: np.ndarray) -> np.ndarray:
        """Chest coordinates ``(n, 2)`` to canvas pixels ``(n, 2)``."""
        return (points - (0, 0.5)) * (self.unit, self.tall) @ self.turn.T + self.middle

    def canvas(self) -> Image.Image:
        """An empty canvas, ``SCALE`` times the image's size."""
        height, width = self.size
        return Image.new("L", (width * SCALE, height * SCALE))

    def finish(self, canvas: Image.Image) -> np.ndarray:
        """The canvas at its final size: float32 ``(height, width)``, 0..1."""
        return np.asarray(canvas.reduce(SCALE), np.float32) / 255

    def fill(self, *polygons: np.ndarray) -> np.ndarray:
        """The union of polygons ``(n, 2)``: float32 ``(height, width)``, 0..1."""
        canvas = self.canvas()
        for polygon in polygons:
            ImageDraw.Draw(canvas).polygon(polygon.ravel().tolist(), fill=255)
        return self.finish(canvas)

    def haze(
        self, cells: int, rng: np.random.Generator, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Smooth noise with ``cells`` cells across: float32 ``size``, about N(0, 1)."""
        coarse = rng.standard_normal((cells, cells), np.float32)
        return resize(coarse, size or self.size, Image.Resampling.BICUBIC)

    def pixel(self, length: float) -> float:
        """Converts a length in half chest widths to final pixels."""
        return length * self.unit / SCALE

    # ---- contents

    def expose(self, findings: np.ndarray) -> np.ndarray:
        """Sums all attenuations, the findings of the class included, and exposes the image.

        Args:
            findings: float32 ``(height, width)``, attenuation to add.

        Returns:
            uint8 ``(height, width)``, 0..255.
        """
        body = self._body()
        self.bones = self._bones()
        dense = body + self.bones + self._vessels() + self._devices()
        # Scattered radiation lowers contrast over distances, a film's processing raises it. Both
        # are computed without the findings, which therefore leave no trace outside of the lungs.
        wide = 1.5 * blur(np.clip(dense / 1.5, 0, 1), self.pixel(0.25))
        dense += self.rng.uniform(-0.35, 0.5) * (dense - wide)
        reach = blur(self.lungs, 2) > 0.05
        return self._film(dense + np.where(reach, findings, 0))

    def _body(self) -> np.ndarray:
        """Soft tissue and air: float32 ``(height, width)``, attenuation from 0 to about 1."""
        rng = self.rng
        uniform = rng.uniform
        torso = TORSO.copy()
        torso[:, 0] *= uniform(0.94, 1.1)
        torso[:, 1] += np.where(np.abs(torso[:, 0]) > 0.5, rng.normal(0, 0.03), 0)
        arm_tip = np.array([uniform(1.5, 2.0), uniform(0.7, 1.1)])
        arms = np.array([[(side * 1.22, 0.1), arm_tip * (side, 1)] for side in (-1, 1)])
        torso_soft = self.fill(self.place(spline(torso)))
        arms_soft = self.fill(*ribbons(self.place(arms), 0.18 * self.unit))
        # Slowly varying parts are computed on a quarter of the pixels.
        across, down = self._places((self.size[0] + 1) // 2, (self.size[1] + 1) // 2)
        # Tissue thins out towards its edge; a blurred outline approximates its depth.
        depth = resize(blur(torso_soft, self.pixel(0.2)), across.shape)
        middle = portable(np.exp, -((across / 0.42) ** 2))
        belly = step(down, uniform(0.78, 0.9), 0.1)
        tissue = 0.16 + 0.40 * depth + 0.16 * middle + (0.12 + 0.1 * depth) * belly
        # Shoulder muscles lie over the apices, breasts over the bases (in some).
        tissue += 0.08 * (1 - step(down, 0.08, 0.07))
        if uniform() < 0.45:
            height, reach, dense = uniform(0.62, 0.8), uniform(0.38, 0.55), uniform(0.03, 0.13)
            r = portable(
                np.hypot, (np.abs(across) - 0.58) / reach, (down - height) / (reach * 0.55)
            )
            tissue += dense * step(-r, -1, 0.12) * step(down, height - 0.1, 0.12)
        tissue += 0.012 * self.haze(7, rng, across.shape)
        # Great vessels above the heart.
        great = step(-np.abs(across), -0.17, 0.05) * step(down, 0.02, 0.12) * (1 - belly)
        tissue += 0.05 * great
        # The trachea, and the gastric air bubble under the left diaphragm.
        trachea = portable(np.exp, -(((across - 0.01) / 0.055) ** 2))
        trachea *= 1 - step(down, 0.27, 0.03)
        tissue -= 0.1 * trachea * step(down, -0.45, 0.1)
        if uniform() < 0.5:
            x, y, wide = uniform(0.42, 0.6), uniform(0.98, 1.04), uniform(0.14, 0.26)
            r = portable(np.hypot, (across - x) / wide, (down - y) / (wide * 0.45))
            tissue -= step(-r, -1, 0.12) * uniform(0.05, 0.18)
        # Air: most where the lung is deep, least at its rim; uneven, and different left and right.
        depth = resize(blur(self.lungs, self.pixel(0.09)), across.shape)
        air = uniform(0.32, 0.42) * (0.55 + 0.45 * np.minimum(1, 1.5 * depth**2))
        air *= 1 + 0.05 * rng.normal() * np.sign(across) + 0.1 * rng.normal() * (down - 0.5)
        air *= 1 + 0.085 * self.haze(5, rng, air.shape) + 0.05 * self.haze(11, rng, air.shape)
        heart = HEART.copy()
        heart[:, 0] = np.where(heart[:, 0] > 0, heart[:, 0] * uniform(0.95, 1.06), heart[:, 0])
        heart = enlarge_heart(heart, self.heart_growth)
        self.heart = blur(self.fill(self.place(spline(heart))), self.pixel(0.025))
        dense = torso_soft * resize(tissue, self.size)
        dense = np.maximum(dense, arms_soft * 0.42)
        dense -= self.soft_lungs * resize(air, self.size)
        # The part of the heart behind lung is fainter.
        dense += 0.09 * self.heart * (1 - 0.3 * self.soft_lungs)
        return dense

    def _bones(self) -> np.ndarray:
        """Spine, ribs, clavicles and shoulder blades: float32 ``(height, width)``."""
        rng, across, down = self.rng, self.across, self.down
        uniform = rng.uniform
        # ---- spine: a column with intervertebral discs, and pedicles beside it
        beat = portable(np.cos, 2 * np.pi * (down * uniform(10.5, 13) + uniform()))
        column = step(-np.abs(across - 0.01), -0.115, 0.012)
        bones = column * (0.055 + 0.018 * beat + 0.045 * np.abs(across) / 0.12)
        bones *= 1 - 0.45 * step(down, 0.35, 0.15)  # fainter behind heart and liver
        # ---- ribs
        count, drop, width = 10, uniform(0.2, 0.36), uniform(0.058, 0.076)
        number = np.arange(count)[:, None]
        wall = 0.52 + 0.51 * np.sin(np.pi / 2 * np.minimum(1, (number + 0.6) / 4.5))
        t = np.linspace(0, 1, 12)[None, :]
        back, front = self.canvas(), self.canvas()
        for side in (-1, 1):
            top = -0.10 + number * uniform(0.094, 0.1) + rng.normal(0, 0.005, (count, 1))
            # The back part leaves the spine almost level and drops towards the chest's wall.
            x = 0.11 + (wall - 0.11) * np.sin(t * np.pi / 2) ** 0.9
            y = top + drop * (0.2 * t + t**2.6 - 0.2 * np.sin(np.pi * t))
            self._bones_along(back, np.stack([side * x, y], -1), width)
            # The front part runs on from the wall, inwards and down.
            x = wall - (wall - 0.34) * t
            y = top + drop + 0.17 * np.sin(t * np.pi / 2)
            self._bones_along(front, np.stack([side * x, y], -1)[:7], width * 1.2)
        between = self.fill(self.place(np.array([(-0.4, 0), (0.4, 0), (0.5, 0.9), (-0.3, 0.9)])))
        # Ribs are clear over the lungs, faint over the heart, invisible below the diaphragm.
        cage = blur(np.maximum(self.lungs, 0.22 * between), self.pixel(0.04))
        strength = uniform(0.05, 0.15)
        ribs = self.finish(back) + uniform(0.2, 0.55) * self.finish(front)
        bones += strength * ribs * np.minimum(1, 1.5 * cage)
        # ---- clavicles and shoulder blades
        canvas = self.canvas()
        clavicle = np.array([(0.12, 0.14), (0.35, 0.105), (0.62, 0.04), (0.9, -0.03), (1.2, -0.05)])
        for side in (-1, 1):
            lift = rng.normal(0, 0.03) * clavicle[:, :1]
            line = spline((clavicle + lift * (0, 1)) * (side, 1), closed=False)
            self._bones_along(canvas, line[None], 0.08)
        bones += uniform(0.07, 0.14) * self.finish(canvas)
        canvas = self.canvas()
        draw = ImageDraw.Draw(canvas)
        spread = uniform(0.93, 1.12)
        for side in (-1, 1):
            blade = self.place(spline(BLADE * (side * spread, 1)))
            draw.polygon(blade.ravel().tolist(), fill=255)
            arm = np.array([(1.34, 0.1), (1.62, 0.75)]) * (side, 1)
            self._bones_along(canvas, arm[None], 0.2)
            head, radius = self.place(np.array([side * 1.32, 0.07])), 0.14 * self.unit
            draw.ellipse([*(head - radius), *(head + radius)], fill=255)
        bones += uniform(0.025, 0.065) * self.finish(canvas)
        return bones

    def _vessels(self) -> np.ndarray:
        """The hila and the vessels that branch from them: float32 ``(height, width)``."""
        rng = self.rng
        canvas = self.canvas()
        for side, hilum in ((-1, (-0.27, 0.47)), (1, (0.30, 0.42))):
            self._tree(ImageDraw.Draw(canvas), side, hilum)
        hila = np.zeros(self.size, np.float32)
        for x, y in ((-0.28, 0.46), (0.31, 0.42)):
            r2 = ((self.across - x) / 0.1) ** 2 + ((self.down - y) / 0.1) ** 2
            hila += portable(np.exp, -r2)
        strength = rng.uniform(0.055, 0.12)
        vessels = self.finish(canvas) + 0.7 * hila
        return strength * vessels * self.soft_lungs

    def _devices(self) -> np.ndarray:
        """Leads, tubes and electrodes of monitored patients: float32 ``(height, width)``."""
        rng = self.rng
        if rng.uniform() < 0.7:
            return np.zeros(self.size, np.float32)
        canvas = self.canvas()
        draw = ImageDraw.Draw(canvas)
        for _ in range(rng.integers(1, 4)):
            begin = np.array([rng.uniform(-0.9, 0.9), -0.5])
            end = np.array([rng.uniform(-0.9, 0.9), rng.uniform(0.1, 0.95)])
            share = np.linspace(0, 1, 5)[:, None]
            line = begin + (end - begin) * share + rng.normal(0, 0.12, (5, 2)) * share
            points = self.place(spline(line, closed=False))
            fill = int(rng.uniform(90, 255))
            wide = max(1, round(rng.uniform(0.012, 0.03) * self.unit))
            draw.line([tuple(point) for point in points], fill=fill, width=wide)
            if rng.uniform() < 0.6:
                radius = rng.uniform(0.03, 0.06) * self.unit
                draw.ellipse([*(points[-1] - radius), *(points[-1] + radius)], fill=fill)
        return rng.uniform(0.1, 0.35) * self.finish(canvas)

    def _tree(self, draw: ImageDraw.ImageDraw, side: int, hilum: tuple[float, float]) -> None:
        """Draws the vessels of one lung: from the hilum, forking at each level."""
        rng, main = self.rng, 10
        start = np.tile(hilum, (main, 1))  # (vessels, 2), in the chest's frame
        heading = np.deg2rad(-75 + 155 * (np.arange(main) + rng.uniform(0.1, 0.9, main)) / main)
        width = 0.046
        for level in range(4):
            length = rng.uniform(0.09, 0.19, len(start)) * (1.3 - 0.15 * level) / 3
            points = [start]
            for _ in range(3):
                heading = heading + rng.normal(0, 0.13, len(start))
                # Units differ: down is in chest heights, across in half chest widths.
                step = [side * np.cos(heading), np.sin(heading) * self.unit / self.tall]
                points.append(points[-1] + np.stack(step, -1) * length[:, None])
            lines = self.place(np.stack(points, 1))  # (vessels, 4, 2)
            for line in lines.reshape(len(start), -1).tolist():
                draw.line(line, fill=250 - 45 * level, width=max(1, round(width * self.unit)))
            fork = rng.uniform(0.15, 0.6, (2, len(start)))
            heading = np.concatenate([heading + fork[0], heading - fork[1]])
            start = np.tile(points[-1], (2, 1))
            width *= 0.66

    def _film(self, dense: np.ndarray) -> np.ndarray:
        """Exposure, noise, frame and markers: uint8 ``(height, width)``."""
        rng, (height, width) = self.rng, self.size
        uniform = rng.uniform
        low, high = uniform(0.0, 0.14), uniform(0.66, 0.98)
        film = np.maximum((dense - low) / (high - low), 0)
        film = portable(np.power, film, uniform(0.8, 1.5))
        film = portable(np.tanh, film)  # compresses dense parts near white
        black = uniform(0, 0.2)
        film = black + film * uniform(0.8 - black, 1.12 - black)
        tilt = rng.normal(0, 0.035, 2)  # uneven beam intensity
        film += float(tilt[0]) * 0.5 * self.across + float(tilt[1]) * (self.down - 0.5)
        film += uniform(0.004, 0.04) * rng.standard_normal(self.size, np.float32)
        # Focal spot and detector blur drawing and noise slightly.
        film = ndimage.gaussian_filter(film, uniform(0.5, 0.9), truncate=3)
        self._mark(film)
        # The cassette's edge or the collimator: black, on some sides.
        for axis, length in ((0, height), (1, width)):
            for end in (0, 1):
                if uniform() < 0.3:
                    cut = int(length * uniform(0.004, 0.06))
                    edge = [slice(None), slice(None)]
                    edge[axis] = slice(length - cut, None) if end else slice(0, cut)
                    film[tuple(edge)] = uniform(0, 0.02)
        film = np.clip(film, 0, 1)
        if uniform() < 0.3:  # a film stored with fewer grey levels
            levels = round(2 ** uniform(5.5, 8))
            film = np.rint(film * levels) / levels
        return np.rint(film * 255).astype(np.uint8)

    def _mark(self, film: np.ndarray) -> None:
        """Puts letters near a corner, into ``film`` itself."""
        rng, (height, width) = self.rng, self.size
        choice = rng.integers(0, 5)
        side = "L" if choice in (0, 1) else "R"
        words = [(side, rng.uniform(0.03, 0.055))] if choice < 4 else []
        if rng.uniform() < 0.25:
            words.append(("AP", rng.uniform(0.02, 0.03)))
        canvas = self.canvas()
        draw = ImageDraw.Draw(canvas)
        for word, tall in words:
            tall *= height * SCALE
            # The marker lies on the patient's own side, so L is on the right of the film.
            x = rng.uniform(0.03, 0.1)
            x = width * SCALE * (0.92 - x if word == "L" else x)
            y = height * SCALE * rng.uniform(0.02, 0.16)
            for letter in word:
                for stroke in LETTERS[letter]:
                    points = [(x + px * tall, y + py * tall) for px, py in stroke]
                    draw.line(points, fill=255, width=max(1, round(tall * 0.16)))
                x += 0.85 * tall
        np.maximum(film, self.finish(canvas) * rng.uniform(0.7, 1), out=film)

    # ---- bones

    def _bones_along(self, canvas: Image.Image, lines: np.ndarray, width: float) -> None:
        """Bones along ``lines`` ``(bones, n, 2)`` (chest frame): a bright rim, a fainter core."""
        draw = ImageDraw.Draw(canvas)
        half = width * self.unit / 2
        pixels = self.place(lines)
        rims, cores = ribbons(pixels, half), ribbons(pixels, max(0.5, half - SCALE))
        for rim, core in zip(rims.tolist(), cores.tolist(), strict=True):
            draw.polygon(rim, fill=255)
            draw.polygon(core, fill=140)
