"""How a command line is written: `--flip` and `--no-flip`, lists with commas, and the names that options had before."""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass
class Spellings:
    """What a parser knows of its options.

    Args:
        kinds: the type of each option that takes a value, by its name with the dashes.
        renamed: today's names of options, by the names that they had before.
        positions: the options that the first, second ... argument has become; `None` if it still has no name.
        gathers: options that used to take several arguments.
    """

    kinds: dict[str, Any] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    positions: Sequence[str | None] = ()
    gathers: Sequence[str] = ()

    def translate(self, argv: Sequence[str], tell: Callable[[str], None]) -> list[str]:
        """Rewrite a command line for jsonargparse: `--flip` becomes `--flip=true`, and `--scales 0.5,1` a YAML list.

        Args:
            argv: the command line, without the program's name.
            tell: is called with one line for each old spelling.
        """
        rest, unnamed = list(argv), 0
        written: list[str] = []
        while rest:
            text = rest.pop(0)
            if text == "--":
                return [*written, text, *rest]
            if text.startswith("--"):
                written.append(self._option(text, rest, tell, may_gather=unnamed > 0))
            elif text.startswith("-") and text != "-":
                written.append(text)
            else:
                written.append(self._unnamed(text, unnamed, tell))
                unnamed += 1
        return written

    def _unnamed(self, text: str, place: int, tell: Callable[[str], None]) -> str:
        option = self.positions[place] if place < len(self.positions) else None
        if option is None:
            return text
        tell(f"{text} is now {option} {text}")
        return f"{option}={text}"

    def _option(self, text: str, rest: list[str], tell: Callable[[str], None], may_gather: bool) -> str:
        """One option with its value, which is taken from `rest` unless `text` holds it."""
        option, equals, value = text.partition("=")
        if option in self.renamed and option not in self.kinds:
            tell(f"{option} is now {self.renamed[option]}")
            option = self.renamed[option]
        if option[:5] in ("--no-", "--no_") and not equals and _is_bool(self.kinds.get(f"--{option[5:]}")):
            return f"--{option[5:]}=false"
        if not self._takes_value(option):
            return option + equals + value
        if _is_bool(self.kinds.get(option)):
            if not equals:
                value = rest.pop(0) if rest and rest[0].lower() in ("true", "false", "null", "none") else ""
            if value.lower() in ("true", "false"):
                tell(f"{option} {value} is now --{'no-' * (value.lower() == 'false')}{option[2:]}")
            return f"{option}={value or ('' if equals else 'true')}"
        if not equals and not rest:
            return option
        values = [value if equals else rest.pop(0)]
        while option in self.gathers and may_gather and rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        if len(values) > 1:
            tell(f"{option} {' '.join(values)} is now {option} {','.join(values)}")
            return f"{option}={json.dumps(values)}"
        return f"{option}={self._as_yaml(option, values[0])}"

    def _takes_value(self, option: str) -> bool:
        return option.removesuffix("+") in self.kinds or self._is_in_mapping(option)

    def _is_in_mapping(self, option: str) -> bool:
        """Whether this is a key of an option that holds keys and values: `--model.config.dropout`."""
        return any((get_origin(kind) or kind) is dict and option.startswith(f"{x}.") for x, kind in self.kinds.items())

    def _as_yaml(self, option: str, text: str) -> str:
        """A value as the parser reads it: `0.5,1` for a list of numbers is `[0.5,1]`."""
        if text.lstrip()[:1] in ("[", "{", '"', "'") or option.endswith("+"):
            return text
        if self._is_in_mapping(option):
            return f"[{text}]" if "," in text else text
        choices = _choices(self.kinds[option])
        sequences = [x for x in choices if get_origin(x) in (list, tuple)]
        if not sequences or (text in ("null", "None") and types.NoneType in choices):
            return text
        if all(get_origin(x) is tuple for x in sequences) and "," not in text:  # a number of bits, or a mistake
            return text
        if any(x is str or get_origin(x) is Literal for sequence in sequences for x in get_args(sequence)):
            return json.dumps([text] if Path(text).exists() else [x for x in text.split(",") if x])
        return f"[{text}]"


def kinds_of(kind: type | Callable, prefix: str = "") -> dict[str, Any]:
    """The types of a dataclass's fields, or of a function's arguments, by the options' names: `--data.root`."""
    kinds: dict[str, Any] = {}
    for name, of_field in get_type_hints(kind).items():
        kinds[f"--{prefix}{name}"] = of_field
        if is_dataclass(of_field):
            kinds |= kinds_of(of_field, f"{prefix}{name}.")
    return kinds


def tell_on_stderr(line: str) -> None:
    """Print one line on standard error, in the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(f"hint: {line}", file=sys.stderr)


def _choices(kind: Any) -> list[Any]:
    return list(get_args(kind)) if get_origin(kind) in (Union, types.UnionType) else [kind]


def _is_bool(kind: Any) -> bool:
    return bool in _choices(kind)
