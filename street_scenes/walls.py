"""Walls and fences: flat pictures, seen from the front."""

from __future__ import annotations

import numpy as np

from .sheet import Sheet, draw_bricks


def draw_wall(sheet: Sheet, rng: np.random.Generator, kind: str) -> None:
    """Draw a wall of bricks, stones or concrete, with a coping on top."""
    base = sheet.image[-1, 0, :3].astype(float)
    if kind == "brickwall":
        draw_bricks(sheet, 0.16, 0.4, np.clip(0.75 * base + 20, 0, 255), rng)
    elif kind == "stonewall":
        draw_bricks(sheet, 0.3, 0.55, 0.65 * base, rng)
    elif kind == "concretewall":
        for x in np.arange(0, sheet.width, 2.5):
            sheet.box(x, 0, x + 0.06, sheet.height, 0.7 * base)
    sheet.rough(rng)
    sheet.box(0, sheet.height - 0.14, sheet.width, sheet.height, np.clip(1.12 * base + 8, 0, 255))
    sheet.box(0, sheet.height - 0.2, sheet.width, sheet.height - 0.14, 0.6 * base)


def draw_fence(sheet: Sheet, rng: np.random.Generator, kind: str, color) -> None:
    """Draw posts, rails and pickets; the gaps between them stay transparent."""
    if kind != "boards":
        sheet.image[..., 3] = 0
    high, dark = sheet.height, tuple(0.75 * c for c in color)
    if kind == "boards":
        for i, x in enumerate(np.arange(0, sheet.width, 0.18)):
            sheet.box(x, 0, x + 0.18, high - 0.05 * (i % 2), np.clip(np.array(color) + rng.normal(0, 9), 0, 255))
            sheet.box(x, 0, x + 0.03, high, dark)
    elif kind == "pickets":
        for x in np.arange(0.05, sheet.width, 0.24):
            sheet.box(x, 0.06, x + 0.13, high, color)
    elif kind == "bars":
        for x in np.arange(0.05, sheet.width, 0.2):
            sheet.box(x, 0.06, x + 0.05, high, color)
    elif kind == "mesh":
        if sheet.ky * 0.25 > 3 and sheet.kx * 0.25 > 3:
            for x in np.arange(-high, sheet.width, 0.28):
                sheet.line(x, 0, x + high, high, 0.03, color)
                sheet.line(x + high, 0, x, high, 0.03, color)
        else:
            sheet.image[..., 3] = 90
    rails = {"rails": (0.2, 0.5, 0.8, 1), "guard": (0.55, 0.75, 0.95), "mesh": (0.04, 1)}.get(kind, (0.2, 0.85))
    for share in rails:
        sheet.box(0, high * share - (0.16 if kind == "guard" else 0.08), sheet.width, high * share, color)
    for x in np.arange(0, sheet.width, 2.5):
        sheet.box(x, 0, x + 0.1, high, dark)
