"""Synthetic street scenes in Cityscapes' format: data for first runs and tests, without a download.

`layout` places the objects (with `street`, `structures`, `plants`, `furniture`, `vehicles` and `people`), `painting`
draws them (with `light`, `facades`, `walls` and `textures`), and `writing` writes the files.
"""

from .writing import Scene, draw_scene, write_street_scenes

__all__ = ["Scene", "draw_scene", "write_street_scenes"]
