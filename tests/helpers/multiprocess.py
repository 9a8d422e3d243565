"""Training processes as launchers start them, but forked from a server that has imported everything: in a second."""

import json
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from helpers.process_state import replace_for_good
from helpers.tiny import freeze_statistics

SCRIPTS = Path(__file__).parents[2] / "scripts"
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["modeling_ocrnet.training.dry_run", "safetensors.torch", "yaml"])


class Ranks:
    """`function(*args)` in `world` processes that find each other over gloo, each in a group of its own.

    What process i writes is in `folder/rank<i>.txt`. No process is left when the block ends.

    Args:
        environment: variables beside those that torchrun sets.
    """

    def __init__(self, folder: Path, function, *args, world: int = 1, environment: dict[str, str] | None = None):
        self.outputs = [folder / f"rank{rank}.txt" for rank in range(world)]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.processes = []
        for rank, output in enumerate(self.outputs):
            variables = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "01"}  # not "1": see conftest.py
            if world > 1:
                variables |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
                variables |= {"LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                variables["ACCELERATE_USE_CPU"] = "true"
            variables |= environment or {}
            self.processes.append(_context.Process(target=_run, args=(output, variables, function, args)))

    def __enter__(self):
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_):
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it hadn't made its group yet, or is gone
                process.kill()
            process.join()

    def text(self, rank: int = 0) -> str:
        return self.outputs[rank].read_text() if self.outputs[rank].exists() else ""

    def last_line(self, rank: int = 0) -> str:
        return self.text(rank).strip().splitlines()[-1]

    def until(self, condition, seconds: float = 120) -> None:
        """Wait for something that the processes do."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or all(x.exitcode is not None for x in self.processes):
                pytest.fail("\n".join(self.text(rank)[-2000:] for rank in range(len(self.processes))))
            time.sleep(0.02)

    def exit_codes(self, seconds: float = 120) -> list[int]:
        """Of all processes, which must end by themselves."""
        deadline = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0, deadline - time.monotonic()))
        if any(x.exitcode is None for x in self.processes):
            pytest.fail("not ended:\n" + "\n".join(self.text(rank)[-2000:] for rank in range(len(self.processes))))
        return [x.exitcode for x in self.processes]

    def workers(self, rank: int = 0) -> list[psutil.Process]:
        """The data workers of a process."""
        return psutil.Process(self.processes[rank].pid).children()


def write(recipe, folder: Path) -> Path:
    """The recipe as a file, for `--config`."""
    from modeling_ocrnet.training.checkpoint import write_recipe

    folder.mkdir(exist_ok=True)
    write_recipe(recipe, folder)
    return folder / "recipe.yaml"


def train(folder: Path, recipe, *options: str, before=None, **keywords) -> Ranks:
    """scripts/train.py on a recipe.

    Args:
        before: called in each process first.
    """
    return Ranks(folder, _train, before, ["--config", str(write(recipe, folder)), *options], **keywords)


def write_losses(recipe, frozen: bool, target: Path) -> None:
    """The losses of all steps, means over the processes, and a running mean of the first process."""
    from modeling_ocrnet.training import loop

    accelerator = loop.build_accelerator(recipe)
    experiment = loop.build(recipe, accelerator)
    if frozen:
        freeze_statistics(experiment.bare_model)
    batches = loop.build_batches(experiment, 0)
    losses = []
    for step in range(recipe.schedule.max_steps):
        losses.append(accelerator.reduce(loop.train_step(experiment, batches, step)["loss"], "mean").item())
    if accelerator.is_main_process:
        norm = experiment.bare_model.backbone.bn1
        found = {"losses": losses, "statistics": norm.running_mean.tolist(), "norm": type(norm).__name__}
        target.write_text(json.dumps(found | {"device": str(norm.weight.device)}))


def losses_of_one_and_two(make_recipe, folder: Path) -> dict[int, dict]:
    """What [`write_losses`] writes in one process, and in two that share the work.

    Args:
        make_recipe: called with a name for the run's folder.
    """
    found = {}
    for world in (1, 2):
        own = folder / f"world{world}"
        own.mkdir()
        target = own / "losses.json"
        recipe = make_recipe(own.name)
        if world == 1:
            write_losses(recipe, False, target)
        else:
            with Ranks(own, write_losses, recipe, False, target, world=world) as run:
                assert run.exit_codes() == [0] * world, run.text()
        found[world] = json.loads(target.read_text())
    return found


def _run(output: Path, variables: dict[str, str], function, args) -> None:
    os.setsid()
    multiprocessing.set_start_method(None, force=True)  # data workers start as they do elsewhere
    os.environ.update(variables)
    with output.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    function(*args)


def _train(before, argv: list[str]) -> None:
    if before is not None:
        before()
    replace_for_good(sys, "path", [str(SCRIPTS), *sys.path])
    replace_for_good(sys, "argv", ["train.py", *argv])
    try:
        runpy.run_path(str(SCRIPTS / "train.py"), run_name="__main__")
    except SystemExit as end:
        code = end.code
    else:
        code = 0
    sys.exit(code)  # nothing of what the exception held is left, as in the interpreter
