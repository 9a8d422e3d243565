"""Write a recipe as YAML that a person edits: a field a line, each with the reason for its value."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable
from typing import Any

import yaml

from .choice import Choice

WIDTH = 118  # of a line


def commented_yaml(head: Iterable[str], choices: dict[str, Choice]) -> str:
    """The recipe's text.

    Args:
        head: paragraphs for the comment at the top; one that begins with a space isn't filled.
        choices: by the fields' full names; fields of one group stand together.
    """
    lines: list[str] = []
    for text in head:
        lines += [f"# {text}".rstrip()] if text[:1] in ("", " ") else _comment(text, "")
    before: list[str] = []
    for name, choice in choices.items():
        *groups, field = name.split(".")
        same = next((i for i, (a, b) in enumerate(zip(before, groups, strict=False)) if a != b), None)
        for depth in range(min(len(before), len(groups)) if same is None else same, len(groups)):
            lines.append(f"{'  ' * depth}{groups[depth]}:")
        before = groups
        indent = "  " * len(groups)
        line, why = f"{indent}{field}: {as_yaml(choice.value)}", " ".join(choice.why.split())
        together = f"{line}  # {why}"
        lines += [together] if len(together) <= WIDTH else [*_comment(why, indent), line]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    words = " ".join(text.split())
    return textwrap.wrap(
        words, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_long_words=False
    )


def as_yaml(value: Any) -> str:
    """A value on one line. Numbers have no exponent, which YAML 1.1 reads as text without a dot."""
    if isinstance(value, float) and value != 0:
        text = f"{value:.10f}".rstrip("0")
        return text + "0" if text.endswith(".") else text
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_yaml(key)}: {as_yaml(x)}" for key, x in value.items()) + "}"
    # what begins with a digit or a point is a number to some readers only: 1e3
    if isinstance(value, str) and re.fullmatch(r"(?![\d.-])[\w./-]+", value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=isinstance(value, str) and not value.isprintable())
