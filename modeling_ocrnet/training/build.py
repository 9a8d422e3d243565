"""From a recipe to the objects that train it, with every check that can be made before work starts."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, ProjectConfiguration, set_seed
from datasets import Dataset, IterableDataset

from .. import data
from ..common.errors import UserError
from ..common.optional import import_optional
from ..data.augmentations import for_classes, read_augmentations
from ..data.decoding import Decode
from ..data.iterable_style import Position, streamed_batches
from ..data.map_style import MicroBatchSampler, TrainingDataset, training_batches
from ..data.normalization import FIELDS, Normalization
from ..data.sampling import Order
from ..data.transforms import TrainingTransform
from ..evaluation.launch import check_launch
from ..image_processing_ocrnet import OCRNetImageProcessor
from ..modeling_ocrnet import OCRNetForSemanticSegmentation
from .batch_norm_values import check_batch_norms
from .build_model import (
    build_config,
    build_model,
    build_processor,
    new_model,
    read_start,
    read_variant,
    resumed_processor,
)
from .build_order import build_order, chosen_classes
from .fast_layers import convert_for_training
from .freezing import freeze, keep_frozen_norms_in_eval, log_frozen
from .lora import add_adapters
from .network import keep_in_checkpoints, read_network
from .optimization import EMA, build_optimizer
from .recipe import Recipe
from .run_time import RunTime
from .sharding import set_up_sharding, supports_channels_last, supports_fused_optimizer
from .step_flags import StepFlags
from .time_budget import TimeBudget
from .to_device import ToDevice, can_pin

logger = logging.getLogger("modeling_ocrnet.training")

STREAM_CHECKED = 16  # samples of a stream that are read before training starts


@dataclass
class Experiment:
    """What a run consists of.

    `model` is wrapped for distributed training, `bare_model` is not. `flags`: whether steps are sound, and a process
    wants to stop. `ema`: the weights' moving average, if the recipe wants one. `adapter`: peft's model around
    `bare_model`, if that has adapters. `positions`: how far this process's workers of a stream have come. `order`:
    of the samples, if it isn't the default. `skipped`: samples that this process couldn't read and replaced. `budget`:
    the run's time, if that was given instead of a number of steps. `time`: what the run has taken.
    """

    recipe: Recipe
    accelerator: Accelerator
    labels: data.LabelSet
    train_data: Dataset | IterableDataset
    val_data: Dataset
    bare_model: OCRNetForSemanticSegmentation
    processor: OCRNetImageProcessor
    model: Any = None
    optimizer: Any = None
    flags: StepFlags = field(init=False)
    to_device: ToDevice = field(init=False)
    ema: EMA | None = None
    adapter: Any = None
    positions: list[Position] | None = None
    order: Order | None = None
    skipped: int = 0
    budget: TimeBudget | None = None
    time: RunTime = field(default_factory=RunTime)


def build_accelerator(recipe: Recipe) -> Accelerator:
    """Devices, precision, accumulation and trackers.

    Raises:
        UserError: for what this machine or installation can't do.
    """
    for tracker in recipe.logging.trackers:
        if importlib.util.find_spec(tracker) is None:
            raise UserError(f"logging.trackers asks for {tracker}, which isn't installed: pip install {tracker}")
    if recipe.lora.rank is not None:
        import_optional("peft")
    accelerator = Accelerator(
        mixed_precision=recipe.mixed_precision,
        log_with=recipe.logging.trackers or None,
        project_config=ProjectConfiguration(project_dir=recipe.output),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=recipe.process_timeout))],
    )
    check_launch(accelerator)
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise UserError("fp16 on a CPU would silently be fp32: use --mixed_precision bf16 or no")
    accelerator.gradient_accumulation_steps = recipe.accumulation_steps(accelerator.num_processes)
    set_up_sharding(accelerator, recipe)
    return accelerator


def build_data(
    recipe: Recipe, accelerator: Accelerator, labels: data.LabelSet
) -> tuple[Dataset | IterableDataset, Dataset]:
    """The training and the validation split, checked; of a stream, the first samples are.

    Raises:
        DataError: naming the files that are wrong, or what the list of classes can't mean.
    """
    skip = recipe.data.on_error == "skip"
    with accelerator.main_process_first():  # a dataset may have to be made
        val = data.load(recipe.data, split=recipe.evaluation.split)
        if recipe.data.streaming:
            train = data.hub.stream(recipe.data, recipe.data.split)
        else:
            train = data.load(recipe.data, split=recipe.data.split)
    if accelerator.is_main_process:
        found = [(recipe.evaluation.split, val, data.check(val))]
        if recipe.data.streaming:
            decode = Decode(labels, value_range=recipe.data.value_range, max_pixels=recipe.data.max_pixels)
            first = data.check_sample(train.take(STREAM_CHECKED), decode, tolerate=skip)
            found.insert(0, (recipe.data.split, None, first))
        else:
            found.insert(0, (recipe.data.split, train, data.check(train, labelled=True, tolerate=skip)))
        for split, _, findings in found:
            data.log_findings(findings, labels, split)
        for split, dataset, findings in found:
            if dataset is not None:  # more of a stream may be labelled
                data.require_labelled(dataset, findings, split)
        data.check_classes(labels, [(dataset, findings) for _, dataset, findings in found])
    if recipe.evaluation.limit is not None:
        val = val.select(range(min(recipe.evaluation.limit, len(val))))
        if accelerator.is_main_process:
            data.require_labelled(val, None, f"{recipe.evaluation.split}, evaluation.limit {len(val)}")
    accelerator.wait_for_everyone()
    return train, val


def check_class_names(recipe: Recipe, labels: data.LabelSet) -> None:
    """Refuse a recipe whose sampler or augmentations name a class that the data don't have.

    Raises:
        UserError: for such a name.
    """
    chosen_classes(recipe.sampler, labels)
    for_classes(read_augmentations(recipe.data.augmentations), labels)


def build(recipe: Recipe, accelerator: Accelerator, checkpoint: Path | None = None) -> Experiment:
    """Everything, in the order in which mistakes are cheapest to find.

    With a checkpoint, which holds all weights, the recipe's starting weights aren't needed: none are read or fetched.
    """
    labels = data.label_set(recipe.data)
    network = None if checkpoint is None else read_network(checkpoint)
    start = None
    if network is None:
        with accelerator.local_main_process_first():  # one process downloads
            start = read_start(recipe)
            read_variant(recipe)
    # what these refuse needs no data
    check_class_names(recipe, labels)
    config = build_config(recipe, labels, start) if network is None else network[0]
    if recipe.micro_batch == 1 and not _synchronises(recipe, accelerator):
        check_batch_norms(config, recipe.data.crop_size)
    train_data, val_data = build_data(recipe, accelerator, labels)
    order = build_order(recipe, accelerator, labels, train_data)
    set_seed(recipe.seed)
    if network is None:
        with accelerator.local_main_process_first():
            model = build_model(recipe, labels, start)
            processor = build_processor(recipe, labels.ignore, start)
    else:
        model, processor = new_model(recipe, config), resumed_processor(recipe, labels.ignore, *network)
    keep_in_checkpoints(accelerator, model.config, processor)
    freeze(model, recipe.model.freeze)
    model = _on_device(model, recipe, accelerator)
    if recipe.model.freeze is not None:
        log_frozen(model, keep_frozen_norms_in_eval(model))
    adapter = None if recipe.lora.rank is None else add_adapters(model, recipe)
    optimizer = build_optimizer(model, recipe, fused=supports_fused_optimizer(accelerator))
    experiment = Experiment(recipe, accelerator, labels, train_data, val_data, model, processor, adapter=adapter)
    experiment.order = order
    if recipe.data.streaming:
        experiment.positions = [(0, 0)] * max(1, recipe.data.workers)
    if recipe.model.ema_decay is not None:
        # before Accelerate wraps the model; each process keeps one, and all are moved by the same steps
        experiment.ema = EMA(model, recipe.model.ema_decay)
        accelerator.register_for_checkpointing(experiment.ema)
    experiment.model, experiment.optimizer = accelerator.prepare(model, optimizer)
    experiment.flags = StepFlags(accelerator, optimizer)
    experiment.to_device = ToDevice(accelerator.device)
    experiment.model.train()
    return experiment


def _on_device(
    model: OCRNetForSemanticSegmentation, recipe: Recipe, accelerator: Accelerator
) -> OCRNetForSemanticSegmentation:
    """The model in the form that trains on this device."""
    # before the optimizer is made: some devices replace the parameters when the model moves
    model = model.to(accelerator.device)
    if recipe.model.channels_last and supports_channels_last(accelerator):
        model = model.to(memory_format=torch.channels_last)
    if recipe.model.fast_layers:
        convert_for_training(model)
    if _synchronises(recipe, accelerator):
        return torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if recipe.model.sync_batch_norm and accelerator.num_processes > 1 and accelerator.is_main_process:
        logger.info("%s can't synchronise batch norms: each process has its own statistics", accelerator.device)
    return model


def _synchronises(recipe: Recipe, accelerator: Accelerator) -> bool:
    """Whether batch norms have the statistics of all processes together."""
    return recipe.model.sync_batch_norm and accelerator.num_processes > 1 and _can_sync(accelerator.device)


def _can_sync(device: torch.device) -> bool:
    """Whether a device has SyncBatchNorm's kernels: a CPU hasn't, nor need every other."""
    try:
        torch.batch_norm_stats(torch.ones(1, 1, 1, 1, device=device), 1e-5)
    except RuntimeError:  # NotImplementedError is one
        return False
    return True


def build_batches(experiment: Experiment, start: int) -> Generator[dict, None, None]:
    """This process's micro-batches from step `start` to the end of the run; a stream's go on from `positions`."""
    recipe, accelerator = experiment.recipe, experiment.accelerator
    options = recipe.data
    transform = TrainingTransform(
        crop_size=options.crop_size,
        scale=options.scale,
        ratio_range=options.ratio_range,
        cat_max_ratio=options.cat_max_ratio,
        flip_probability=options.flip_probability,
        photometric=options.photometric,
        flip_pairs=experiment.labels.flip_pairs,
        augmentations=for_classes(read_augmentations(options.augmentations), experiment.labels),
        normalization=Normalization.of({name: getattr(experiment.processor, name) for name in FIELDS}),
    )
    pinned = can_pin(accelerator.device)
    if recipe.data.streaming:
        return streamed_batches(
            experiment.train_data,
            Decode(experiment.labels, value_range=options.value_range, max_pixels=options.max_pixels),
            transform,
            seed=recipe.seed,
            buffer_size=options.shuffle_buffer,
            micro_batch=recipe.micro_batch,
            workers=options.workers,
            rank=accelerator.process_index,
            processes=accelerator.num_processes,
            start=experiment.positions,
            taken=start * accelerator.gradient_accumulation_steps,
            pin_memory=pinned,
            skip=options.on_error == "skip",
        )
    batches = MicroBatchSampler(
        global_batch=recipe.global_batch,
        micro_batch=recipe.micro_batch,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
        start=start,
        stop=recipe.schedule.max_steps if experiment.budget is None else sys.maxsize,
    )
    skip = options.on_error == "skip"
    stream = TrainingDataset(experiment.train_data, transform, recipe.seed, skip, experiment.order)
    return training_batches(stream, batches, options.workers, pin_memory=pinned)
