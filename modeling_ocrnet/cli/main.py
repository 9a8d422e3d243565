"""The `ocrnet` command: `ocrnet train`, `ocrnet predict` ... Each subcommand is a module of this folder.

`ocrnet train` runs in one process; several are started by `accelerate launch -m modeling_ocrnet.cli.train`.
"""

from __future__ import annotations

import importlib
import sys

from ..configuration_ocrnet import VERSION
from .run import choose_command

# name: module, and what the command does
COMMANDS = {
    "train": ("train", "Train a model by a recipe."),
    "predict": ("predict", "Segment images: label maps, coloured masks, overlays."),
    "evaluate": ("evaluate", "Score a model on a dataset; write a submission for a test server."),
    "data": ("data", "Inspect a dataset, show its layout, export it."),
    "configure": ("configure", "Write a recipe for your data and this machine, with reasons."),
    "convert": ("convert", "Convert a checkpoint of mmsegmentation, of the paper's authors, openseg or timm."),
    "export": ("export", "Export a model for ONNX Runtime, OpenVINO or PyTorch."),
    "push": ("push", "Share a model on the Hugging Face Hub."),
    "compare-loss": ("compare_loss", "Compare the losses of two training runs."),
}


def usage() -> str:
    """What `ocrnet --help` prints."""
    lines = [f"  {name:<14}{about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ocrnet COMMAND [options]",
            "",
            "OCRNet for semantic segmentation, as a Hugging Face model.",
            "",
            "commands:",
            *lines,
            "",
            "ocrnet COMMAND --help explains a command's options. ocrnet --version prints the version.",
        ]
    )


def main(argv: list[str] | None = None) -> None:
    """Run the subcommand that the first argument names.

    Raises:
        SystemExit: with the subcommand's exit code; 2 if there is no such subcommand.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["--version"]:
        print(VERSION)
        return
    name, rest = choose_command("ocrnet", COMMANDS, usage(), argv)
    sys.argv = [f"ocrnet {name}", *rest]  # how messages and --help call the command
    importlib.import_module(f"{__package__}.{COMMANDS[name][0]}").main(rest)


if __name__ == "__main__":
    main()
