"""Paints the things of a layout, each inside the mask of its label polygon, then adds the camera's effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .camera import Camera
from .facades import front
from .light import Light
from .shapes import fill, fixed_point
from .textures import lookup, sample
from .things import Ground, Leaves, Parts, Plane, Sky, Thing


class Stencil:
    """Masks of polygons, rasterised exactly as Cityscapes' scripts do it for labels (PIL, over the whole image)."""

    def __init__(self, width: int, height: int):
        self._image = Image.new("L", (width, height), 0)
        self._draw = ImageDraw.Draw(self._image)

    def cut(self, polygon: np.ndarray) -> tuple[np.ndarray, slice, slice]:
        """A polygon's mask (h, w) uint8, 0 or 255, inside its bounding box, and the rows and columns of that box.

        The polygon, (N, 2) int32, must lie inside the image.
        """
        flat = polygon.ravel().tolist()
        self._draw.polygon(flat, fill=255)
        x0, y0, x1, y1 = min(flat[::2]), min(flat[1::2]), max(flat[::2]) + 1, max(flat[1::2]) + 1
        mask = np.asarray(self._image.crop((x0, y0, x1, y1)))
        self._image.paste(0, (x0, y0, x1, y1))
        return mask, slice(y0, y1), slice(x0, x1)


class GroundMap:
    """The ground position of each pixel below the horizon: `z` (rows, 1) and `s` (rows, W), in metres."""

    def __init__(self, camera: Camera, rng: np.random.Generator):
        self.top = min(int(np.ceil(camera.horizon)) + 1, camera.height - 1)
        rows = np.arange(self.top, camera.height, dtype=np.float32)[:, None]
        self.z = np.minimum(camera.focal * camera.eye / (rows - camera.horizon), 400).astype(np.float32)
        x = (np.arange(camera.width, dtype=np.float32)[None] - camera.centre) * (self.z / camera.focal)
        self.s = (x + camera.lane - camera.skew * self.z - camera.bend * self.z**2).astype(np.float32)
        u, v = self.s + 1000 + rng.uniform(0, 20), self.z + rng.uniform(0, 20)
        detail = 1 / (1 + self.z / 22)
        self.grain = lookup("grain", u * 34, v * 17) * detail
        self.stain = lookup("stain", u * 9, v * 6)
        self.clump = lookup("leaf", u * 26, v * 13) * (0.3 + 0.7 * detail)
        self._tones: dict[str, np.ndarray] = {}

    def tone(self, material: str) -> np.ndarray:
        """The texture of a material, to be added to its colour: (rows, W, 3) float32 grey levels."""
        if material not in self._tones:
            self._tones[material] = self._grass() if material == "grass" else self._stone(material)
        return self._tones[material]

    def _grass(self) -> np.ndarray:
        body = 14 * self.clump + 9 * self.stain
        dry = np.maximum(self.stain - 0.6, 0)
        return cv2.merge([body + 16 * dry, 0.9 * body + 8 * dry, 0.6 * body - 2 * dry])

    def _stone(self, material: str) -> np.ndarray:
        body = np.float32(7) * (self.grain + self.stain)
        if material != "asphalt":  # joints between slabs or cobblestones; each stone has a different tone
            a, b, spread = (0.6, 0.45, 11) if material == "slabs" else (0.22, 0.3, 18)
            across, along = self.s * np.float32(1 / a) + 500, self.z * np.float32(1 / b)
            i, j = np.floor(across), np.floor(along)
            stone = ((i * np.float32(7.13) + j * np.float32(3.71)) % 1 - 0.5) * spread
            joint = ((across - i < 0.07) | (along - j < 0.09)) * np.float32(-24)
            body = 0.7 * body + (stone + joint) * np.clip(1.4 - self.z / 18, 0, 1)
        return cv2.merge([body, body, body])


class Painter:
    """Paints one scene onto `canvas`, (H, W, 3) uint8 RGB."""

    def __init__(self, camera: Camera, light: Light, rng: np.random.Generator):
        self.camera, self.light, self.rng = camera, light, rng
        self.canvas = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.stencil = Stencil(camera.width, camera.height)
        self.ground = GroundMap(camera, rng)

    def paint(self, things: list[Thing]) -> np.ndarray:
        """Paint things in painter's order (sky and ground first). Returns the finished image."""
        lit = False
        for thing in things:
            if not lit and not isinstance(thing.look, (Sky, Ground)):
                self._light_ground(things)
                lit = True
            mask, rows, columns = self.stencil.cut(thing.polygon)
            if not mask.any():
                continue
            patch = self.canvas[rows, columns]
            paint = _PAINTERS[type(thing.look)]
            cv2.copyTo(paint(self, thing.look, patch, rows, columns), mask, patch)
        return develop(self.canvas, self.light, self.rng)

    def _sky(self, look: Sky, patch: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        light, whole = self.light, patch.shape[1::-1]
        h, w = (max(2, n // 2) for n in patch.shape[:2])  # half the size is enough: the sky has no sharp edges
        climb = np.linspace(1, 0, h, dtype=np.float32)[:, None] ** np.float32(0.8)  # 1 above, 0 at the horizon
        flat = self.camera.height / 512
        noise = 0.75 * sample("cloud", self.rng, (h, w), (1.5 / flat, 0.7 / flat))
        noise += 0.25 * sample("stain", self.rng, (h, w), 1 / flat)
        cover = np.clip((noise + 3.2 * (light.clouds - 0.5)) / 1.1, 0, min(1.0, 0.3 + light.clouds * 1.6))
        glare: np.float32 | np.ndarray = np.float32(0)
        if light.sun[2] > 0.2 and light.direct.max() > 0.3:  # the sun's glare
            spot = self.camera.project((light.sun * 100 + (0, self.camera.eye, 0))[None])[0] / 2
            y, x = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)[None]
            glare = np.exp(np.hypot(x - np.float32(spot[0]), y - np.float32(spot[1])) / (-0.08 * self.camera.width))
        bulge = np.clip(noise, -2, 2) * np.float32(-9 if light.clouds > 0.8 else 7)
        layers = []  # channel by channel, because broadcasting one channel to three is slow in numpy
        for low, high, cloud, tint in zip(light.low_sky, light.zenith, light.cloud_color, (90, 74, 40), strict=True):
            color = low + (high - low) * climb + glare * np.float32(tint)
            layers.append(color + (cloud + bulge - color) * cover)
        color = np.clip(cv2.merge(layers), 0, 255).astype(np.uint8)
        return cv2.resize(color, whole, interpolation=cv2.INTER_LINEAR)

    def _surface(self, look: Ground, patch: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """A ground surface in plain light. (Light and haze are applied to all the ground at once.)"""
        out = np.empty(patch.shape, np.uint8)
        out[:] = np.asarray(look.color).astype(np.uint8)
        start = max(rows.start, self.ground.top)  # the rows above show the horizon itself
        if start >= rows.stop:
            return out
        area = (slice(start - self.ground.top, rows.stop - self.ground.top), columns)
        body = out[start - rows.start :]
        corner = np.array([[columns.start, start]])
        for outline, color, cover in look.marks:
            points = fixed_point(np.clip(outline - corner, -9000, 9000))
            mixed = [cover * a + (1 - cover) * b for a, b in zip(color, look.color, strict=True)]
            cv2.fillPoly(body, [points], mixed, cv2.LINE_AA, 4)
        cv2.add(body, self.ground.tone(look.material)[area], body, dtype=cv2.CV_8U)
        return out

    def _light_ground(self, things: list[Thing]) -> None:
        """Apply sun, shadows and haze to all the ground."""
        light, g = self.light, self.ground
        near, cast = self._shadows(things)
        sun, seen = light.direct * max(0.0, float(light.sun[1])), 1 - light.fade(g.z)
        clear, reached = (1 - 0.5 * near) * seen, 1 - cast
        body = cv2.merge([clear * (a + b * reached) for a, b in zip(light.ambient * 1.05, sun, strict=True)])
        body *= self.canvas[g.top :]
        body += np.tile((1 - seen) * light.haze_color, self.camera.width).reshape(body.shape)
        self.canvas[g.top :] = np.clip(body, 0, 255, out=body).astype(np.uint8)

    def _shadows(self, things: list[Thing]) -> tuple[np.ndarray, np.ndarray]:
        """Two maps (rows of the ground, W), 0..1: the darkness directly under things, and the sun's shadows."""
        g, camera, light = self.ground, self.camera, self.light
        shape = (camera.height - g.top, camera.width)
        near, cast = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        reach = -light.sun[[0, 2]] / max(light.sun[1], 0.12)
        for thing in things:
            if thing.footprint is None:
                continue
            foot = thing.footprint
            if thing.label not in ("building", "vegetation"):
                self._shade(near, foot)
            if light.direct.max() > 0.2:
                trunk = foot if thing.label != "vegetation" else foot + 0.25 * thing.top * reach
                self._shade(cast, np.concatenate([trunk, foot + thing.top * reach]))
        scale = camera.height / 256
        near = cv2.GaussianBlur(near, (0, 0), 1.6 * scale)
        cast = cv2.GaussianBlur(cast, (0, 0), 0.8 * scale)
        return near * np.float32(1 / 255), cast * np.clip((0.9 + 0.1 * g.clump) / 255, 0, 1 / 255)

    def _shade(self, target: np.ndarray, spots: np.ndarray) -> None:
        """Fill the convex hull of ground points (x, z) in a shadow map."""
        hull = cv2.convexHull(spots.astype(np.float32))[:, 0].astype(np.float64)
        near = self.camera.near * 0.7
        kept = [] if hull[:, 1].min() < near else hull
        for a, b in (
            zip(np.roll(hull, 1, 0), hull, strict=True) if len(kept) == 0 else ()
        ):  # the part in front of the camera
            if (a[1] < near) != (b[1] < near):
                kept.append(a + (b - a) * (near - a[1]) / (b[1] - a[1]))
            if b[1] >= near:
                kept.append(b)
        if len(kept) < 3:
            return
        kept = np.array(kept)
        outline = self.camera.project(np.column_stack([kept[:, 0], 0 * kept[:, 0], kept[:, 1]]))
        outline = np.clip(outline - (0, self.ground.top), -8000, 8000)
        cv2.fillPoly(target, [fixed_point(outline)], 255, cv2.LINE_AA, 4)

    def _plane(self, look: Plane, patch: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        light, camera = self.light, self.camera
        flat = front(look, self.rng, light, (int(0.75 * camera.width), int(0.9 * camera.height)))
        h, w = flat.shape[:2]
        source = np.array([(0, h), (w, h), (w, 0), (0, 0)], np.float32) - 0.5
        target = (look.corners - (columns.start, rows.start)).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source, target)
        size = (patch.shape[1], patch.shape[0])
        warped = cv2.warpPerspective(flat, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        x = np.arange(columns.start, columns.stop, dtype=np.float32)
        t = np.clip((x - look.corners[0, 0]) / max(look.corners[1, 0] - look.corners[0, 0], 1), 0, 1)
        depth = 1 / ((1 - t) / look.depths[0] + t / look.depths[1])
        fade = light.fade(depth)[None, :, None]
        gain = np.append(light.on(look.normal), 1).astype(np.float32) * (1 - fade)
        gain[..., 3] = 1
        color = warped * gain  # one factor per column, because the depth is the same in a column
        color += np.append(light.haze_color, 0).astype(np.float32) * fade
        color = np.minimum(color, 255, out=color).astype(np.uint8)
        if color[..., 3].min() == 255:
            return cv2.cvtColor(color, cv2.COLOR_RGBA2RGB)
        cover = cv2.merge([color[..., 3]] * 3) * np.float32(1 / 255)
        return (patch + (color[..., :3] - patch.astype(np.float32)) * cover).astype(np.uint8)

    def _leaves(self, look: Leaves, patch: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        light, shape = self.light, patch.shape[:2]
        grain = float(np.clip(look.grain, 0.1, 3.0))
        clump = sample("leaf", self.rng, shape, grain)
        if grain < 0.5:  # near, or in a large image: single leaves are visible
            clump = 0.8 * clump + 0.6 * sample("leaf", self.rng, shape, 5 * grain)
        mass = sample("stain", self.rng, shape, 0.35 * grain)
        side = np.linspace(-1, 1, shape[1], dtype=np.float32)[None] * light.sun[0] * light.direct.mean()
        up = np.linspace(1, -1, shape[0], dtype=np.float32)[:, None]
        tone = 1 + 0.26 * clump + 0.16 * mass + 0.2 * up + 0.22 * side
        tone, fade = np.clip(tone, 0.25, 2), float(light.fade(look.depth))
        lit = light.on(None) * look.color * (1 - fade)
        hues: tuple[Any, ...] = (1 + 0.02 * clump, 1, 0.9 - 0.03 * clump)  # sunlit leaves are yellower
        color = cv2.merge([tone * (a * np.float32(b)) for a, b in zip(hues, lit, strict=True)])
        cv2.add(color, (*(fade * light.haze_color).tolist(), 0.0), color)
        if look.gaps > 0.005:
            y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
            x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None]
            rim = np.clip(np.hypot(x, y) - 0.5, 0, 0.7)
            limit = 16 * look.gaps - 3.4 + rim * 1.6
            cv2.copyTo(patch.astype(np.float32), (clump < limit).astype(np.uint8), color)
        return np.clip(color, 0, 255).astype(np.uint8)

    def _parts(self, look: Parts, patch: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        light, out = self.light, patch.copy()
        offset = np.array([columns.start, rows.start], np.int32)
        parts = [part for part in look.parts if part.color is not None]
        colors = light.on_parts(parts).tolist()
        for part, color in zip(parts, colors, strict=True):
            fill(out, part, color, offset, smooth=True)
        return out


_PAINTERS: dict[type, Callable[..., np.ndarray]] = {
    Sky: Painter._sky,
    Ground: Painter._surface,
    Plane: Painter._plane,
    Leaves: Painter._leaves,
    Parts: Painter._parts,
}


def develop(canvas: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Add the camera's effects: blur, exposure, vignette and noise. Input and output are (H, W, 3) uint8."""
    h, w = canvas.shape[:2]
    scale = np.sqrt(h / 256)
    soft = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.35, 0.65) * scale).astype(np.float32)
    y, x = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)[None]
    vignette = 1 - rng.uniform(0, 0.16) * (x * x + y * y)
    soft *= cv2.merge([vignette * gain for gain in light.exposure])
    soft += cv2.merge([sample("white", rng, (h, w)) for _ in range(3)]) * np.float32(light.noise)
    return np.clip(soft, 0, 255, out=soft).astype(np.uint8)


def visible(things: list[Thing], size: tuple[int, int], least: int) -> Iterator[Thing]:
    """Sky, ground, and the things with at least `least` visible pixels, in order. `size`: image height and width.

    All ground is kept, so that the pixels of a removed thing still have a label.
    """
    owner = Image.new("I", (size[1], size[0]), 0)
    draw = ImageDraw.Draw(owner)
    for i, thing in enumerate(things):
        draw.polygon(thing.polygon.ravel().tolist(), fill=i)
    counts = np.bincount(np.asarray(owner).ravel(), minlength=len(things))
    return (
        thing
        for thing, count in zip(things, counts, strict=True)
        if count >= least or isinstance(thing.look, (Sky, Ground))
    )
