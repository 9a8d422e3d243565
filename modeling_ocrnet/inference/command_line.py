"""What commands have in common."""

from __future__ import annotations

import argparse
from dataclasses import fields

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from .engines import EngineName
from .precision import Precision
from .segmentation import Inference

set_parsing_settings(docstring_parse_attribute_docstrings=True)


_ENGINE = "What runs the network (auto: what the folder was exported for; torch, for weights)."
_PRECISION = "Of weights and activations (null: fp32, or that of the export)."


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Options as jsonargparse describes them, a script's docstring as it is written."""


def inference_parser(usage: str, description: str, model_needed: bool = True) -> ArgumentParser:
    """A parser with the model, its engine and precision, and every field of [`Inference`] as a documented option."""
    parser = ArgumentParser(usage=f"%(prog)s {usage}", description=description, formatter_class=HelpFormatter)
    about = "A checkpoint folder (<output_dir>/model), what scripts/export.py wrote, or a Hub repository."
    if model_needed:
        parser.add_argument("model", type=str, help=about)
    else:
        parser.add_argument("model", type=str | None, nargs="?", help=about)
    parser.add_argument("--engine", type=EngineName, default="auto", help=_ENGINE)
    parser.add_argument("--precision", type=Precision | None, default=None, help=_PRECISION)
    parser.add_class_arguments(Inference)
    return parser


def parse(parser: ArgumentParser, argv: list[str] | None) -> tuple[Namespace, Inference]:
    """The options of a command line, those of inference apart; what is wrong ends the program with one line."""
    options = parser.instantiate(parser.parse_args(argv))
    try:
        return options, Inference(**{field.name: options.pop(field.name) for field in fields(Inference)})
    except ValueError as error:
        parser.error(str(error))
