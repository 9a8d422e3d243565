"""The content of a part of the report. It is saved after every change, so a part that is stopped leaves its results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from modeling_ocrnet.common.tables import markdown_table


class PartFailed(Exception):
    """A result of a part is wrong."""


class PartSkipped(Exception):
    """A part can't run here."""


@dataclass
class Section:
    """The tables and figures of one part.

    Args:
        path: the file in which they are saved.
        deadline: the value of `time.monotonic()` at which the part's share of the time is used up.
    """

    path: Path
    deadline: float
    blocks: list[dict] = field(default_factory=list)
    figures: dict = field(default_factory=dict)

    def time_left(self) -> float:
        """The remaining time in seconds."""
        return self.deadline - time.monotonic()

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self._set(None, {"text": text})

    def quote(self, caption: str, text: str) -> None:
        """Add lines of a program's output, unchanged."""
        self._set(caption, {"caption": caption, "quote": text})

    def table(self, caption: str, head: Sequence[str], rows: Sequence[Sequence]) -> None:
        """Add a table. It replaces a table with the same caption."""
        self._set(caption, {"caption": caption, "head": list(head), "rows": [[str(x) for x in row] for row in rows]})

    def record(self, **figures) -> None:
        """Add figures to `results.json`; they must be JSON values."""
        self.figures |= figures
        self._write()

    def _set(self, caption: str | None, block: dict) -> None:
        places = [i for i, x in enumerate(self.blocks) if caption is not None and x.get("caption") == caption]
        if places:
            self.blocks[places[0]] = block
        else:
            self.blocks.append(block)
        self._write()

    def _write(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"blocks": self.blocks, "figures": self.figures}), encoding="utf-8")
        os.replace(part, self.path)


@dataclass
class Outcome:
    """The outcome of a part.

    Args:
        name: of the part.
        status: `done`, `stopped` (its time was used up), `skipped` or `failed`.
        reason: for any status but `done`; for a failure, the traceback.
        seconds: that it took.
        blocks: its texts and tables.
        figures: its recorded figures.
    """

    name: str
    status: str
    reason: str
    seconds: float
    blocks: list[dict]
    figures: dict

    def markdown(self) -> str:
        """The part as a chapter of the report, in Markdown."""
        lines = [f"## {self.name}", "", f"{self.status} in {self.seconds:.0f} s"]
        if self.reason and self.status != "failed":
            lines[-1] += f": {self.reason}"
        for block in self.blocks:
            lines += ["", *_markdown(block)]
        if self.status == "failed":
            lines += ["", "```", self.reason.rstrip(), "```"]
        return "\n".join(lines) + "\n"

    def json(self) -> dict:
        return asdict(self)


def _markdown(block: dict) -> list[str]:
    if "text" in block:
        return [block["text"]]
    if "quote" in block:
        return [f"{block['caption']}:", "", "```", block["quote"].rstrip(), "```"]
    return [f"{block['caption']}:", "", markdown_table(block["head"], block["rows"])]
