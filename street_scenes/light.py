"""The light of a scene: sun, sky, haze and the camera's exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import Part
from .textures import pick


@dataclass(frozen=True)
class Light:
    """`sun`: unit vector (3,) towards the sun. `direct`, `ambient`: RGB factors on colours in plain daylight.

    `haze_color`: RGB 0..255, to which distant things fade over `haze_depth` metres. `zenith`, `low_sky`: the colours of
    the sky (RGB 0..255) above and at the horizon. `clouds`: cover, 0..1. `cloud_color`: RGB 0..255. `exposure`: RGB
    factors on the finished image. `noise`: standard deviation in grey levels. `dark`: whether lamps and windows shine.
    """

    sun: np.ndarray
    direct: np.ndarray
    ambient: np.ndarray
    haze_color: np.ndarray
    haze_depth: float
    zenith: np.ndarray
    low_sky: np.ndarray
    clouds: float
    cloud_color: np.ndarray
    exposure: np.ndarray
    noise: float
    dark: bool

    def on(self, normal: np.ndarray | None) -> np.ndarray:
        """RGB factors (3,) for a surface with that normal (3,); with None, for a round body, half of it in shade."""
        if normal is None:
            return self.ambient + self.direct * 0.45
        share = max(0.0, float(normal @ self.sun))
        return self.ambient * (1 + 0.12 * float(normal[1])) + self.direct * share

    def on_parts(self, parts: list[Part]) -> np.ndarray:
        """The colours of parts in this light and haze, (N, 3) within 0..255."""
        if not parts:
            return np.zeros((0, 3))
        normals = np.array([(0, 0, 0) if part.normal is None else part.normal for part in parts])
        share = np.where(normals.any(1), np.maximum(normals @ self.sun, 0), 0.45)[:, None]
        bare = np.array([part.color for part in parts])
        fade = self.fade(np.array([part.depth for part in parts]))[:, None]
        lit = bare * (self.ambient * (1 + 0.12 * normals[:, 1:2]) + self.direct * share)
        lit += (self.haze_color - lit) * fade
        if self.dark:
            lit = np.where([[part.glow] for part in parts], bare * 1.1, lit)
        return np.clip(lit, 0, 255)

    def fade(self, depth):
        """The share of haze, 0..1, in the colour of a thing at a depth in metres."""
        return 1 - np.exp(np.float32(-1 / self.haze_depth) * depth)


# Per name: weight, height of the sun in degrees (low, high), direct, ambient;
# zenith, low sky, cloud cover (low, high), cloud colour.
_WEATHERS = {
    "clear": (
        3, (28, 62), (0.95, 0.90, 0.80), (0.46, 0.50, 0.58),
        (72, 122, 196), (186, 208, 230), (0, 0.25), (244, 244, 246),
    ),
    "clouds": (
        3, (25, 60), (0.62, 0.60, 0.55), (0.58, 0.60, 0.65),
        (98, 138, 192), (200, 212, 224), (0.4, 0.75), (232, 233, 236),
    ),
    "overcast": (
        3, (30, 60), (0.08, 0.08, 0.08), (0.90, 0.91, 0.93),
        (176, 180, 186), (208, 210, 212), (0.9, 1), (192, 195, 199),
    ),
    "gloomy": (
        1.6, (30, 60), (0.05, 0.05, 0.05), (0.66, 0.68, 0.72),
        (128, 133, 142), (160, 163, 168), (0.9, 1), (116, 121, 129),
    ),
    "low sun": (
        1.6, (9, 22), (1.05, 0.80, 0.52), (0.44, 0.45, 0.54),
        (110, 134, 178), (240, 206, 160), (0.1, 0.5), (250, 216, 180),
    ),
    "dusk": (
        0.8, (4, 9), (0.10, 0.07, 0.06), (0.40, 0.41, 0.54),
        (62, 76, 124), (218, 150, 120), (0.2, 0.7), (130, 108, 126),
    ),
    "night": (
        0.6, (30, 50), (0.06, 0.05, 0.03), (0.34, 0.31, 0.30),
        (22, 26, 44), (58, 52, 56), (0.2, 0.9), (52, 50, 56),
    ),
}  # fmt: skip


def _f32(values) -> np.ndarray:
    return np.asarray(values, np.float32)  # float64 would double the cost of all image operations


def pick_light(rng: np.random.Generator) -> Light:
    """Draw the weather and the time of day."""
    names = list(_WEATHERS)
    name = pick(rng, names, [_WEATHERS[x][0] for x in names])
    _, heights, direct, ambient, of_zenith, of_low_sky, cover, cloud_color = _WEATHERS[name]
    height, azimuth = np.radians(rng.uniform(*heights)), rng.uniform(-np.pi, np.pi)
    sun = np.array([np.cos(height) * np.sin(azimuth), np.sin(height), np.cos(height) * np.cos(azimuth)])
    low_sky = np.clip(np.array(of_low_sky) + rng.normal(0, 9) + rng.normal(0, 5, 3), 8, 252)
    zenith = np.clip(np.array(of_zenith) + rng.normal(0, 12) + rng.normal(0, 7, 3), 8, 250)
    dark = name in ("dusk", "night")
    cast = 1 + rng.normal(0, 0.045, 3) + rng.normal(0, 0.07) * np.array([1, 0, -1])
    return Light(
        sun=_f32(sun),
        direct=_f32(np.array(direct) * rng.uniform(0.8, 1.1)),
        ambient=_f32(np.array(ambient) * rng.uniform(0.9, 1.1)),
        haze_color=_f32(0.8 * low_sky + 0.2 * zenith),
        haze_depth=float(np.exp(rng.uniform(np.log(120), np.log(700)))) if not dark else 350.0,
        zenith=_f32(zenith),
        low_sky=_f32(low_sky),
        clouds=rng.uniform(*cover),
        cloud_color=_f32(np.clip(np.array(cloud_color) + rng.normal(0, 8), 0, 255)),
        exposure=_f32(cast * np.exp(rng.normal(0, 0.18))),
        noise=rng.uniform(1.2, 4.5) + (2.5 if dark else 0),
        dark=dark,
    )
