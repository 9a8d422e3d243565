"""What the commands that segment images have in common."""

from __future__ import annotations

from dataclasses import fields

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from .segmentation import Inference

set_parsing_settings(docstring_parse_attribute_docstrings=True)


def inference_parser(description: str, model_needed: bool = True) -> ArgumentParser:
    """A parser with the model, and every field of [`Inference`] as a documented option."""
    parser = ArgumentParser(description=description)
    about = "A checkpoint folder (<output_dir>/model) or a Hub repository."
    if model_needed:
        parser.add_argument("model", type=str, help=about)
    else:
        parser.add_argument("model", type=str | None, nargs="?", help=about)
    parser.add_class_arguments(Inference)
    return parser


def parse(parser: ArgumentParser, argv: list[str] | None) -> tuple[Namespace, Inference]:
    """The options of a command line, those of inference apart; what is wrong ends the program with one line."""
    options = parser.instantiate(parser.parse_args(argv))
    try:
        return options, Inference(**{field.name: options.pop(field.name) for field in fields(Inference)})
    except ValueError as error:
        parser.error(str(error))
