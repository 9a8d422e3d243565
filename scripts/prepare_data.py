"""Get a dataset ready.

    python scripts/prepare_data.py export --name cityscapes --root /data/cityscapes \\
        --output_dir /fast/cityscapes --store raw

export: sharded Parquet to stream or to share (--push you/name --private true), or a raw store to train from without
decoding: give its folder as --data.root. Run again after an interruption, it goes on.
"""

import logging
import sys

import _path  # noqa: F401
from jsonargparse import ArgumentParser

from modeling_ocrnet.hub.folder import HubError
from modeling_ocrnet.inference.command_line import HelpFormatter
from modeling_ocrnet.preparation.export import export

COMMANDS = {"export": export}


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    commands = parser.add_subcommands(dest="command")
    for name, function in COMMANDS.items():
        command = ArgumentParser(description=function.__doc__.splitlines()[0], formatter_class=HelpFormatter)
        command.add_function_arguments(function)
        commands.add_subcommand(name, command)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        print(COMMANDS[options.command](**options[options.command]))
    except (ValueError, OSError, HubError) as error:  # DataError is a ValueError
        sys.exit(f"prepare_data.py: {error}")


if __name__ == "__main__":
    main()
