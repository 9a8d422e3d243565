"""The training loop: steps, and what happens between them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..common.errors import UserError
from ..common.runtime import use_all_cores
from ..interop.model_zoo_log import write_model_zoo_line
from .build import Experiment, build, build_accelerator, build_batches
from .checkpoint import load_checkpoint, open_run, write_recipe
from .extension import extended_by_minutes, extended_by_steps, steps_before
from .failure import check_writable, saving
from .graceful_shutdown import GracefulShutdown
from .recipe import Recipe
from .results import all_reduce_sum, evaluate, finish, measure_the_end, run_summary, save
from .run_time import RunTime, stopwatch, summary_line, taken_at_the_end
from .state import CheckpointError, TrainState, run_fingerprint
from .step import train_step, unscaled_rate
from .time_budget import TimeBudget
from .tracking import Meter, MetricsLog, log_run_header, start_logging

logger = logging.getLogger("modeling_ocrnet.training")


def train(
    recipe: Recipe,
    resume: str | None = None,
    minutes: float | None = None,
    clock: Callable[[], float] | None = None,
    extend: bool = False,
) -> Path:
    """Run an experiment to its end, or until it is told to stop.

    Args:
        recipe: the experiment.
        resume: `"last"`, `"auto"` (the last checkpoint if there is one), a checkpoint folder, or `None` for a new run.
        minutes: how long the whole run takes, in place of `schedule.max_steps`; see [`TimeBudget`].
        clock: seconds that count as the run's; by default, those since this call.
        extend: go on to a later end than the run had: to `schedule.max_steps`, or to `minutes` if they are given.

    Returns:
        `output_dir/model`, a folder for `from_pretrained`.

    Raises:
        UserError: before work starts, for what can't be done.
        NonFiniteLoss: with the step and the names of the samples.
        SaveError: if the disk is full.
        SystemExit: after a signal, with a checkpoint saved.
    """
    if extend and resume is None:
        raise UserError("--extend goes on with a run: give --resume last as well, or leave it out")
    shutdown, clock = GracefulShutdown(), clock or stopwatch()
    output_dir = Path(recipe.output)
    accelerator = build_accelerator(recipe)
    budget = None
    if minutes is not None:
        budget = TimeBudget(accelerator, minutes, timedelta(seconds=recipe.process_timeout), clock)
    use_all_cores(accelerator.device)
    check_writable(output_dir)
    checkpoint, damaged = open_run(accelerator, resume, output_dir, extend)
    output_dir.mkdir(parents=True, exist_ok=True)
    start_logging(accelerator, output_dir)
    for line in damaged:
        logger.warning("%s", line)
    experiment = build(recipe, accelerator, checkpoint)
    experiment.budget, experiment.time = budget, RunTime(clock)
    state, extension = begin(experiment, checkpoint, output_dir, extend)
    log_run_header(accelerator, recipe)
    if budget is not None:
        logger.info("the run takes %g minutes: its schedule follows the clock, not schedule.max_steps", minutes)
    if checkpoint is not None:
        logger.info("resumed from %s", checkpoint)
    if extension is not None:
        logger.info("%s", extension)
        keep_extension(experiment, state, output_dir)
    metrics = MetricsLog(accelerator, recipe, output_dir)
    redirected = logging_redirect_tqdm([logging.getLogger("modeling_ocrnet")])
    with redirected, shutdown, closing(build_batches(experiment, state.step)) as batches:
        training_loop(experiment, state, batches, metrics, output_dir, shutdown)
    finish(experiment, state, metrics, output_dir)
    return output_dir / "model"


def begin(
    experiment: Experiment, checkpoint: Path | None, output_dir: Path, extend: bool = False
) -> tuple[TrainState, str | None]:
    """The state of a new run, or that of `checkpoint`, which is loaded into the experiment; and a line on the run's new
    end, if it is extended.

    Raises:
        CheckpointError: if it can't be resumed from, or one run follows the clock and the other doesn't.
        UserError: if no time is left.
    """
    recipe, accelerator, budget = experiment.recipe, experiment.accelerator, experiment.budget
    fingerprint = run_fingerprint(accelerator, experiment.train_data, experiment.labels, experiment.order)
    if checkpoint is None:
        if accelerator.is_main_process:
            write_recipe(recipe, output_dir)
        return TrainState(fingerprint=fingerprint), None
    check_clock(budget, checkpoint)  # a run of the other kind has another recipe too
    state = load_checkpoint(accelerator, recipe, checkpoint, fingerprint, extend, by_steps=budget is None)
    state.fingerprint = fingerprint  # the number of processes may have changed
    took = taken_at_the_end(output_dir / "model", state.step, state.took)
    experiment.time.go_on(took, state.step)
    extension = None
    if budget is not None:
        if extend:
            extension, state.share = extended_by_minutes(recipe, state, budget, checkpoint)
        budget.go_on(state.seconds, state.share, took["seconds"])
    else:
        if extend:
            extension = extended_by_steps(recipe, state, steps_before(checkpoint, recipe))
        if state.step == recipe.schedule.max_steps:
            logger.info(
                "all %d steps of this run are done: none is left; to go on with it, give --extend and more "
                "--schedule.max_steps",
                state.step,
            )
    if recipe.data.streaming:
        experiment.positions = state.stream_positions(accelerator)
    if accelerator.is_main_process:
        experiment.skipped = state.skipped
    return state, extension


def check_clock(budget: TimeBudget | None, checkpoint: Path) -> None:
    """Check that the run which wrote a checkpoint followed the clock if this one does.

    Raises:
        CheckpointError: if not, or it is damaged.
    """
    state = TrainState.read(checkpoint, sys.maxsize)
    if budget is not None and state.seconds is None:
        raise CheckpointError(
            f"{checkpoint} is of a run whose length was given in steps, which --minutes can't change: leave it out; "
            "--extend goes on with such a run to more --schedule.max_steps"
        )
    if budget is None and state.seconds is not None:
        raise CheckpointError(
            f"{checkpoint} is of a run whose length was given in minutes, of which it has used "
            f"{state.seconds / 60:.1f}: give --minutes, the time of the whole run"
        )


def keep_extension(experiment: Experiment, state: TrainState, output_dir: Path) -> None:
    """Write the run's new length beside what it has come to, so that the run is resumed as any other from now on."""
    save(experiment, state, output_dir)
    if experiment.accelerator.is_main_process:
        with saving(output_dir):
            write_recipe(experiment.recipe, output_dir)


def training_loop(
    experiment: Experiment,
    state: TrainState,
    batches: Iterator[dict],
    metrics: MetricsLog,
    output_dir: Path,
    shutdown: GracefulShutdown,
) -> None:
    """All steps from `state.step` on, with their log lines, evaluations and checkpoints. `batches` gives micro-batches.

    Raises:
        NonFiniteLoss: before anything is kept of the weights after such a step.
        SystemExit: in all processes after the same step, if one of them is told to stop: after the step at hand, or one
            or two later if it takes several processes, or a device, to agree.
    """
    recipe, accelerator, flags = experiment.recipe, experiment.accelerator, experiment.flags
    last, budget = recipe.schedule.max_steps, experiment.budget

    def is_last() -> bool:
        return state.step == last if budget is None else budget.last

    def due(every: int) -> bool:
        return state.step % every == 0 or is_last()

    meter, bar = Meter(), progress_bar(experiment, state)
    for step in range(state.step, last) if budget is None else budget.steps(state.step):
        state.step = step + 1
        values = train_step(experiment, batches, step, with_accuracy=due(recipe.logging.every), shutdown=shutdown)
        accuracy = values.pop("pixel_accuracy", None)
        meter.add(values, recipe.global_batch)
        bar.update(1 if budget is None else budget.used - bar.n)
        unmeasured = budget is not None and budget.step_done()
        if due(recipe.logging.every):
            flags.read()
            log_step(experiment, state, meter, accuracy, metrics, bar)
        if unmeasured:
            flags.read()
            measure_the_end(experiment, state, metrics, output_dir)
            meter.reset()
        if due(recipe.evaluation.every) and (budget is None or budget.has_time_to_evaluate()):
            flags.read()
            evaluate(experiment, state, metrics, output_dir)
            meter.reset()
        if due(recipe.checkpoint.every):
            flags.read()
        stop = flags.stop or (accelerator.num_processes == 1 and shutdown.reason is not None)
        if stop or due(recipe.checkpoint.every):
            flags.read()
            save(experiment, state, output_dir)
            meter.reset()
        if stop and not is_last():
            reason = shutdown.reason or "another process"
            logger.info("%s", summary_line(run_summary(experiment, state), state.step))
            logger.info("stopped by %s after step %d: go on with --resume last", reason, state.step)
            raise SystemExit(shutdown.exit_code)
    bar.close()


def log_step(
    experiment: Experiment, state: TrainState, meter: Meter, accuracy: torch.Tensor, metrics: MetricsLog, bar: tqdm
) -> None:
    """The means since the last log line: on the console, in the files, and at the progress bar's end."""
    recipe, accelerator = experiment.recipe, experiment.accelerator
    line = {**meter.read(accelerator), "pixel_accuracy": accelerator.reduce(accuracy, "mean").item()}
    line["lr"] = unscaled_rate(experiment)
    if recipe.data.on_error == "skip":
        line["skipped"] = all_reduce_sum(accelerator, experiment.skipped)
    metrics.write(state.step, **line)
    if (budget := experiment.budget) is None:
        done = f"{state.step}/{recipe.schedule.max_steps}"
        left = (recipe.schedule.max_steps - state.step) * recipe.global_batch / line["images_per_second"]
    else:
        done = f"{state.step}  {budget.used / budget.seconds:.0%} of {budget.minutes:g} minutes"
        left = max(0.0, budget.left)
    logger.info(
        "step %s  loss %.4f  ocr_loss %.4f  auxiliary_loss %.4f  pixel_accuracy %.4f  lr %.3e  %.2f images/s  left %s",
        done,
        *(line[x] for x in ("loss", "ocr_loss", "auxiliary_loss", "pixel_accuracy", "lr", "images_per_second")),
        timedelta(seconds=int(left)),
    )
    bar.set_postfix(loss=f"{line['loss']:.3f}", lr=f"{line['lr']:.1e}", images=f"{line['images_per_second']:.1f}/s")
    if recipe.logging.modelzoo and accelerator.is_main_process:
        path = metrics.path.with_name("modelzoo.log")
        with saving(path):
            write_model_zoo_line(path, state.step, line["loss"], line["images_per_second"])


def progress_bar(experiment: Experiment, state: TrainState) -> tqdm:
    """Of the steps, or of the seconds if the run has so many minutes."""
    budget = experiment.budget
    disable = None if experiment.accelerator.is_main_process else True
    if budget is None:
        return tqdm(total=experiment.recipe.schedule.max_steps, initial=state.step, unit="step", disable=disable)
    form = "{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s{postfix}"
    return tqdm(total=budget.seconds, initial=budget.used, bar_format=form, disable=disable)
