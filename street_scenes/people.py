"""Pedestrians, riders, bicycles and motorcycles."""

from __future__ import annotations

import numpy as np

from .shapes import Color, Model
from .textures import jitter, pick

_SKIN = [(226, 180, 152), (206, 160, 130), (160, 112, 84), (104, 72, 54), (236, 200, 176)]
_HAIR = [(34, 28, 24), (82, 58, 38), (150, 116, 70), (150, 148, 144), (60, 42, 32)]
_CLOTHES = [
    (40, 42, 48), (72, 74, 80), (46, 58, 92), (150, 40, 44), (196, 190, 178), (232, 230, 226), (92, 110, 80),
    (120, 150, 184), (206, 160, 60), (124, 84, 60), (96, 60, 100), (60, 110, 110), (210, 110, 140), (140, 142, 146),
]  # fmt: skip
_TROUSERS = [(40, 44, 56), (58, 72, 104), (30, 30, 32), (120, 108, 90), (92, 94, 98), (150, 140, 124)]
_TYRE = (26, 26, 28)


def _mirror(side: int, point) -> tuple[float, float, float]:
    return side * point[0], point[1], point[2]


def _head(
    model: Model, rng: np.random.Generator, at, skin: Color, helmet: Color | None = None, full: bool = False
) -> None:
    """Add a head with its chin at `at` (3,), and a helmet if its colour is given; a `full` helmet covers the neck."""
    x, y, z = at
    model.blob([(x, y - 0.05, z - 0.02), (x, y + 0.03, z)], [0.055, 0.06], skin)
    model.blob([(x, y + 0.06, z + 0.02), (x, y + 0.14, z + 0.02)], [0.085, 0.1], skin)
    if helmet is None:
        model.blob(
            [(x, y + 0.17, z - 0.035), (x, y + 0.11, z - 0.05)], [0.105, 0.095], jitter(rng, pick(rng, _HAIR), 6)
        )
    elif full:
        model.blob([(x, y + 0.08, z - 0.03), (x, y + 0.15, z - 0.02)], [0.13, 0.145], helmet)
        model.blob([(x - 0.06, y + 0.1, z + 0.1), (x + 0.06, y + 0.1, z + 0.1)], [0.05, 0.05], (26, 28, 32))
    else:
        model.blob([(x, y + 0.17, z - 0.06), (x, y + 0.18, z + 0.06)], [0.12, 0.11], helmet)


def pedestrian(model: Model, rng: np.random.Generator) -> tuple[float, float, float]:
    """Add a standing or walking person of 1.75 m (set the model's scale for others); returns width, height, length."""
    skin, top = jitter(rng, pick(rng, _SKIN), 8), jitter(rng, pick(rng, _CLOTHES), 10)
    legs = jitter(rng, pick(rng, _TROUSERS), 8)
    stride = rng.uniform(0.12, 0.36) * rng.choice([-1, 1]) if rng.random() < 0.8 else 0.04
    spread = 0.085 if stride > 0.05 else rng.uniform(0.09, 0.14)
    for side in (-1, 1):
        swing = side * stride
        knee = (spread, 0.5, 0.55 * swing + 0.05 * (swing < 0))
        ankle = (spread, 0.09 + 0.1 * max(0, -swing), swing - 0.04)
        model.blob([_mirror(side, (0.085, 0.9, 0)), _mirror(side, knee)], [0.095, 0.068], legs)
        model.blob([_mirror(side, knee), _mirror(side, ankle)], [0.068, 0.048], legs)
        toe = (ankle[0], 0.04, ankle[2] + 0.14)
        model.blob([_mirror(side, (ankle[0], 0.05, ankle[2])), _mirror(side, toe)], [0.05, 0.04], (34, 32, 32))
        elbow, hand = (0.26, 1.16, -0.35 * swing - 0.03), (0.25, 0.93, -0.75 * swing + 0.08)
        model.blob([_mirror(side, (0.2, 1.41, 0)), _mirror(side, elbow)], [0.062, 0.05], top)
        model.blob([_mirror(side, elbow), _mirror(side, hand)], [0.05, 0.036], top)
        model.blob([_mirror(side, (hand[0], hand[1] - 0.05, hand[2]))], [0.045], skin)
    model.blob([(-0.15, 1.4, 0), (0.15, 1.4, 0), (-0.1, 0.92, 0), (0.1, 0.92, 0)], [0.085, 0.085, 0.09, 0.09], top)
    extra = rng.random()
    if extra < 0.22:  # a skirt or a long coat
        cloth = top if rng.random() < 0.6 else jitter(rng, pick(rng, _CLOTHES), 8)
        low = rng.uniform(0.45, 0.65)
        model.blob(
            [(-0.1, 0.95, 0), (0.1, 0.95, 0), (-0.16, low, 0.01), (0.16, low, 0.01)], [0.09, 0.09, 0.06, 0.06], cloth
        )
    elif extra < 0.45:  # a backpack
        model.blob(
            [(-0.08, 1.32, -0.17), (0.08, 1.32, -0.17), (0, 1.05, -0.18)],
            [0.1, 0.1, 0.13],
            jitter(rng, pick(rng, _CLOTHES), 8),
        )
    elif extra < 0.6:  # a bag in one hand
        model.blob([(0.28, 0.8, 0.05), (0.28, 0.62, 0.05)], [0.06, 0.12], jitter(rng, pick(rng, _CLOTHES), 8))
    _head(model, rng, (0, 1.5, 0), skin)
    model.sort()
    return 0.55, 1.78, 0.5


def bicycle(model: Model, rng: np.random.Generator) -> tuple[float, float, float]:
    """Add a bicycle with see-through wheels and frame; returns width, height and length."""
    paint = jitter(
        rng, pick(rng, [(30, 30, 32), (170, 40, 40), (50, 80, 140), (220, 220, 216), (70, 110, 80), (150, 152, 156)]), 8
    )
    radius, angle = 0.34, np.linspace(0, 2 * np.pi, 19)
    back, front = np.array([0, radius, -0.52]), np.array([0, radius, 0.54])
    saddle, crank, head = (0, 0.9, -0.2), (0, 0.3, -0.06), (0, 0.86, 0.36)
    for hub in (back, front):
        model.disc(hub, radius, None)
    model.face([crank, saddle, head], None)
    for hub in (back, front):
        rim = np.stack([0 * angle, radius * np.sin(angle), radius * np.cos(angle)], 1) + hub
        model.wire(rim, 0.05, _TYRE)
        if model.pixels(radius) > 14:
            for turn in np.arange(0, np.pi, np.pi / 4):
                spoke = radius * np.array([0, np.sin(turn), np.cos(turn)])
                model.wire([hub - spoke, hub + spoke], 0.008, (120, 122, 124))
    for line in ([back, crank, head, saddle, back], [crank, saddle], [head, front]):
        model.wire(line, 0.045, paint)
    model.wire([saddle, (0, 0.97, -0.23)], 0.04, (40, 40, 42))
    model.blob([(0, 0.98, -0.33), (0, 0.99, -0.12)], [0.06, 0.035], (26, 25, 25))
    model.wire([head, (0, 1.02, 0.33)], 0.04, (60, 60, 62))
    model.wire([(-0.29, 1.03, 0.26), (0, 1.04, 0.35), (0.29, 1.03, 0.26)], 0.04, (40, 40, 42))
    model.wire([(0, 0.72, -0.62), (0, 0.72, -0.3)], 0.05, (40, 40, 42))
    model.blob([(0, 0.66, -0.86)], [0.035], (180, 20, 20))
    if rng.random() < 0.35:  # a basket
        model.face([(-0.16, 0.8, 0.62), (0.16, 0.8, 0.62), (0.2, 1.02, 0.66), (-0.2, 1.02, 0.66)], (120, 96, 66))
    return 0.5, 1.05, 1.75


def motorcycle(model: Model, rng: np.random.Generator) -> tuple[float, float, float]:
    """Add a motorcycle or a scooter; returns width, height and length."""
    paint = jitter(
        rng, pick(rng, [(170, 30, 32), (30, 30, 34), (40, 70, 140), (220, 220, 220), (230, 140, 40), (90, 120, 90)]), 8
    )
    scooter = rng.random() < 0.35
    radius = 0.24 if scooter else 0.31
    for z in (-0.66, 0.7):
        model.blob([(0, radius, z)], [radius], None)
        for x in (-0.06, 0.06):
            model.disc((x, radius, z), radius, _TYRE)
        model.face([(-0.07, 0, z), (0.07, 0, z), (0.07, 2 * radius, z), (-0.07, 2 * radius, z)], _TYRE)
        model.disc((0, radius, z), radius * 0.5, (140, 142, 146))
    dark = (36, 36, 40)
    model.blob([(0, 0.42, -0.2), (0, 0.42, 0.25)], [0.17, 0.15], dark if not scooter else paint)
    model.blob([(0, 0.5, -0.6), (0, 0.72, -0.75), (0, 0.74, -0.3)], [0.09, 0.09, 0.12], paint)
    if scooter:
        model.blob([(0, 0.4, 0.5), (0, 0.95, 0.42)], [0.18, 0.17], paint)
        model.blob([(0, 0.25, 0.35), (0, 0.25, -0.3)], [0.14, 0.14], dark)
    else:
        model.blob([(0, 0.8, 0.26), (0, 0.74, -0.08)], [0.16, 0.12], paint)
        model.blob([(0, 0.3, 0.0), (0, 0.28, -0.75)], [0.06, 0.07], (150, 150, 152))
        model.blob([(0, 0.64, 0.62), (0, 0.6, 0.86)], [0.07, 0.05], paint)
    model.blob([(0, 0.8, -0.12), (0, 0.82, -0.66)], [0.09, 0.1], (26, 25, 25))
    model.blob([(0, 0.32, 0.7), (0, 0.98, 0.42)], [0.05, 0.05], (120, 122, 124))
    model.blob([(-0.12, 0.9, 0.5), (0.12, 0.9, 0.5), (0, 1.12, 0.42)], [0.09, 0.09, 0.07], paint)
    model.wire([(-0.36, 1.04, 0.3), (0.36, 1.04, 0.3)], 0.06, (30, 30, 30))
    model.blob([(0, 0.9, 0.62)], [0.09], (250, 246, 226), bool(rng.random() < 0.6))
    model.blob([(0, 0.76, -0.86)], [0.06], (210, 20, 20), bool(rng.random() < 0.4))
    model.sort()
    return 0.75, 1.15, 2.0


def rider(model: Model, rng: np.random.Generator, motor: bool) -> tuple[float, float, float]:
    """Add the human on a bicycle or, if `motor`, on a motorcycle; returns width, height and length."""
    skin, top = jitter(rng, pick(rng, _SKIN), 8), jitter(rng, pick(rng, _CLOTHES), 10)
    legs = jitter(rng, pick(rng, _TROUSERS), 8)
    phase = rng.uniform(0, 2 * np.pi)
    hip, chest, hands = (0.0, 0.98, -0.22), (0.0, 1.43, 0.04), (0.27, 1.04, 0.27)
    if motor:
        hip, chest, hands = (0.0, 0.88, -0.3), (0.0, 1.35, -0.1), (0.33, 1.05, 0.28)
    for side in (-1, 1):
        turn = phase + (np.pi if side > 0 else 0)
        foot = (0.11, 0.3 + 0.16 * np.sin(turn), -0.03 + 0.16 * np.cos(turn))
        knee = (0.12, 0.5 * (hip[1] + foot[1]) + 0.06, 0.5 * (hip[2] + foot[2]) + 0.26)
        if motor:
            foot, knee = (0.2, 0.3, -0.12), (0.25, 0.66, 0.12)
        model.blob([_mirror(side, (0.09, hip[1], hip[2])), _mirror(side, knee)], [0.1, 0.075], legs)
        model.blob([_mirror(side, knee), _mirror(side, foot)], [0.07, 0.05], legs)
        model.blob(
            [_mirror(side, foot), _mirror(side, (foot[0], foot[1] - 0.03, foot[2] + 0.13))], [0.05, 0.04], (34, 32, 32)
        )
        elbow = (0.3, 0.5 * (chest[1] + hands[1]) - 0.04, 0.5 * (chest[2] + hands[2]) - 0.02)
        model.blob([_mirror(side, (0.19, chest[1], chest[2])), _mirror(side, elbow)], [0.065, 0.052], top)
        model.blob([_mirror(side, elbow), _mirror(side, hands)], [0.052, 0.04], top)
    x, y, z = chest
    spine = [(-0.15, y, z), (0.15, y, z), (-0.11, hip[1], hip[2]), (0.11, hip[1], hip[2])]
    model.blob(spine, [0.09, 0.09, 0.11, 0.11], top)
    helmet = jitter(rng, pick(rng, [(220, 220, 220), (30, 30, 32), (180, 40, 40), (60, 90, 150), (220, 180, 50)]), 8)
    worn = motor or rng.random() < 0.6
    _head(model, rng, (0, y + 0.1, z + 0.06), skin, helmet if worn else None, full=motor)
    model.sort()
    return 0.6, y + 0.4, 0.8
