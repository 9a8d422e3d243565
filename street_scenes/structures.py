"""Buildings, walls, fences and the far end of the street."""

from __future__ import annotations

import numpy as np

from .camera import FAR, Camera
from .shapes import Color, Model
from .street import Side, Street
from .textures import jitter, pick
from .things import Leaves, Thing, from_model, upright

_FRONTS: dict[str, list[Color]] = {
    "brick": [(138, 76, 60), (156, 98, 74), (112, 70, 62), (170, 130, 104)],
    "plaster": [
        (206, 192, 160), (222, 216, 204), (180, 150, 116), (196, 170, 160), (160, 172, 176), (168, 176, 150),
        (226, 200, 140),
    ],
    "concrete": [(140, 140, 138), (164, 160, 152), (116, 118, 122), (150, 140, 128)],
    "glass": [(92, 116, 140), (110, 130, 136), (70, 88, 108), (120, 144, 160)],
    "works": [(150, 154, 158), (120, 130, 142), (176, 170, 156), (110, 122, 110), (156, 120, 100)],
}  # fmt: skip
_MIX = {"city": [3, 4, 2, 1.4, 0], "suburb": [2, 5, 0.4, 0, 0], "park": [1, 2, 1, 1, 0], "works": [1, 0, 1.4, 0.7, 4]}
_ROOFS = [(112, 62, 50), (132, 84, 66), (78, 78, 82), (94, 88, 84), (60, 62, 68)]


def _at(camera: Camera, s: float, z: float) -> tuple[float, float]:
    return float(camera.across(s, z)), z


def _building(rng, camera: Camera, side: Side, z0: float, z1: float, setback: float) -> list[Thing]:
    """One building between depths z0 and z1: its near gable, its street front and, if pitched, its roof."""
    kinds = list(_FRONTS)
    kind = pick(rng, kinds, _MIX[side.style])
    color = jitter(rng, pick(rng, _FRONTS[kind]), 12)
    s = side.line + side.sign * setback
    floors = rng.integers(2, 4) if side.style == "suburb" else rng.integers(3, 7)
    height = 3.1 * floors + rng.uniform(0.2, 1.0) if kind != "works" else rng.uniform(5, 10)
    deep, order = rng.uniform(8, 13), z1 + 7.0
    shop = ":shop" if side.style == "city" and kind != "glass" and rng.random() < 0.5 else ""
    if side.style == "suburb":
        shop = ":house"
    near, far = _at(camera, s, z0), _at(camera, s, z1)
    back = _at(camera, s + side.sign * deep, z0)
    pitched = kind in ("brick", "plaster") and rng.random() < (0.95 if side.style == "suburb" else 0.5)
    things = []
    if pitched:  # the roof slopes back: its ridge is farther from the street than its eaves
        things += _roof(rng, camera, side, (s, z0, z1, deep, height), color, order + 0.2)
    things += upright(camera, "building", (near, back), (0, height), f"{kind}:gable", color, order + 0.1)
    things += upright(camera, "building", (near, far), (0, height), kind + shop, color, order)
    for thing in things:
        thing.footprint = None
    if things:  # one shadow for the whole
        things[-1].footprint = np.array([near, far, _at(camera, s + side.sign * deep, z1), back])
        things[-1].top = height
    return things


def _roof(rng, camera: Camera, side: Side, place, wall: Color, order: float) -> list[Thing]:
    """A pitched roof: its slope towards the street, and the gable's triangle in the colour of the wall."""
    s, z0, z1, deep, height = place
    rise, color = rng.uniform(0.3, 0.45) * deep, jitter(rng, pick(rng, _ROOFS), 8)
    z0 = max(z0, 0.7 * camera.near)
    if z1 <= z0 + 1:
        return []
    things = []
    x0, x1 = camera.across(s, z0), camera.across(s, z1)
    ridge = side.sign * deep / 2
    eave = 0.4 * side.sign
    slope = [
        (x0 - eave, height - 0.1, z0),
        (x1 - eave, height - 0.1, z1),
        (x1 + ridge, height + rise, z1),
        (x0 + ridge, height + rise, z0),
    ]
    gable = [(x0, height, z0), (x0 + 2 * ridge, height, z0), (x0 + ridge, height + rise, z0)]
    model = Model(camera, 0, 1.0)
    model.place[:] = 0
    model.face(gable, jitter(rng, wall, 5))
    model.face(slope, color)
    corners, dark = np.array(slope), tuple(0.8 * c for c in color)
    for v in np.linspace(0.15, 0.9, 5):  # courses of tiles
        ends = corners[:2] + v * (corners[[3, 2]] - corners[:2])
        model.wire(ends, 0.0, dark)
    for thing in from_model("building", model):
        thing.order = order
        things.append(thing)
    return things


def buildings(rng: np.random.Generator, camera: Camera, street: Street, side: Side) -> list[Thing]:
    """The buildings of one side of the street, near to far."""
    things: list[Thing] = []
    z = -rng.uniform(0, 8)
    gaps = {"city": 0.12, "suburb": 0.9, "park": 0.75, "works": 0.6}[side.style]
    if side.style == "park" and rng.random() < 0.5:
        return things
    while z < 75:
        length = rng.uniform(8, 16) if side.style != "works" else rng.uniform(14, 30)
        if street.crossing and z < street.crossing[1] + 3 and z + length > street.crossing[0] - 3:
            if street.crossing[0] - 3 - z > 5:
                things += _building(rng, camera, side, z, street.crossing[0] - 3, 0.0)
            z = street.crossing[1] + 3
            continue
        if z + length > camera.near:
            setback = rng.uniform(0, 3) if side.style in ("suburb", "works") else rng.choice([0, 0, 0.6])
            things += _building(rng, camera, side, z, z + length, setback)
        z += length
        if rng.random() < gaps:
            z += rng.uniform(3, 9) if side.style != "park" else rng.uniform(10, 30)
    return things


_BARRIERS = {
    "wall": ["brickwall", "plasterwall", "stonewall", "concretewall"],
    "fence": ["pickets", "bars", "mesh", "boards", "rails"],
    "guard rail": ["guard"],
}
_TONES: dict[str, list[Color]] = {
    "brickwall": _FRONTS["brick"],
    "plasterwall": _FRONTS["plaster"],
    "stonewall": [(130, 124, 114), (112, 108, 104), (150, 138, 118)],
    "concretewall": _FRONTS["concrete"],
    "pickets": [(226, 224, 218), (130, 98, 68), (96, 84, 72)],
    "bars": [(40, 42, 44), (70, 90, 76), (96, 98, 102)],
    "mesh": [(110, 116, 116), (70, 96, 78)],
    "boards": [(136, 104, 74), (112, 92, 76), (160, 140, 112)],
    "rails": [(150, 154, 156), (200, 60, 50), (90, 92, 96)],
    "guard": [(160, 164, 166)],
}


def barrier(rng, camera: Camera, label: str, s: float, z0: float, z1: float, gate=None) -> list[Thing]:
    """A wall or a fence along the road at the lateral position s, from z0 to z1; `gate`: depths (z, z) of an
    opening."""
    kind = pick(rng, _BARRIERS[label])
    color = jitter(rng, pick(rng, _TONES[kind]), 9)
    height = rng.uniform(1.0, 2.6) if label == "wall" else rng.uniform(1.0, 1.9) if label == "fence" else 0.8
    things, z = [], z0
    while z < z1 - 0.5:
        end = min(z + (5.0 if z < 40 else 12.0), z1)
        if gate is None or end < gate[0] or z > gate[1]:
            things += upright(camera, label, (_at(camera, s, z), _at(camera, s, end)), (0, height), kind, color)
        z = end
    return things


def backdrop(rng: np.random.Generator, camera: Camera) -> list[Thing]:
    """The background at the end of the street: distant buildings and trees, side by side."""
    reach = FAR * max(camera.centre, camera.width - camera.centre) / camera.focal + 8
    things, x = [], -reach - rng.uniform(0, 15)
    wooded = rng.random() < 0.45
    while x < reach:
        z, width = FAR - rng.uniform(0, 25), rng.uniform(10, 26)
        if rng.random() < (0.75 if wooded else 0.3):
            high, top = rng.uniform(4, 11), []
            for t in np.linspace(0, 1, 14):
                top.append((x + t * (width + 3), high * (0.45 + 0.55 * np.sin(np.pi * t)) * rng.uniform(0.85, 1.1), z))
            outline = camera.project(np.array([(x + width + 3, 0, z), (x, 0, z), *top]))
            outline[:2, 1] += 1.5
            polygon = camera.clip(outline)
            if polygon is not None:
                color = jitter(rng, (84, 98, 62), 14)
                things.append(Thing("vegetation", polygon, z, Leaves(color, 0.8, 0.0, z)))
        else:
            kind = pick(rng, ["plaster", "concrete", "brick", "glass"])
            color = jitter(rng, pick(rng, _FRONTS[kind]), 10)
            things += upright(camera, "building", ((x, z), (x + width, z)), (-0.8, rng.uniform(5, 16)), kind, color)
        x += width * rng.uniform(0.8, 1.0)
    return things
