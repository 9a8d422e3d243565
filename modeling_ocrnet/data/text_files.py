"""Text files and tables as editors and spreadsheets write them.

Excel writes commas, semicolons or tabs by the system's language. The encoding is UTF-8 with a byte order mark ("CSV
UTF-8"), UTF-16 ("Unicode Text") or the system's code page ("CSV"), which in western Europe is Windows-1252.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import reason
from .errors import DataError
from .unicode_names import nfc

GUESS = "cp1252"
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_HINT = re.compile(r'"?sep=(.)"?[;,\t]*\r?\n?')  # a first line by which Excel knows the delimiter
REMEDY = "save it as UTF-8 (in Excel: CSV UTF-8)"


class Text(NamedTuple):
    """A file's text; and whether its encoding is a guess, so that letters beyond ASCII may be others."""

    text: str
    guessed: bool


def read_text(file: Path, guess: bool = False) -> Text:
    """Read a text file in UTF-8, or in UTF-16 with a byte order mark.

    Args:
        file: the file.
        guess: read other files as Windows-1252. Only for contents that are compared with something afterwards, because
            any code page would be accepted.

    Raises:
        DataError: if it can't be read, or its encoding is another one.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: can't be read ({reason(error)})") from error
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    guessed = False
    try:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            if not guess or encoding != "utf-8":
                raise
            text, guessed = content.decode(GUESS), True
    except UnicodeDecodeError as error:
        name = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise DataError(f"{file}: byte {error.start} isn't {name}: {REMEDY}") from error
    if "\0" in text:
        raise DataError(f"{file}: holds zero bytes, as UTF-16 without a byte order mark does: {REMEDY}")
    return Text(text, guessed)


class Table(NamedTuple):
    """The rows of a table, by column; and whether its encoding is a guess."""

    rows: list[Any]
    guessed: bool


def read_table(file: Path, columns: Sequence[str]) -> Table:
    """Read a CSV, whose first line names the columns, or a JSONL, which has an object in each line.

    Args:
        file: the file, `.csv` or `.jsonl`.
        columns: columns that are needed, in NFC. They decide which delimiter a CSV has.

    Returns:
        A dict for each row of a CSV that isn't empty, with empty cells where the row is too short; whatever the lines
        of a JSONL hold. Column names are in NFC.

    Raises:
        DataError: if it can't be read, can be read in several ways, or a row has more cells than there are columns.
    """
    text, guessed = read_text(file, guess=True)
    try:
        if file.suffix == ".csv":
            return Table(_csv_rows(file, text, columns), guessed)
        found = [json.loads(line) for line in io.StringIO(text, newline="") if line.strip()]
    except DataError:
        raise
    except (ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"{file}: not readable as {file.suffix[1:].upper()} ({error})") from error
    return Table([{nfc(key): x for key, x in row.items()} if isinstance(row, dict) else row for row in found], guessed)


def _csv_rows(file: Path, text: str, columns: Sequence[str]) -> list[dict[str, str]]:
    delimiter, text = _delimiter(file, text, columns)
    rows, header = [], None
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for cells in lines:
        if not any(cells):
            continue
        if header is None:
            header = [nfc(x) for x in cells]
            if twice := next((x for x in columns if header.count(x) > 1), None):
                raise DataError(f"{file}: has several columns {twice}: rename the others")
        elif any(cells[len(header) :]):
            raise DataError(
                f"{file}: line {lines.line_num} has {len(cells)} cells, but the first line {len(header)}: write a name "
                f'that holds a "{delimiter}" in quotes'
            )
        else:
            rows.append(dict(zip_longest(header, cells[: len(header)], fillvalue="")))
    return rows


def _delimiter(file: Path, text: str, columns: Sequence[str]) -> tuple[str, str]:
    """A CSV's delimiter, and its text without the line that names it. It is the one that gives the needed columns.

    Raises:
        DataError: if several do.
    """
    if hint := _HINT.match(text):
        return hint[1], "\n" + text[hint.end() :]  # an empty line in its place: errors name lines of the file
    headers = {x: _header(text, x) for x in DELIMITERS}
    fitting = [x for x, header in headers.items() if all(column in header for column in columns)]
    if len(fitting) > 1:
        ways = " and ".join(DELIMITERS[x] for x in fitting)
        raise DataError(f"{file}: its first line names {', '.join(columns)} both between {ways}: use one delimiter")
    return fitting[0] if fitting else max(headers, key=lambda x: len(headers[x])), text


def _header(text: str, delimiter: str) -> list[str]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return next(([nfc(x) for x in cells] for cells in lines if any(cells)), [])
