"""Synthetic street scenes in Cityscapes' format: data to try everything out on, without a download.

`layout` decides what stands where (with `street`, `structures`, `plants`, `furniture`, `vehicles` and `people`),
`painting` how it looks (with `light`, `facades`, `walls` and `textures`), `writing` makes the files.
"""

from .writing import Scene, draw_scene, write_street_scenes

__all__ = ["Scene", "draw_scene", "write_street_scenes"]
