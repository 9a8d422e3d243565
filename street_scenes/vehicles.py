"""Cars, trucks, buses and trams, as tapered boxes with windows, lamps and wheels."""

from __future__ import annotations

import numpy as np

from .shapes import Color, Model
from .textures import jitter, pick

# Most of these colours also occur on roads, houses and in the sky.
_PAINTS = [
    (228, 228, 226), (172, 174, 178), (118, 120, 124), (58, 60, 64), (28, 28, 30), (40, 56, 96), (150, 32, 34),
    (188, 178, 156), (96, 78, 64), (62, 84, 70), (120, 154, 190), (176, 96, 52), (206, 180, 60), (96, 116, 140),
]  # fmt: skip
_WEIGHTS = [4, 4, 3, 3, 3, 2, 2, 1, 1, 1, 1, 0.6, 0.4, 1]
_GLASS, _TYRE, _DARK = (46, 54, 62), (24, 24, 26), (30, 31, 33)
_RED, _WHITE, _PLATE = (176, 22, 22), (246, 242, 226), (226, 226, 220)

# length, width, height, bonnet, boot, ground clearance (metres)
_BODIES = {
    "saloon": (4.6, 1.80, 1.43, 1.25, 0.80, 0.24),
    "hatchback": (4.0, 1.72, 1.48, 0.95, 0.10, 0.24),
    "estate": (4.7, 1.82, 1.47, 1.20, 0.08, 0.24),
    "suv": (4.5, 1.88, 1.70, 1.05, 0.10, 0.32),
    "van": (4.9, 1.92, 1.95, 0.70, 0.04, 0.28),
    "small": (3.5, 1.62, 1.50, 0.70, 0.06, 0.22),
}


def _treads(model: Model, width: float, spots, radius: float) -> None:
    """Add the wheels at z = `spots` as seen under a vehicle from the front or rear."""
    for z in (min(spots), max(spots)):
        for side in (-1, 1):
            x0, x1 = side * (width / 2 - 0.24), side * (width / 2 - 0.02)
            model.face([(x0, 0, z), (x1, 0, z), (x1, radius, z), (x0, radius, z)], _TYRE)


def _wheels(model: Model, width: float, spots, radius: float, hub: Color = (134, 136, 140)) -> None:
    """Add the wheels at z = `spots` as seen from the side; call it after the body, which would hide their upper
    half."""
    for z in spots:
        for side in (-1, 1):
            model.disc((side * (width / 2 + 0.01), radius, z), radius, _TYRE, 0, (0, radius, z))
            model.disc((side * (width / 2 + 0.02), radius, z), radius * 0.6, hub, 0, (0, radius, z))


def car(model: Model, rng: np.random.Generator) -> tuple[float, float, float]:
    """Add a car's parts to `model`; returns its width, height and length in metres."""
    length, width, height, bonnet, boot, clear = _BODIES[pick(rng, list(_BODIES), [3, 3, 2, 2, 1.2, 1])]
    length, height = length * rng.uniform(0.95, 1.05), height * rng.uniform(0.97, 1.05)
    paint = jitter(rng, pick(rng, _PAINTS, _WEIGHTS), 7)
    glass = jitter(rng, _GLASS, 8)
    half, rear, front, belt = width / 2, -length / 2, length / 2, height * 0.6
    lit = bool(rng.random() < 0.3)
    trim = tuple(0.72 * x for x in paint)
    model.solid((half - 0.05, clear * 0.55, rear + 0.15, front - 0.15), (half, clear + 0.15, rear, front), _DARK)
    axles, radius = (rear + 0.19 * length, front - 0.19 * length), rng.uniform(0.30, 0.34)
    _treads(model, width, axles, radius)
    flank: list[tuple] = [((0, 0, 1, 0.16), trim), ((0.52, 0.1, 0.53, 1), trim), ((0.30, 0.1, 0.31, 1), trim)]
    panels = {
        "rear": [
            ((0.02, 0.5, 0.2, 0.9), (_RED if not lit else (250, 40, 30)), lit),
            ((0.8, 0.5, 0.98, 0.9), (_RED if not lit else (250, 40, 30)), lit),
            ((0.36, 0.42, 0.64, 0.62), _PLATE),
            ((0, 0, 1, 0.2), trim),
        ],
        "front": [
            ((0.03, 0.52, 0.24, 0.86), _WHITE, lit),
            ((0.76, 0.52, 0.97, 0.86), _WHITE, lit),
            ((0.3, 0.45, 0.7, 0.8), _DARK),
            ((0.37, 0.18, 0.63, 0.36), _PLATE),
            ((0.1, 0, 0.9, 0.14), _DARK),
        ],
        "left": flank,
        "right": flank,
    }
    model.solid((half, clear + 0.1, rear, front), (half - 0.05, belt, rear + 0.06, front - 0.10), paint, panels)
    _wheels(model, width, axles, radius)
    windows = [((0.06, 0.12, 0.47, 0.86), glass), ((0.52, 0.12, 0.94, 0.86), glass)]
    shine = tuple(0.5 * g + 0.5 * s for g, s in zip(glass, (150, 165, 180), strict=True))
    screen = [((0.06, 0.08, 0.94, 0.9), glass), ((0.06, 0.62, 0.94, 0.9), shine)]
    model.solid(
        (half - 0.06, belt, rear + max(boot, 0.07), front - bonnet + 0.25),
        (half - 0.24, height, rear + boot * 1.5 + 0.25, front - bonnet - 0.55),
        paint,
        {"left": windows, "right": windows, "front": screen, "rear": screen},
    )
    return width, height, length


def truck(model: Model, rng: np.random.Generator) -> tuple[float, float, float]:
    """Add a truck: a cab and a load area (box, flatbed with tarpaulin, tank-grey); returns width, height, length."""
    length, height = rng.uniform(6.0, 10.5), rng.uniform(2.9, 3.8)
    half, cab = rng.uniform(1.15, 1.25), rng.uniform(1.6, 2.1)
    paint = jitter(rng, pick(rng, _PAINTS), 10)
    load = jitter(
        rng, pick(rng, [(226, 226, 222), (190, 192, 194), (70, 92, 130), (150, 60, 50), (84, 104, 84), paint]), 8
    )
    dark, rear, front = _DARK, -length / 2, length / 2
    seam = tuple(0.82 * x for x in load)
    stripe = jitter(rng, pick(rng, _PAINTS), 10)
    model.solid((half - 0.1, 0.5, rear, front - 0.3), (half - 0.1, 0.95, rear, front - 0.3), dark)
    axles = (rear + 0.9, rear + 2.0, front - 0.9)
    _treads(model, 2 * half - 0.06, axles, 0.48)
    _wheels(model, 2 * half - 0.06, axles, 0.48, (110, 110, 112))
    nose = [
        ((0.06, 0.52, 0.94, 0.88), jitter(rng, _GLASS, 8)),
        ((0.2, 0.12, 0.8, 0.44), dark),
        ((0.02, 0.1, 0.17, 0.24), _WHITE, bool(rng.random() < 0.4)),
        ((0.83, 0.1, 0.98, 0.24), _WHITE, bool(rng.random() < 0.4)),
    ]
    door = [((0.25, 0.52, 0.85, 0.86), _GLASS), ((0.22, 0.05, 0.24, 0.9), tuple(0.75 * x for x in paint))]
    low = {"front": nose, "left": door, "right": door}
    back = [((0.49, 0, 0.51, 1), seam), ((0.02, 0, 0.05, 1), seam), ((0.95, 0, 0.98, 1), seam)]
    flank: list[tuple] = [((u, 0, u + 0.01, 1), seam) for u in np.arange(0.12, 1, 0.14)]
    if rng.random() < 0.5:
        flank.append(((0.1, 0.35, 0.9, 0.65), stripe))
    tail = [((0.02, 0.2, 0.14, 0.8), _RED), ((0.86, 0.2, 0.98, 0.8), _RED), ((0.38, 0.2, 0.62, 0.8), _PLATE)]

    def draw_cab():
        top = min(height, rng.uniform(2.6, 3.0))
        model.solid((half - 0.04, 0.45, front - cab, front), (half - 0.1, top, front - cab, front - 0.18), paint, low)

    def draw_load():
        box = {"rear": back, "left": flank, "right": flank}
        model.solid((half, 1.0, rear, front - cab - 0.2), (half, height, rear, front - cab - 0.2), load, box)
        model.solid((half - 0.1, 0.62, rear, rear + 0.1), (half - 0.1, 0.9, rear, rear + 0.1), dark, {"rear": tail})

    # the nearer half last, because it hides the other
    order = (draw_load, draw_cab) if model.world([(0, 0, front)])[0][2] < model.place[2] else (draw_cab, draw_load)
    for draw in order:
        draw()
    return 2 * half, height, length


def bus(model: Model, rng: np.random.Generator) -> tuple[float, float, float]:
    """Add a city bus: a long band of windows, doors, a destination board; returns width, height and length."""
    length, height, half = rng.uniform(9.5, 12.5), rng.uniform(2.9, 3.2), 1.25
    paint = jitter(
        rng,
        pick(rng, [(222, 222, 216), (196, 44, 40), (222, 180, 50), (52, 84, 140), (70, 130, 96), (150, 152, 156)]),
        8,
    )
    second = jitter(rng, pick(rng, [paint, (226, 226, 222), (60, 62, 66), (180, 60, 50)]), 6)
    glass, board = jitter(rng, _GLASS, 7), (240, 170, 40)
    rear, front = -length / 2, length / 2
    windows = [((0.02, 0.47, 0.98, 0.86), glass)]
    windows += [((u, 0.47, u + 0.008, 0.86), paint) for u in np.arange(0.13, 0.95, 0.13)] + [
        ((0, 0.05, 1, 0.2), second)
    ]
    doors = [((u, 0.06, u + 0.1, 0.84), _GLASS) for u in (0.46, 0.86)]
    nose = [
        ((0.05, 0.34, 0.95, 0.82), glass), ((0.15, 0.86, 0.85, 0.97), (24, 24, 24)),
        ((0.22, 0.885, 0.78, 0.95), board, True),
        ((0.05, 0.1, 0.2, 0.2), _WHITE, bool(rng.random() < 0.5)),
        ((0.8, 0.1, 0.95, 0.2), _WHITE, bool(rng.random() < 0.5)),
        ((0.38, 0.06, 0.62, 0.12), _PLATE), ((0, 0, 1, 0.05), _DARK),
    ]  # fmt: skip
    tail = [
        ((0.1, 0.5, 0.9, 0.84), glass), ((0.02, 0.14, 0.1, 0.42), _RED), ((0.9, 0.14, 0.98, 0.42), _RED),
        ((0.25, 0.12, 0.75, 0.38), tuple(0.7 * x for x in paint)), ((0.38, 0.03, 0.62, 0.1), _PLATE),
        ((0.36, 0.87, 0.64, 0.95), board, True),
    ]  # fmt: skip
    axles = (rear + 2.6, front - 2.5)
    _treads(model, 2 * half - 0.1, axles, 0.46)
    sides = {"left": windows, "right": windows + doors, "front": nose, "rear": tail}
    model.solid((half, 0.3, rear, front), (half - 0.06, height, rear, front), paint, sides)
    _wheels(model, 2 * half, axles, 0.47, (120, 122, 124))
    return 2 * half, height, length


def tram(model: Model, rng: np.random.Generator) -> tuple[float, float, float]:
    """Add a tram: a sloped nose with one row of headlamps, skirts down to the rails, a pantograph; returns width,
    height and length."""
    length, height, half = rng.uniform(16, 28), rng.uniform(3.3, 3.6), 1.2
    paint = jitter(rng, pick(rng, [(206, 190, 60), (190, 44, 44), (225, 225, 220), (70, 120, 90), (64, 90, 150)]), 8)
    second = jitter(rng, pick(rng, [(228, 226, 216), (60, 62, 66), (150, 40, 40)]), 6)
    glass, rear, front = jitter(rng, (38, 44, 52), 6), -length / 2, length / 2
    joints: list[tuple] = [((u, 0.0, u + 0.012, 1), (44, 44, 46)) for u in (0.33, 0.66)]
    side: list[tuple] = [
        ((0.015, 0.42, 0.985, 0.8), glass),
        ((0, 0, 1, 0.12), (52, 53, 56)),
        ((0, 0.86, 1, 0.95), second),
    ]
    side += [((u, 0.42, u + 0.01, 0.8), paint) for u in np.arange(0.08, 0.95, 0.085)] + joints
    side += [((u, 0.1, u + 0.05, 0.82), (30, 34, 40)) for u in (0.2, 0.5, 0.8)]
    nose = [
        ((0.08, 0.4, 0.92, 0.82), glass), ((0.18, 0.85, 0.82, 0.95), (20, 20, 20)),
        ((0.3, 0.865, 0.7, 0.935), (245, 170, 50), True),
        ((0.1, 0.2, 0.24, 0.29), _WHITE, True), ((0.76, 0.2, 0.9, 0.29), _WHITE, True), ((0, 0.3, 1, 0.36), second),
        ((0.1, 0, 0.9, 0.1), (34, 34, 36)),
    ]  # fmt: skip
    model.solid((half, 0.12, rear + 0.4, front - 0.4), (half - 0.05, height, rear + 0.9, front - 0.9), paint,
                {"left": side, "right": side, "front": nose, "rear": nose})  # fmt: skip
    peak = front - length * 0.3 if rng.random() < 0.5 else rear + length * 0.3
    model.wire([(0, height, peak), (0, height + 0.7, peak + 0.8), (0, height + 1.3, peak)], 0.07, (50, 50, 52))
    model.wire([(-0.6, height + 1.3, peak), (0.6, height + 1.3, peak)], 0.08, (50, 50, 52))
    return 2 * half, height + 0.2, length
