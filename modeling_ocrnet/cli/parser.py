"""What commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from inspect import signature
from types import NoneType
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from ..common.errors import UserError
from ..inference.engines.engine import EngineName
from ..inference.engines.precision import Precision
from ..inference.segmentation import InferenceOptions

_ENGINE = "What runs the network (auto: what the folder was exported for; torch, for weights)."
_PRECISION = "Of weights and activations (null: fp32, or that of the export)."


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Options as jsonargparse describes them, a script's docstring as it is written."""


class Parser(ArgumentParser):
    """jsonargparse's, with the fields' own docstrings as help, and what is wrong on one line."""

    def __init__(self, *args, **kwargs):
        settings = {"docstring_parse_attribute_docstrings": True, "instantiate_subclass_spec_in_any": False}
        known = signature(set_parsing_settings).parameters  # the latter, since 4.51: no value may name a class
        set_parsing_settings(**{key: value for key, value in settings.items() if key in known})
        super().__init__(*args, **kwargs)

    def error(self, message: str, *args, **kwargs):
        super().error(" ".join(message.split()), *args, **kwargs)


def check_filled(kind: Any, value: Any, name: str = "") -> None:
    """Refuse a null where the type has no None: from files jsonargparse takes it for any.

    Args:
        kind: the type: a dataclass, of which `value` may hold some fields only, or a field's.
        value: what was given.
        name: of the field, for messages.

    Raises:
        UserError: naming the field, or the one inside it.
    """
    choices = get_args(kind)
    if value is None and kind is not Any and NoneType not in choices:
        expected = "its fields" if is_dataclass(kind) else getattr(kind, "__name__", None) if not choices else kind
        expected = str(expected).replace("typing.", "")
        raise UserError(f"{name} is empty, expected {expected}: give a value, or leave the line out for its default")
    if is_dataclass(kind):
        if not isinstance(value, (Mapping, Namespace)):
            raise UserError(f"{name} is {value!r}, expected its fields: {', '.join(get_type_hints(kind))}")
        for field, of_field in get_type_hints(kind).items():
            if field in value:
                check_filled(of_field, value[field], f"{name}.{field}" if name else field)
    if isinstance(value, (list, tuple)) and None in value:
        raise UserError(f"{name} has an empty entry, {list(value)}: give each a value, or take it out")


def inference_parser(usage: str, description: str, model_needed: bool = True) -> Parser:
    """A parser with the model, its engine, its precision, and every field of [`InferenceOptions`]."""
    parser = Parser(usage=f"%(prog)s {usage}", description=description, formatter_class=HelpFormatter)
    about = "A checkpoint folder (<output_dir>/model), what scripts/export.py wrote, or a Hub repository."
    if model_needed:
        parser.add_argument("model", type=str, help=about)
    else:
        parser.add_argument("model", type=str | None, nargs="?", help=about)
    parser.add_argument("--engine", type=EngineName, default="auto", help=_ENGINE)
    parser.add_argument("--precision", type=Precision | None, default=None, help=_PRECISION)
    parser.add_class_arguments(InferenceOptions)
    return parser


def parse(parser: Parser, argv: list[str] | None) -> tuple[Namespace, InferenceOptions]:
    """The options of a command line, those of inference apart; what is wrong ends the program with one line."""
    options = parser.instantiate(parser.parse_args(argv))
    try:
        return options, InferenceOptions(**{field.name: options.pop(field.name) for field in fields(InferenceOptions)})
    except UserError as error:
        parser.error(str(error))
