"""The plan of a street: its cross-section and its ground surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .camera import FAR, Camera
from .shapes import Color
from .textures import jitter, pick
from .things import Ground, Thing

_ASPHALT = [
    (92, 92, 94), (112, 112, 112), (132, 130, 126), (80, 82, 88), (120, 112, 102), (104, 100, 104), (154, 150, 144),
    (62, 63, 66), (128, 108, 98),
]  # fmt: skip
_PAVING = [
    (134, 130, 126),
    (150, 146, 138),
    (112, 112, 114),
    (140, 124, 114),
    (100, 98, 96),
    (158, 140, 124),
    (96, 92, 88),
    (146, 112, 98),
]
_GRASS = [
    (84, 104, 52),
    (104, 118, 62),
    (124, 124, 72),
    (70, 92, 48),
    (138, 126, 84),
    (96, 102, 60),
    (150, 138, 108),
    (112, 104, 88),
]
_PAINT: Color = (218, 218, 212)


@dataclass(frozen=True)
class Side:
    """One side of a street. `sign`: -1 left, 1 right. `style`: city, suburb, park or works.

    `strips`: (label, material, colour, inner s, outer s), from the road outwards. `walk`: the s at which people walk.
    `kerb`: the s of the road's edge. `line`: the s at which gardens end and buildings begin. `front`: the s at which
    the last strip of public ground ends (a wall or a fence may be there).
    """

    sign: int
    style: str
    strips: tuple[tuple[str, str, Color, float, float], ...]
    kerb: float
    walk: float
    front: float
    line: float
    parking: bool


@dataclass(frozen=True)
class Street:
    """A street: its road from s = `left` to `right`, `lanes` as (s, direction), two sides, and maybe a crossing (z0,
    z1)."""

    left: float
    right: float
    lanes: tuple[tuple[float, int], ...]
    sides: tuple[Side, Side]
    crossing: tuple[float, float] | None
    asphalt: Color
    rails: bool


def _plan_side(rng: np.random.Generator, sign: int, kerb: float, paving: Color, grass: Color) -> Side:
    style = pick(rng, ["city", "suburb", "park", "works"], [4, 3, 1.6, 1.6])
    strips, edge = [], kerb

    def add(label, material, color, width):
        nonlocal edge
        strips.append((label, material, color, edge, edge + sign * width))
        edge += sign * width

    parking = bool(rng.random() < 0.28)
    if parking:
        add(
            "parking",
            pick(rng, ["asphalt", "cobble", "slabs"]),
            jitter(rng, pick(rng, _PAVING), 8),
            rng.uniform(2.1, 2.5),
        )
    if rng.random() < 0.3:
        add("terrain", "grass", grass, rng.uniform(1.0, 2.6))
    start = edge
    if style in ("city", "suburb") or rng.random() < 0.75:
        add(
            "sidewalk",
            pick(rng, ["slabs", "slabs", "asphalt", "cobble"]),
            paving,
            rng.uniform(1.7, 3.0) if style != "city" else rng.uniform(2.2, 4.8),
        )
    walk, front = (start + edge) / 2, edge
    if style == "suburb":
        add("terrain", "grass", jitter(rng, grass, 5), rng.uniform(1.5, 6.0))
    elif style == "park":
        add("terrain", "grass", jitter(rng, grass, 5), rng.uniform(12, 25))
    elif style == "works":
        ground = pick(rng, [("terrain", "grass", jitter(rng, grass, 5)), ("sidewalk", "asphalt", paving)])
        label, material, tone = ground
        add(label, material, tone, rng.uniform(0.5, 8))
    return Side(sign, style, tuple(strips), kerb, walk, front, edge, parking)


def plan_street(rng: np.random.Generator) -> Street:
    """Draw a street of two to four lanes. The styles of its two sides are independent."""
    width = rng.uniform(2.9, 3.6)
    ahead, back = int(rng.choice([1, 1, 2])), int(rng.choice([1, 1, 1, 2]))
    left, right = -back * width, ahead * width
    if rng.random() < 0.12:  # one-way
        left, back = -0.5 * width, 0
    lanes = [(width * (i + 0.5), 1) for i in range(ahead)] + [(-width * (i + 0.5), -1) for i in range(back)]
    paving, grass = jitter(rng, pick(rng, _PAVING), 10), jitter(rng, pick(rng, _GRASS), 8)
    near = rng.uniform(12, 40)
    return Street(
        left=left,
        right=right,
        lanes=tuple(lanes),
        sides=(_plan_side(rng, -1, left, paving, grass), _plan_side(rng, 1, right, paving, grass)),
        crossing=(near, near + rng.uniform(6, 11)) if rng.random() < 0.35 else None,
        asphalt=jitter(rng, pick(rng, _ASPHALT), 9),
        rails=bool(rng.random() < 0.2),
    )


def _road_marks(rng: np.random.Generator, camera: Camera, street: Street) -> list:
    """Lane lines, zebra crossings, rails, patches and manholes."""
    marks, far = [], 90.0

    def mark(s0, s1, z0, z1, color=_PAINT, cover=0.8, samples=2):
        if z1 > camera.near:
            marks.append((camera.strip(s0, s1, max(z0, 0.8 * camera.near), z1, samples), color, cover))

    def patch(color, cover):
        s, z = rng.uniform(street.left, street.right), rng.uniform(camera.near, 30)
        mark(s, s + rng.uniform(0.5, 2.5), z, z + rng.uniform(1, 12), color, cover)

    for _ in range(rng.integers(0, 4)):
        patch(np.multiply(street.asphalt, rng.uniform(0.72, 1.2)), 0.7)
    cover, offset = rng.uniform(0.45, 0.95), rng.uniform(0, 6)
    width = street.right / max(1, sum(d > 0 for _, d in street.lanes))
    edges = np.arange(street.left + width, street.right - 0.5 * width, width)
    if rng.random() < 0.85:
        for s in edges:
            if abs(s) < 0.1 and rng.random() < 0.3:
                mark(s - 0.07, s + 0.07, 0, far, cover=cover, samples=20)
                continue
            dash, gap = pick(rng, [(3.0, 6.0), (3.0, 3.0), (6.0, 6.0)])
            for z in np.arange(offset % (dash + gap), 60, dash + gap):
                mark(s - 0.08, s + 0.08, z, z + dash, cover=cover)
    if rng.random() < 0.35:
        for s in (street.left + 0.25, street.right - 0.4):
            mark(s, s + 0.14, 0, far, cover=cover, samples=20)
    if street.rails:
        lane = min(street.lanes, key=lambda item: item[0])[0]
        for s in (lane - 0.75, lane + 0.65):
            mark(s, s + 0.12, 0, far, (66, 64, 64), 0.9, 20)
            mark(s + 0.03, s + 0.08, 0, far, (150, 150, 150), 0.9, 20)
    zebra = street.crossing[0] - 3.5 if street.crossing else rng.uniform(8, 30)
    if rng.random() < (0.6 if street.crossing else 0.15):
        for s in np.arange(street.left + 0.4, street.right - 0.5, 1.0):
            mark(s, s + 0.5, zebra, zebra + 3.0, cover=cover)
        mark(0, street.right, zebra - 1.8, zebra - 1.4, cover=cover)
    for _ in range(rng.integers(0, 3)):
        s, z = rng.uniform(street.left + 0.5, street.right - 0.5), rng.uniform(camera.near + 1, 25)
        mark(s - 0.33, s + 0.33, z - 0.33, z + 0.33, (70, 66, 62), 0.8)
    return marks


def lay_ground(rng: np.random.Generator, camera: Camera, street: Street) -> list[Thing]:
    """The ground as things in painter's order: the lowest layer first, the road last."""
    things: list[Thing] = []

    def add(label, outline, look):
        polygon = camera.clip(outline)
        if polygon is not None:
            things.append(Thing(label, polygon, 1e6 - len(things), look))

    width, height = camera.width, camera.height
    for side in street.sides:  # the land beyond the street, for each half of the image
        x = camera.project(np.array([[camera.across(0, FAR), 0, FAR]]))[0, 0]
        edge, inner = (-5, width + 5) if side.sign < 0 else (width + 5, width / 2)  # the first one fills the width
        label, material, color = side.strips[-1][:3] if side.strips else ("terrain", "grass", pick(rng, _GRASS))
        if label == "parking":
            label, material = "sidewalk", "slabs"
        x, top = (inner, camera.horizon - 1) if side.sign < 0 else (x, camera.horizon - 1)
        outline = np.array([(edge, top), (x, top), (inner, height + 5), (edge, height + 5)])
        add(label, outline, Ground(material, color))
    for side in street.sides:
        for label, material, color, inner, outer in reversed(side.strips):
            fray = rng if label == "terrain" else None
            low, high = sorted((inner, outer))
            look = Ground(material, color)
            if label == "sidewalk":  # the curb: a stone edge, and its dark face towards the road
                for broad, shade in ((0.17, 1.22), (0.05, 0.6)):
                    low_c, high_c = sorted((inner, inner + side.sign * broad))
                    tone = tuple(min(240.0, shade * c) for c in color)
                    look.marks.append((camera.strip(low_c, high_c, 0, 40), tone, 0.9))
            add(label, camera.strip(low, high, 0, FAR, rough=fray), look)
    road = Ground("asphalt" if rng.random() < 0.92 else "cobble", street.asphalt)
    if street.crossing:
        for side in street.sides:
            low, high = sorted((side.kerb - side.sign * 0.3, side.kerb + side.sign * 70))
            add("road", camera.strip(low, high, *street.crossing, samples=4), Ground(road.material, road.color))
    road.marks = _road_marks(rng, camera, street)
    add("road", camera.strip(street.left, street.right, 0, FAR), road)
    return things
