"""How a command line is written: `--flip` and `--no-flip`, lists with commas, and the names that options had before."""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from ..common.errors import UserError

_WORDS = {"true": True, "yes": True, "false": False, "no": False}  # the values that a boolean option once took


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

        Raises:
            UserError: for a key below a key, `--model.config.id2label.0`, which would replace all others.
        """
        given = {text.partition("=")[0] for text in argv}
        given |= {new for old, new in self.renamed.items() if old in given}
        positions = [option for option in self.positions if option not in given]
        rest, unnamed = list(argv), 0
        written: list[str] = []
        while rest and rest[0] != "--":
            text = rest.pop(0)
            if text.startswith("--"):
                written.append(self._option(text, rest, tell, may_gather=unnamed > 0))
            elif text.startswith("-") and text != "-":
                written.append(text)
            else:
                option = positions[unnamed] if unnamed < len(positions) else None
                if option is not None:
                    tell(f"{text} is now {option} {text}")
                written.append(text if option is None else f"{option}={text}")
                unnamed += 1
        return [*sorted(written, key=self._rank), *rest]

    def _rank(self, text: str) -> int:
        """Files come before groups, outer groups before inner ones, fields last: a whole group replaces the fields that
        stand before it."""
        option, equals, _ = text.partition("=")
        kind = self.kinds.get(option)
        is_group = bool(equals) and (is_dataclass(kind) or _is_mapping(kind))
        return 0 if option == "--config" else 1 + option.count(".") if is_group else 100

    def _option(self, text: str, rest: list[str], tell: Callable[[str], None], may_gather: bool) -> str:
        """One option with its value, which is taken from `rest` unless `text` holds it."""
        option, equals, value = text.partition("=")
        if option not in self.kinds and option.removesuffix("+") in self.renamed:
            tell(f"{option} is now {self._today(option)}")
            option = self._today(option)
        if option[:5] in ("--no-", "--no_") and not equals:
            positive = self._today(f"--{option[5:]}")
            if _is_bool(self.kinds.get(positive)):
                return f"{positive}=false"
        if option.removesuffix("+") not in self.kinds and not self._is_in_mapping(option):
            return text.replace(text.partition("=")[0], option, 1)
        if _is_bool(self.kinds.get(option)):
            if not equals:
                value = rest.pop(0) if rest and rest[0].lower() in (*_WORDS, "null", "none") else ""
            if value.lower() in _WORDS:
                tell(f"{option} {value} is now --{'' if _WORDS[value.lower()] else 'no-'}{option[2:]}")
            return f"{option}={value or ('' if equals else 'true')}"
        if not equals and (not rest or rest[0].startswith("--")):
            return option  # the parser says that the value is missing
        values = [value if equals else rest.pop(0)]
        while option in self.gathers and may_gather and rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        if len(values) > 1:
            tell(f"{option} {' '.join(values)} is now {option} {','.join(values)}")
            return f"{option}={json.dumps(values)}"
        return f"{option}={self._as_yaml(option, values[0])}"

    def _today(self, option: str) -> str:
        """The name that an option has now; `--ignore_ids+`, which appends to a list, keeps its sign."""
        name = option.removesuffix("+")
        return option if name in self.kinds else self.renamed.get(name, name) + option[len(name) :]

    def _is_in_mapping(self, option: str) -> bool:
        """Whether this is a key of an option that holds keys and values: `--model.config.dropout`."""
        names = [x for x, kind in self.kinds.items() if _is_mapping(kind) and option.startswith(f"{x}.")]
        if any("." in option.removeprefix(f"{name}.") for name in names):
            above = option.rpartition(".")[0]
            example = "{cross_entropy: 1.0, dice: 0.5}" if above.endswith("losses") else "{0: road, 1: tree}"
            raise UserError(f"{option}: give all of {above} at once, as in {above} '{example}'")
        return bool(names)

    def _as_yaml(self, option: str, text: str) -> str:
        """A value as the parser reads it: `0.5,1` for a list of numbers is `[0.5,1]`."""
        if self._is_in_mapping(option):
            _check_spaces(option, text)
            return _in_mapping(text)
        choices = _choices(self.kinds[option.removesuffix("+")])
        if any(_is_mapping(x) for x in choices):
            _check_spaces(option, text)
        sequences = [x for x in choices if get_origin(x) in (list, tuple)]
        if text in ("null", "None") and types.NoneType in choices:
            return "null"
        # one value: of a tuple it is a mistake, or a number of bits; after `--scales+` it is appended
        is_one = option.endswith("+") or all(get_origin(x) is tuple for x in sequences)
        if not sequences or ("," not in text and is_one):
            return text
        if any(x is str or get_origin(x) is Literal for sequence in sequences for x in get_args(sequence)):
            return _names(text)
        return text if text.lstrip()[:1] == "[" else f"[{text}]"


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


def _names(text: str) -> str:
    """A YAML list of names. Brackets are YAML only if they hold commas or quotes: `[ab].png` is a pattern."""
    if text and os.path.exists(text):  # a comma in a file's name
        return json.dumps([text])
    if text == "[]" or (text[:1] == "[" and text[-1:] == "]" and set(text) & set(",\"'")):
        return text
    names = [x.strip() for x in text.split(",") if x.strip()]
    return json.dumps(names) if names else ""


def _in_mapping(text: str) -> str:
    """The YAML value of a key: `1,2` is a list, and so is `[1,2],[3,4]`."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        content = text
    is_quoted = isinstance(content, str) and content != text.strip()
    return text if "," not in text or isinstance(content, (list, dict)) or is_quoted else f"[{text}]"


def _check_spaces(option: str, text: str) -> None:
    """Refuse `{a:b}`, which is one key without a value in YAML.

    Raises:
        UserError: with what was meant.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return  # the parser says what is wrong
    keys = content if isinstance(content, dict) else {}
    if any(isinstance(key, str) and ":" in key and value is None for key, value in keys.items()):
        raise UserError(f"{option} is {text}, but YAML needs a space after a colon: {text.replace(':', ': ')}")


def _is_mapping(kind: Any) -> bool:
    return any((get_origin(x) or x) is dict for x in _choices(kind))


def _is_bool(kind: Any) -> bool:
    return bool in _choices(kind)


def _choices(kind: Any) -> list[Any]:
    return list(get_args(kind)) if get_origin(kind) in (Union, types.UnionType) else [kind]
