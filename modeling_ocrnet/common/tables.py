"""Tables as text: aligned for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def text_table(rows: Iterable[Sequence[str]], numbers: bool = True) -> str:
    """Format rows of cells as lines of text; each column is as wide as its widest cell.

    Args:
        rows: all of the same length.
        numbers: align all columns but the first to the right.
    """
    rows = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(x.rjust(w) if numbers and i else x.ljust(w) for i, (x, w) in enumerate(cells)).rstrip()

    return "\n".join(map(line, rows))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence], numbers: Iterable[int] = ()) -> str:
    """Format a Markdown table.

    Args:
        header: the names of the columns.
        rows: the cells of each row, one for each column.
        numbers: the indices of the columns to align to the right.
    """
    numbers = set(numbers)
    rule = "|".join("---:" if i in numbers else "---" for i in range(len(header)))
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])
