"""The recipe: everything that describes an experiment. The defaults are mmsegmentation's 40k Cityscapes recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..common.errors import UserError
from ..conversion.imagenet import IMAGENET_WEIGHTS
from ..data.source import DataSource
from ..inference.segmentation import InferenceOptions
from .recipe_checks import check_numbers, renamed_fields


@dataclass
class DataRecipe(DataSource):
    """What is trained on, and how it is augmented."""

    split: str = "train"
    """Split to train on."""
    streaming: bool = False
    """Of hub: read the training split as it is downloaded; each data process reads its own share."""
    shuffle_buffer: int = 256
    """Of streaming: undecoded samples that each data process shuffles among."""
    crop_size: tuple[int, int] = (512, 1024)
    """Height and width of the training crops."""
    scale: tuple[int, int] = (2048, 1024)
    """Long and short edge that a random resize by 1 leads to; the aspect is kept."""
    ratio_range: tuple[float, float] = (0.5, 2.0)
    """Range of the random resize."""
    cat_max_ratio: float = 0.75
    """Crops in which one class covers more than this share are drawn again, ten times at most."""
    flip_probability: float = 0.5
    """Probability of a horizontal flip."""
    photometric: bool = True
    """Distort brightness, contrast, saturation and hue."""
    workers: int = 4
    """Processes that load data, for each training process."""
    on_error: Literal["stop", "skip"] = "stop"
    """If a training sample can't be read: stop, or say so, count it and take another in its place."""


@dataclass
class ModelRecipe:
    """What is trained."""

    variant: str = "hr18"
    """Architecture: hr18s, hr18, hr32, hr48, hr64 or r101-d8 (needs timm)."""
    backbone: str | None = "auto"
    """ImageNet weights of the backbone: auto (those of the variant), a Hub repository or a local file (null: train from
    scratch)."""
    config: dict[str, Any] = field(default_factory=dict)
    """Further fields of OCRNetConfig, such as dropout, class_weights, ohem_threshold; loss_normalizer (all: ignored
    pixels count in the loss's mean, as in mmsegmentation; valid: they don't), lovasz_weight, align_corners."""
    backbone_config: dict[str, Any] = field(default_factory=dict)
    """Further fields of HRNetConfig (r101-d8: TimmBackboneConfig): zero_init_residual, fuse_upsample ..."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, slower."""
    channels_last: bool = True
    """Keep images as (height, width, channels) in memory: faster on CPUs and on recent GPUs."""
    fast_layers: bool = True
    """Train with faster layers of the same state dict: CPUs gain most, and results differ by rounding alone."""
    sync_batch_norm: bool = True
    """Batch norm statistics over all processes, if there are several and their device can."""
    ema_decay: float | None = None
    """Average the weights too, with this decay a step, e.g. 0.999 (null: don't); evaluated and saved beside them."""

    def __post_init__(self):
        self.config = renamed_fields(self.config)


@dataclass
class OptimizerRecipe:
    """How weights are updated."""

    name: Literal["sgd", "adamw"] = "sgd"
    """The published recipes use SGD; AdamW learns faster from scratch if there are few steps."""
    lr: float = 0.01
    """Learning rate at the start (after the warm-up)."""
    momentum: float = 0.9
    """Momentum (of SGD)."""
    weight_decay: float = 5e-4
    """Weight decay, of all parameters."""
    head_lr_multiplier: float = 1.0
    """The heads' learning rate is this many times the backbone's."""
    clip_norm: float | None = None
    """Clip the gradients to this norm."""


@dataclass
class ScheduleRecipe:
    """Polynomial decay with a floor, counted in optimizer steps."""

    max_steps: int = 40_000
    """Optimizer steps of the whole run."""
    power: float = 0.9
    """Power of the decay."""
    min_lr: float = 1e-4
    """Learning rate of the last step."""
    warmup_steps: int = 0
    """Steps of a linear warm-up."""
    warmup_ratio: float = 0.1
    """The warm-up starts at this share of the learning rate."""


@dataclass
class EvaluationRecipe:
    """Evaluation while training."""

    every: int = 4000
    """Steps between evaluations; the last step is always evaluated."""
    split: str = "val"
    """Split to evaluate on."""
    resize: bool = False
    """Resize images to data.scale first; the image processor that is saved does so too."""
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    """How images are segmented."""
    limit: int | None = None
    """Evaluate on the first so many images alone."""


@dataclass
class CheckpointRecipe:
    """What can be resumed."""

    every: int = 4000
    """Steps between checkpoints; the last step always leaves one."""
    keep_last: int = 2
    """Checkpoints to keep."""
    keep_best: bool = True
    """Keep the weights of the best evaluation besides, in best/."""


@dataclass
class LoggingRecipe:
    """What is said while training."""

    every: int = 50
    """Steps between log lines."""
    trackers: list[Literal["tensorboard", "trackio", "wandb"]] = field(default_factory=list)
    """Also log to these."""
    modelzoo: bool = False
    """Also write the SDAA model zoo's TCAPPDLL lines, to modelzoo.log and to standard output."""
    pictures: int = 6
    """Validation images to draw predictions of at the end."""


@dataclass
class Recipe:
    """An experiment."""

    data: DataRecipe = field(default_factory=DataRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    checkpoint: CheckpointRecipe = field(default_factory=CheckpointRecipe)
    logging: LoggingRecipe = field(default_factory=LoggingRecipe)
    global_batch: int = 8
    """Images of one optimizer step, over all processes and accumulation steps."""
    micro_batch: int = 2
    """Images of one forward pass of one process: fewer take less memory. Batch norm sees these alone (with
    sync_batch_norm: those of all processes): fewer than the published ones change what is learnt."""
    mixed_precision: Literal["no", "fp16", "bf16"] | None = None
    """Precision (null: what accelerate launch says). Softmaxes and losses stay in float32 in all of them."""
    process_timeout: float = 1800.0
    """Seconds that training processes wait for each other: one that is lost ends the run after them at the latest."""
    seed: int = 0
    """Seed of weights, order and augmentation."""
    output: str | None = None
    """The run's folder (null: runs/<path of the recipe below configuration/>)."""

    def __post_init__(self):
        decay = self.model.ema_decay
        if decay is not None and not 0 < decay < 1:
            raise UserError(
                f"model.ema_decay must be between 0 and 1, got {decay}: 0.999 averages over about the last 1000 steps"
            )
        if self.model.backbone == "auto":
            self.model = replace(self.model, backbone=IMAGENET_WEIGHTS.get(self.model.variant, "auto"))
        check_numbers(flatten(as_dict(self)))
        low, high = self.data.ratio_range
        if low > high:
            raise UserError(f"data.ratio_range must be two positive numbers in order, got {self.data.ratio_range}")
        # the rate would rise from the first step on
        base = self.optimizer.lr * min(1, self.optimizer.head_lr_multiplier)
        if self.schedule.min_lr > base:
            raise UserError(
                f"schedule.min_lr is {self.schedule.min_lr}, above the learning rate {base:g} that it is the floor of: "
                "choose a lower one"
            )
        if self.data.streaming and self.data.name != "hub":
            raise UserError(f"data.streaming is for data.name hub; {self.data.name!r} is read from its files as it is")

    def accumulation_steps(self, processes: int) -> int:
        """Forward passes of each process per step.

        Raises:
            UserError: if micro-batches and processes don't make up the global batch.
        """
        steps, rest = divmod(self.global_batch, self.micro_batch * processes)
        if rest or not steps:
            raise UserError(
                f"a global batch of {self.global_batch} can't be made of micro-batches of {self.micro_batch} on "
                f"{processes} process{'es' if processes > 1 else ''}: choose --global_batch as a multiple of "
                f"{self.micro_batch * processes}, or another --micro_batch"
            )
        return steps


# Fields that may differ between a checkpoint and the run that resumes it: they don't change what is computed.
MAY_DIFFER_ON_RESUME = (
    "output",
    "output_dir",  # its name in older runs
    "data.root",
    "data.classes",
    "data.workers",
    "data.on_error",
    "process_timeout",
    "evaluation.",
    "checkpoint.",
    "logging.",
    "model.backbone",
    "model.fast_layers",
)


def differences(ours: dict, theirs: dict) -> list[str]:
    """What keeps a run of the recipe `ours` from continuing one of `theirs` (both as dicts), a line a field.

    A field that one of them doesn't have, because it is older, has its default there.
    """
    defaults = flatten(as_dict(Recipe()))
    flat_ours, flat_theirs = defaults | flatten(ours), defaults | renamed_fields(flatten(theirs), "model.config.")
    # how a stream is shared out depends on its workers
    free = {x for x in MAY_DIFFER_ON_RESUME if x != "data.workers" or not flat_ours["data.streaming"]}
    groups = tuple(x for x in MAY_DIFFER_ON_RESUME if x.endswith("."))
    return [
        f"{key}: {flat_theirs.get(key)!r} in the checkpoint, now {flat_ours.get(key)!r}"
        for key in sorted(flat_ours.keys() | flat_theirs.keys())
        if not (key in free or key.startswith(groups)) and flat_ours.get(key) != flat_theirs.get(key)
    ]


def flatten(values: dict, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` to `{"a.b": 1}`; tuples become lists, as YAML has it."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def as_dict(recipe: Recipe) -> dict:
    """The recipe as plain values, ready for YAML or JSON."""
    return _plain(asdict(recipe))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(x) for key, x in value.items()}
    return [_plain(x) for x in value] if isinstance(value, (list, tuple)) else value
