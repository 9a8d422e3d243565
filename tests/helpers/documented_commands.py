"""Whether a command line of the documentation can be meant: its program, options, recipes and files exist."""

from __future__ import annotations

import configparser
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import signature

from accelerate.commands.launch import launch_command_parser

from benchmarks.__main__ import COMMANDS as BENCHMARKS
from helpers.documentation import ROOT, CommandLine
from modeling_ocrnet import HRNetConfig, OCRNetConfig
from modeling_ocrnet.cli import data
from modeling_ocrnet.cli.recipe_parser import parse_recipe
from modeling_ocrnet.training.recipe_file import find_recipe

COMMANDS = ("configure", "train", "predict", "evaluate", "data", "convert", "export", "push", "compare-loss")
FIELDS = {"--model.config.": OCRNetConfig, "--model.backbone_config.": HRNetConfig}  # options of what a class has
OF_ONES_OWN = {"mine.yaml": "own/laptop", "RECIPE": "own/laptop"}  # recipes of the reader's, each with one like it
OTHERS = ("git", "grep", "hf", "scancel", "tee", "trap")  # programs that aren't ours


class NotThere(Exception):
    """What a command line names doesn't exist; the message says what."""


@dataclass(frozen=True)
class Call:
    """A command of ours, without what launches it."""

    command: str
    subcommand: str | None
    words: tuple[str, ...]

    def parser(self):
        """The command's parser."""
        module = import_module(f"modeling_ocrnet.cli.{self.command.replace('-', '_')}")
        return module.build_parser() if self.subcommand is None else module.build_parser(self.subcommand)

    def parse(self) -> None:
        """Parse it, values and recipes too.

        Raises:
            SystemExit: if the command would end with a usage error.
        """
        if self.command == "train":
            parse_recipe(self.parser(), list(self.words))
        else:
            self.parser().parse_args(list(self.words))


def check(line: CommandLine) -> Call | None:
    """Look whether everything on a command line exists.

    Returns:
        The command of ours that it runs, if it runs one.

    Raises:
        NotThere: for a program, command, option, recipe, file, target or extra that doesn't exist.
    """
    program, *words = (OF_ONES_OWN.get(x, x) for x in line.words)
    if program in OTHERS:
        return None
    if program == "pip":
        return _check_extras(words)
    if program == "make":
        return _check_targets(words)
    readers = {"ocrnet": _of_ocrnet, "python": _of_script, "accelerate": _of_launch}
    if program not in readers:
        raise NotThere(f"{program} is not a program that is known here")
    call = readers[program](words)
    if call is not None:
        _check_options(f"ocrnet {call.command}", call.words, options_of(call.command, call.subcommand))
        _check_recipes(call.words)
    return call


def _of_ocrnet(words: Sequence[str]) -> Call:
    command, *words = words
    if command not in COMMANDS:
        raise NotThere(f"ocrnet has no command {command}")
    if command != "data":
        return Call(command, None, tuple(words))
    if words[0] not in data.COMMANDS:
        raise NotThere(f"ocrnet data has no command {words[0]}")
    return Call(command, words[0], tuple(words[1:]))


def _of_script(words: Sequence[str]) -> Call | None:
    """Of what follows `python`: a file, or `-m` and a module."""
    script, *words = words
    if script == "-m":
        module, *words = words
        if not module.startswith("modeling_ocrnet.cli."):
            raise NotThere(f"{module} is not a command of ours")
        return _of_ocrnet([module.rpartition(".")[2].replace("_", "-"), *words])
    if not (ROOT / script).is_file():
        raise NotThere(f"there is no {script}")
    source = (ROOT / script).read_text(encoding="utf-8")
    if module := re.search(r"from modeling_ocrnet\.cli\.(\w+) import main", source):
        return _of_ocrnet([module[1].replace("_", "-"), *words])
    _check_options(script, words, _benchmark_options(words[0]) if "benchmark.py" in script else _declared(source))
    return None


def _of_launch(words: Sequence[str]) -> Call | None:
    if words[0] != "launch":
        raise NotThere(f"accelerate {words[0]} is not used here")
    words = words[1:]
    script = next((i for i, x in enumerate(words) if x.endswith(".py") or x == "-m"), len(words))
    _check_options("accelerate launch", words[:script], launch_options())
    for file in (x for x in words[:script] if x.endswith(".yaml")):
        if not (ROOT / file).is_file():
            raise NotThere(f"there is no {file}")
    return _of_script(words[script:]) if script < len(words) else None


@cache
def options_of(command: str, subcommand: str | None = None) -> frozenset[str]:
    """The options of a command of ours, as its help lists them."""
    lines = Call(command, subcommand, ()).parser().format_help().splitlines()
    listed = (re.match(r"  (?=-)(.*?)(  |$)", line) for line in lines)
    return frozenset(option for x in listed if x for option in re.findall(r"--[\w.-]+", x[1]))


@cache
def launch_options() -> frozenset[str]:
    """The options of `accelerate launch`, which its help doesn't all list."""
    return frozenset(f"--{name}" for name in vars(launch_command_parser().parse_args(["script.py"])))


@cache
def all_options() -> frozenset[str]:
    """The options of all programs of ours, and of `accelerate launch`."""
    commands = [options_of(x) for x in COMMANDS if x != "data"] + [options_of("data", x) for x in data.COMMANDS]
    scripts = ("benchmarks/gpu.py", "tests/kill_and_resume.py")
    declared = [_declared((ROOT / x).read_text(encoding="utf-8")) for x in scripts]
    return launch_options().union(*commands, *declared, *map(_benchmark_options, BENCHMARKS))


def _benchmark_options(command: str) -> frozenset[str]:
    return frozenset(f"--{x}" for x in signature(BENCHMARKS[command]).parameters)


def _declared(source: str) -> frozenset[str]:
    return frozenset(re.findall(r'add_argument\("(--[\w-]+)"', source))


def unknown_options(words: Sequence[str], known: frozenset[str]) -> list[str]:
    """Options among the words that aren't known, and aren't fields of a config either."""
    given = [x.partition("=")[0] for x in words if x.startswith("--")]
    return [x for x in given if x not in known and x != "--help" and not _is_field(x)]


def _is_field(option: str) -> bool:
    return any(option.startswith(x) and hasattr(kind(), option.removeprefix(x)) for x, kind in FIELDS.items())


def _check_options(program: str, words: Sequence[str], known: frozenset[str]) -> None:
    if unknown := unknown_options(words, known):
        raise NotThere(f"{program} has no {', '.join(unknown)}")


def _check_recipes(words: Sequence[str]) -> None:
    for option, value in zip(words, words[1:], strict=False):
        if option == "--config" and not find_recipe(value).is_file():
            raise NotThere(f"there is no recipe {value}")


def _check_targets(words: Sequence[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, equals, _ = word.partition("=")
        if not re.search(rf"^{re.escape(name)} *\?=" if equals else rf"^{re.escape(name)}:", makefile, flags=re.M):
            raise NotThere(f"the Makefile has no {name}")


def _check_extras(words: Sequence[str]) -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = {extra for x in words for found in re.findall(r"\[([\w,]+)\]$", x) for extra in found.split(",")}
    if absent := wanted - set(settings["options.extras_require"]):
        raise NotThere(f"setup.cfg has no extra {min(absent)}")
