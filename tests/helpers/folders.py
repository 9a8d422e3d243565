"""Folders with one file, to be moved about."""

from pathlib import Path


def content(folder: Path) -> str:
    return (folder / "file").read_text()


def fill(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "file").write_text(text)
    return folder
