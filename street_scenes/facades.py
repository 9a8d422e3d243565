"""Flat pictures of upright surfaces, seen from the front. Those of houses are drawn here.

`front` draws the picture of a `Plane`; the painter then warps it to the scene's perspective.
"""

from __future__ import annotations

import cv2
import numpy as np

from .light import Light
from .sheet import Sheet, draw_bricks
from .textures import jitter, pick
from .things import Plane
from .walls import draw_fence, draw_wall


def _glass(rng: np.random.Generator, light: Light):
    """The colour of a window pane: a dark room, the sky, a curtain or, in the dark, lamplight."""
    if light.dark and rng.random() < 0.45:
        return jitter(rng, (250, 206, 130), 14)
    choice = rng.random()
    if choice < 0.55:
        return jitter(rng, (52, 58, 66), 12)
    if choice < 0.85:
        return jitter(rng, 0.62 * light.zenith + 0.3 * light.low_sky - 25, 12)
    return jitter(rng, (186, 180, 168), 14)


def _windows(sheet: Sheet, rng, light: Light, size, frame, style: str) -> list[tuple[np.ndarray, float, float]]:
    """Four pictures of windows of `size` (width, height), each with its margins in metres."""
    (w, h), stamps = size, []
    side, sill = (0.55 if "shutter" in style else 0.12), 0.24
    for _ in range(4):
        room = (w + 2 * side, h + sill + 0.1)
        pixels = (max(1, round(room[0] * sheet.kx)), max(1, round(room[1] * sheet.ky)))
        stamp = Sheet(room, pixels, sheet.image[-1, 0, :3])
        x, y = side, sill
        if "shutter" in style:
            for left in (0, x + w + 0.1):
                stamp.box(left, y, left + 0.45, y + h, (70, 88, 74))
        stamp.box(x - 0.09, y - 0.09, x + w + 0.09, y + h + 0.09, frame)
        stamp.box(x, y, x + w, y + h, _glass(rng, light))
        if sheet.kx > 7:
            stamp.box(x + w / 2 - 0.04, y, x + w / 2 + 0.04, y + h, frame)
        if "cross" in style:
            stamp.box(x, y + 0.62 * h, x + w, y + 0.62 * h + 0.07, frame)
        if "sill" in style:
            stamp.box(x - 0.12, 0, x + w + 0.12, 0.13, tuple(0.7 * c for c in frame))
        stamps.append((stamp.image, side, sill))
    return stamps


def _shop(sheet: Sheet, rng: np.random.Generator, light: Light) -> None:
    """Draw a ground floor with shops: windows, doors, name boards, awnings."""
    x, high = rng.uniform(0.2, 0.8), rng.uniform(2.5, 2.8)
    while x < sheet.width - 2.5:
        w = min(rng.uniform(3, 5.5), sheet.width - x - 0.3)
        board = jitter(
            rng,
            pick(rng, [(40, 70, 110), (150, 40, 40), (50, 52, 56), (226, 222, 210), (60, 100, 70), (220, 170, 50)]),
            10,
        )
        inside = (244, 216, 160) if light.dark else jitter(rng, (62, 62, 62), 14)
        sheet.box(x, 0.1, x + w, high, (66, 66, 68))
        sheet.box(x + 0.12, 0.5, x + 0.68 * w, high - 0.1, inside)
        sheet.box(x + 0.74 * w, 0.12, x + w - 0.12, high - 0.15, jitter(rng, (54, 50, 48), 12))
        for _ in range(4):  # goods
            gx = x + rng.uniform(0.15, 0.6 * w)
            sheet.box(gx, 0.55, gx + rng.uniform(0.2, 0.6), rng.uniform(0.9, 1.6), jitter(rng, (140, 120, 110), 40))
        sheet.box(x, high, x + w, high + 0.55, board)
        text = (236, 234, 226) if sum(board) < 420 else (40, 40, 44)
        start = x + 0.15 * w
        while start < x + 0.8 * w:
            step = rng.uniform(0.15, 0.32)
            sheet.box(start, high + 0.15, start + step * 0.7, high + 0.42, text)
            start += step
        if rng.random() < 0.35:
            stripe = jitter(rng, (190, 60, 54), 20)
            for i, sx in enumerate(np.arange(x, x + w, 0.3)):
                sheet.box(sx, high - 0.5, min(sx + 0.3, x + w), high, stripe if i % 2 else (230, 228, 220))
        x += w + rng.uniform(0.2, 0.8)


def _storeys(sheet: Sheet, rng, light: Light, kind: str, low: float) -> None:
    """Draw rows of windows above height `low`."""
    frame = pick(rng, [(226, 226, 222), (236, 234, 228), (92, 76, 62), (70, 72, 76), (200, 190, 170)])
    pitch, w, h = rng.uniform(1.9, 3.0), rng.uniform(0.9, 1.4), rng.uniform(1.3, 1.8)
    style = pick(rng, ["cross sill", "sill", "cross", "plain", "shutter sill"])
    if kind == "concrete" and rng.random() < 0.5:  # bands of windows
        w, pitch = 0.86 * pitch, pitch
    trim = jitter(rng, 0.88 * sheet.image[-1, 0, :3].astype(float), 6)
    count = max(1, int((sheet.width - 0.6) / pitch))
    margin = (sheet.width - (count - 1) * pitch - w) / 2
    if pitch * sheet.kx < 3:  # too far away or too slanted to show single windows
        for y in np.arange(low, sheet.height - 2.6, 3.1).tolist():
            sheet.box(
                0,
                y + 0.95,
                sheet.width,
                y + 0.95 + h,
                tuple(0.6 * c + 0.4 * g for c, g in zip(trim, _glass(rng, light), strict=True)),
            )
        return
    stamps = _windows(sheet, rng, light, (w, h), frame, style)
    ledge, balconies = kind != "concrete" and rng.random() < 0.5, kind == "plaster" and style == "cross"
    for y in np.arange(low, sheet.height - 2.6, 3.1).tolist():
        if ledge:
            sheet.box(0, y - 0.05, sheet.width, y + 0.12, trim)
        for i, which in enumerate(rng.integers(4, size=count).tolist()):
            x = margin + i * pitch
            stamp, side, sill = stamps[which]
            sheet.paste(stamp, side, sill, x, y + 0.95)
            if balconies and i % 3 == 1:
                sheet.box(x - 0.3, y + 0.1, x + w + 0.3, y + 0.85, (84, 86, 90))
    sheet.box(0, sheet.height - 0.3, sheet.width, sheet.height, trim)


def _curtain_wall(sheet: Sheet, rng: np.random.Generator, light: Light) -> None:
    """Draw a glass front. Higher panes reflect more of the sky."""
    pitch, floor = rng.uniform(1.2, 1.9), 3.1
    grid = max(1, round(sheet.height / floor)), max(1, round(sheet.width / pitch))
    tone = rng.normal(0, 10, grid) + np.linspace(16, -14, grid[0])[:, None]
    tone -= 70 * (rng.random(grid) < 0.1)  # open windows
    base = 0.55 * sheet.image[-1, 0, :3] + 0.35 * light.low_sky
    panes = np.clip(base + tone[..., None], 0, 255).astype(np.uint8)
    size = sheet.image.shape[1::-1]
    sheet.image[..., :3] = cv2.resize(panes, size, interpolation=cv2.INTER_NEAREST)
    bar = jitter(rng, (84, 88, 92), 20)
    for y in np.linspace(0, sheet.height, grid[0] + 1).tolist():
        sheet.box(0, y - 0.25, sheet.width, y + 0.2, bar)
    if sheet.kx * pitch > 3:
        for x in np.linspace(0, sheet.width, grid[1] + 1).tolist():
            sheet.box(x - 0.04, 0, x + 0.04, sheet.height, bar)


def _house_front(sheet: Sheet, rng, light: Light, kind: str, extra: str) -> None:
    """Draw a building's front, by its kind and the kind of its ground floor."""
    if kind == "brick":
        draw_bricks(sheet, 0.25, 0.6, tuple(0.8 * sheet.image[-1, 0, :3].astype(float)), rng)
    sheet.rough(rng)
    if kind == "glass":
        _curtain_wall(sheet, rng, light)
        return
    if kind == "works":
        for x in np.arange(0, sheet.width, 0.6):
            sheet.box(x, 0, x + 0.2, sheet.height, tuple(0.9 * sheet.image[-1, 0, :3].astype(float)))
        if not extra:
            for x in np.arange(rng.uniform(1, 3), sheet.width - 4, rng.uniform(5, 9)):
                sheet.box(x, 0, x + 3.4, 3.6, jitter(rng, (120, 124, 130), 25))
            stamps = _windows(sheet, rng, light, (1.9, 1.0), (80, 82, 84), "plain")
            for x in np.arange(0.8, sheet.width - 2, 2.6):
                stamp, side, sill = pick(rng, stamps)
                sheet.paste(stamp, side, sill, x, sheet.height - 2.0)
        return
    if extra == "gable" and rng.random() < 0.45:
        return
    if extra == "shop":
        _shop(sheet, rng, light)
    _storeys(sheet, rng, light, kind, 3.3 if extra == "shop" else 0.1)
    if extra in ("", "house") and sheet.width > 4:
        x = rng.uniform(0.8, sheet.width - 2)
        sheet.box(x - 0.15, 0, x + 1.25, 2.45, (200, 196, 186))
        sheet.box(
            x, 0, x + 1.1, 2.25, jitter(rng, pick(rng, [(84, 56, 40), (60, 74, 66), (56, 60, 70), (130, 40, 36)]), 10)
        )
    sheet.box(0, 0, sheet.width, 0.35, tuple(0.7 * sheet.image[-1, 0, :3].astype(float)))


def front(plane: Plane, rng: np.random.Generator, light: Light, limit: tuple[int, int]) -> np.ndarray:
    """Draw the flat picture of a plane.

    Args:
        plane: the plane.
        rng: draws its details.
        light: determines reflections in windows, and whether they are lit.
        limit: largest width and height of the result in pixels.

    Returns:
        (H, W, 4) uint8, RGB and cover; about the size of the plane in the scene, within the limit.
    """
    spans = np.linalg.norm(plane.corners - np.roll(plane.corners, -1, 0), axis=1)  # lower, right, upper, left edge
    shown = (max(spans[0], spans[2]), max(spans[1], spans[3]))
    width, height = (int(np.clip(np.ceil(n), 3, top)) for n, top in zip(shown, limit, strict=True))
    sheet = Sheet(plane.metres, (width, height), plane.color)
    kind, _, extra = plane.kind.partition(":")
    if kind.endswith("wall"):
        draw_wall(sheet, rng, kind)
    elif kind in ("pickets", "bars", "mesh", "boards", "rails", "guard"):
        draw_fence(sheet, rng, kind, plane.color)
    else:
        _house_front(sheet, rng, light, kind, extra)
    return sheet.image
