"""What the documentation shows: blocks of code, inline code, links, headings, command lines."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MANUAL = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")  # before a block, with the reason
_FENCE = re.compile(r"( *)```(\S*)")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Args:
        page: the file.
        line: where it begins, counted from 1.
        language: what stands behind the fence.
        text: without the indentation that the fence has.
        not_run: why it can't be run, if the page says so.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class CommandLine:
    """The words of one command, without variables before it and what its output goes to."""

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.words)}"


def blocks(page: Path) -> Iterator[Block]:
    """A page's blocks of code, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    begun, not_run = None, None
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if begun is None and fence:
            begun = number, fence
        elif begun is not None and fence and not fence[2]:
            first, (indent, language) = begun[0], begun[1].groups()
            text = "\n".join(x.removeprefix(indent) for x in lines[first : number - 1]) + "\n"
            yield Block(page, first, language, text, not_run)
            begun = not_run = None
        elif begun is None and line.strip():
            marked = NOT_RUN.fullmatch(line.strip())
            not_run = marked[1] if marked else None


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """A page's lines outside of blocks of code, numbered."""
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            yield number, line


def inline_code(page: Path) -> Iterator[tuple[str, str]]:
    """(place, code) of all inline code; a cell of a table may hold `\\|`."""
    for number, line in prose(page):
        for code in re.findall(r"`([^`]+)`", line):
            yield f"{page.relative_to(ROOT)}:{number}", code.replace(r"\|", "|")


def command_lines(place: str, text: str) -> Iterator[CommandLine]:
    """The commands of a shell script, those inside of quotes (`bash -c "..."`) too."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and set(word) <= set(";&|"):
                yield from _command(place, words)
                words = []
            else:
                words.append(word)


def _command(place: str, words: list[str]) -> Iterator[CommandLine]:
    while words and re.fullmatch(r"[A-Z_]+=.*|exec|srun", words[0]):
        words = words[1:]
    redirected = [i for i, x in enumerate(words) if set(x) <= set("<>") and x]
    words = words[: redirected[0]] if redirected else words
    if words[:2] == ["bash", "-c"]:
        yield from command_lines(place, words[2])
    elif words:
        yield CommandLine(place, tuple(words))


def all_command_lines(page: Path) -> list[CommandLine]:
    """Those of a page's blocks of shell, and of its inline code that begins as a command of ours does."""
    found = [x for block in blocks(page) if block.language == "bash" for x in command_lines(str(block), block.text)]
    for place, code in inline_code(page):
        if re.match(r"ocrnet \S|python (scripts|tests|benchmarks)/|accelerate launch \S|make \S", code):
            found += command_lines(place, code)
    return found


def markdown_files() -> list[Path]:
    """All that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / x for x in listed.stdout.split("\0") if x]


def links(page: Path) -> Iterator[tuple[str, str]]:
    """(place, target) of a page's links and pictures within the repository."""
    for number, line in prose(page):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if not re.match(r"\w+:", target):
                yield f"{page.relative_to(ROOT)}:{number}", target


def anchors(page: Path) -> set[str]:
    """What a link to a heading of a page may end in, as GitHub makes it of the heading."""
    headings = (re.fullmatch(r"#+ (.+)", line) for _, line in prose(page))
    return {re.sub(r"[^\w\- ]", "", x[1].lower()).replace(" ", "-") for x in headings if x}
