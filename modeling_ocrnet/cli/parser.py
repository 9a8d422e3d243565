"""What commands have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from ..common.errors import UserError
from ..data import CUSTOM_DATASETS, DATASETS, DataSource
from ..inference.engines.engine import EngineName
from ..inference.engines.precision import Precision
from ..inference.segmentation import InferenceOptions
from .spellings import Spellings, kinds_of, tell_on_stderr

_ENGINE = "The engine that runs the network (auto: the one that the folder was exported for; torch for weights)."
_PRECISION = "Precision of weights and activations (null: fp32, or the export's)."
_MODEL = "A checkpoint folder (a run's `model`), an exported folder, or a Hub repository."
DATA_FIELDS = {x.name for x in fields(DataSource)}  # of a DataSource


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Options as jsonargparse describes them, booleans as `--flip, --no-flip`, a module's docstring as it is."""

    def _format_action_invocation(self, action):
        text = super()._format_action_invocation(action)
        is_flag = action.metavar == "{true,false}" or text.endswith("{true,false}")
        option = action.option_strings[-1] if action.option_strings else ""
        return f"{option}, --no-{option[2:]}" if is_flag and option.startswith("--") else text


class Parser(ArgumentParser):
    """jsonargparse's parser, with the fields' own docstrings as help and each error on one line.

    Booleans are written `--flip` and `--no-flip`, lists `0.5,1,2`; options' old names are in `spellings`.
    """

    def __init__(self, *args, **kwargs):
        set_parsing_settings(
            docstring_parse_attribute_docstrings=True,
            instantiate_subclass_spec_in_any=False,  # no value may name a class
        )
        self.spellings = Spellings()
        super().__init__(*args, **{"formatter_class": HelpFormatter, "allow_abbrev": False, **kwargs})

    def add_option(self, name: str, **kwargs) -> None:
        """An option with a value, `--name`, as `add_argument` takes it."""
        self.spellings.kinds[name] = kwargs.get("type")
        self.add_argument(name, **kwargs)

    def add_class_arguments(self, theclass, nested_key=None, *args, **kwargs):
        prefix = f"{nested_key}." if nested_key else ""
        known = {f"--{nested_key}": theclass} if nested_key else {}
        known |= kinds_of(theclass, prefix)
        skipped = {f"--{prefix}{name}" for name in kwargs.get("skip") or ()}
        self.spellings.kinds |= {key: kind for key, kind in known.items() if key not in skipped}
        return super().add_class_arguments(theclass, nested_key, *args, **kwargs)

    def add_function_arguments(self, function: Callable, *args, **kwargs):
        skipped = {"--return", *(f"--{name}" for name in kwargs.get("skip") or ())}
        known = {key: kind for key, kind in kinds_of(function).items() if key not in skipped}
        self.spellings.kinds |= known
        return super().add_function_arguments(function, *args, **kwargs)

    def parse_args(self, args: Sequence[str] | None = None, *rest, **kwargs):
        hints: list[str] = []
        try:
            args = self.spellings.translate(sys.argv[1:] if args is None else args, hints.append)
        except UserError as error:
            self.error(str(error))
        options = super().parse_args(args, *rest, **kwargs)
        for line in hints:  # if all else is right: of a mistyped line they would mislead
            tell_on_stderr(line)
        return options

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
    parser = Parser(usage=f"%(prog)s {usage}", description=description)
    if model_needed:
        parser.add_argument("model", type=str, help=_MODEL)
    else:
        parser.add_argument("model", type=str | None, nargs="?", help=_MODEL)
    parser.add_option("--engine", type=EngineName, default="auto", help=_ENGINE)
    parser.add_option("--precision", type=Precision | None, default=None, help=_PRECISION)
    parser.add_class_arguments(InferenceOptions)
    return parser


def add_data_arguments(parser: Parser) -> None:
    """Add `--data.name`, `--data.root` and the other fields of [`DataSource`], once called `--name`, `--root`."""
    parser.add_class_arguments(DataSource, "data")
    parser.spellings.renamed |= {f"--{name}": f"--data.{name}" for name in DATA_FIELDS}


def require_dataset(parser: Parser, argv: Sequence[str]) -> None:
    """End the program with one line if the command line doesn't name a dataset."""
    given = parser.spellings.translate(argv, lambda _: None)
    if not any(text.partition("=")[0] in ("--data.name", "--data") for text in given):
        parser.error(f"give a dataset: --data.name {', '.join((*DATASETS, *CUSTOM_DATASETS))}")


def task_of(kind: type, options: Namespace) -> Any:
    """A [`DataSource`] with further fields, such as `EvaluationArguments`, from a command line's options."""
    names = [field.name for field in fields(kind) if field.name not in DATA_FIELDS]
    return kind(**vars(options.data), **{name: options[name] for name in names})


def parse(parser: Parser, argv: list[str] | None) -> tuple[Namespace, InferenceOptions]:
    """A command line's options, and those of inference. A mistake ends the program with one line."""
    options = parser.instantiate(parser.parse_args(argv))
    try:
        return options, InferenceOptions(**{field.name: options.pop(field.name) for field in fields(InferenceOptions)})
    except UserError as error:
        parser.error(str(error))
