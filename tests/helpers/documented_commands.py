"""Whether a command line of the documentation can be meant: its program, options, recipes and files exist."""

from __future__ import annotations

import configparser
import re
from functools import cache
from importlib import import_module
from inspect import signature

from helpers.documentation import ROOT, CommandLine

from benchmarks.__main__ import COMMANDS as BENCHMARKS
from modeling_ocrnet import OCRNetConfig
from modeling_ocrnet.configuration_hrnet import HRNetConfig
from modeling_ocrnet.training.recipe_file import find_recipe

COMMANDS = ("train", "predict", "evaluate", "data", "convert", "export", "push", "compare-loss")
FREE_FIELDS = {"--model.config.": OCRNetConfig, "--model.backbone_config.": HRNetConfig}  # of any name a class has
OTHERS = ("pip", "git", "hf", "scancel", "trap", "grep", "tee")  # programs that aren't ours


def problem(line: CommandLine) -> str | None:
    """What is wrong with a command line; `None` if nothing is."""
    program, *words = line.words
    if program in OTHERS:
        return _extras(words) if program == "pip" else None
    checks = {"ocrnet": _ocrnet, "python": _script, "make": _make, "accelerate": _launch}
    return checks[program](words) if program in checks else f"{program} is no program that is known here"


@cache
def options_of(command: str, subcommand: str | None = None) -> frozenset[str]:
    """The options of a command of ours, as its help lists them."""
    module = import_module(f"modeling_ocrnet.cli.{command.replace('-', '_')}")
    parser = module.build_parser() if subcommand is None else module.build_parser(subcommand)
    return _in_help(parser.format_help())


def _in_help(text: str) -> frozenset[str]:
    listed = (re.match(r"  (?=-)(.*?)(  |$)", line) for line in text.splitlines())
    return frozenset(option for x in listed if x for option in re.findall(r"--[\w.-]+", x[1]))


def all_options() -> frozenset[str]:
    """Those of all commands of ours, and of `accelerate launch`."""
    data = import_module("modeling_ocrnet.cli.data")
    ours = [options_of(x) for x in COMMANDS if x != "data"] + [options_of("data", x) for x in data.COMMANDS]
    return _launch_options().union(*ours)


@cache
def _launch_options() -> frozenset[str]:
    from accelerate.commands.launch import launch_command_parser

    return _in_help(re.sub(r"\n +-", "\n  -", launch_command_parser().format_help()))


def unknown_options(words: list[str], known: frozenset[str]) -> list[str]:
    """Options among the words that are not known, nor a field of a config."""
    given = [x.partition("=")[0] for x in words if x.startswith("--")]
    return [x for x in given if x not in known and not _is_free_field(x)]


def _is_free_field(option: str) -> bool:
    return any(
        option.startswith(prefix) and hasattr(kind(), option.removeprefix(prefix))
        for prefix, kind in FREE_FIELDS.items()
    )


def _ocrnet(words: list[str]) -> str | None:
    if words[0] not in COMMANDS:
        return f"ocrnet has no command {words[0]}"
    command, words = words[0], words[1:]
    subcommand = None
    if command == "data":
        if words[0] not in import_module("modeling_ocrnet.cli.data").COMMANDS:
            return f"ocrnet data has no command {words[0]}"
        subcommand, words = words[0], words[1:]
    if unknown := unknown_options(words, options_of(command, subcommand) | {"--help"}):
        return f"ocrnet {command} has no {', '.join(unknown)}"
    return _recipe(words)


def _recipe(words: list[str]) -> str | None:
    named = [after for word, after in zip(words, words[1:], strict=False) if word == "--config"]
    absent = [x for x in named if not find_recipe(x).is_file() and x not in ("RECIPE", "...")]
    return f"there is no recipe {absent[0]}" if absent else None


def _script(words: list[str]) -> str | None:
    path = ROOT / words[0]
    if words[0] == "-m":
        module = re.fullmatch(r"modeling_ocrnet\.cli\.(\w+)", words[1])
        return _ocrnet([module[1].replace("_", "-"), *words[2:]]) if module else f"-m {words[1]} is no command of ours"
    if not path.is_file():
        return f"there is no {words[0]}"
    source = path.read_text(encoding="utf-8")
    if module := re.search(r"from modeling_ocrnet\.cli\.(\w+) import main", source):
        return _ocrnet([module[1].replace("_", "-"), *words[1:]])
    if path.name == "benchmark.py":
        known = {f"--{x}" for x in signature(BENCHMARKS[words[1]]).parameters}
    else:
        known = set(re.findall(r'add_argument\("(--[\w-]+)"', source))
    unknown = unknown_options(words[1:], frozenset(known))
    return f"{words[0]} has no {', '.join(unknown)}" if unknown else None


def _launch(words: list[str]) -> str | None:
    if words[0] != "launch":
        return f"accelerate {words[0]} is not used here"
    words = words[1:]
    script = next((i for i, x in enumerate(words) if x.endswith(".py") or x == "-m"), len(words))
    if unknown := unknown_options(words[:script], _launch_options()):
        return f"accelerate launch has no {', '.join(unknown)}"
    files = [x for x in words[:script] if x.endswith(".yaml")]
    if absent := [x for x in files if not (ROOT / x).is_file()]:
        return f"there is no {absent[0]}"
    return _script(words[script:]) if script < len(words) else None


def _make(words: list[str]) -> str | None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, equals, _ = word.partition("=")
        if not re.search(rf"^{re.escape(name)} *\?=" if equals else rf"^{re.escape(name)}:", makefile, flags=re.M):
            return f"the Makefile has no {name}"
    return None


def _extras(words: list[str]) -> str | None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = {y for x in words for found in re.findall(r"\[([\w,]+)\]$", x) for y in found.split(",")}
    absent = wanted - set(settings["options.extras_require"])
    return f"setup.cfg has no extra {sorted(absent)[0]}" if absent else None
