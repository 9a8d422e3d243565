"""The recipe, which describes an experiment. The defaults are mmsegmentation's 40k Cityscapes recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..common.errors import UserError
from ..data.augmentations import read_augmentations
from ..data.source import DataSource
from ..inference.segmentation import InferenceOptions
from .recipe_checks import check_numbers, renamed_fields
from .recipe_model import LoraRecipe, ModelRecipe
from .recipe_sampler import SamplerRecipe


@dataclass
class DataRecipe(DataSource):
    """The training data and their augmentation."""

    split: str = "train"
    """Split to train on."""
    streaming: bool = False
    """Read the training split while it is downloaded (data.name hub only); each data worker reads its own share."""
    shuffle_buffer: int = 256
    """Number of undecoded samples in each data worker's shuffle buffer (streaming only)."""
    crop_size: tuple[int, int] = (512, 1024)
    """Height and width of the training crops."""
    scale: tuple[int, int] = (2048, 1024)
    """Largest long and short edge of images after a random resize by 1; the aspect ratio is kept."""
    ratio_range: tuple[float, float] = (0.5, 2.0)
    """Range of the random resize's factor."""
    cat_max_ratio: float = 0.75
    """Largest share of one class in a crop; other crops are drawn again, at most ten times."""
    flip_probability: float = 0.5
    """Probability of a horizontal flip."""
    photometric: bool = True
    """Randomly change brightness, contrast, saturation and hue."""
    augmentations: list[Any] = field(default_factory=list)
    """Further augmentations in their order, each by its name (rotate, blur, noise, jpeg, clahe, grey, cutout, paste)
    and its fields: [{name: rotate, degrees: 10, probability: 0.5}]; see docs/augmentations.md."""
    workers: int = 4
    """Number of data workers of each training process."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do if a training sample can't be read. skip: log and count it, and use another sample instead."""

    def __post_init__(self):
        super().__post_init__()
        read_augmentations(self.augmentations)


@dataclass
class OptimizerRecipe:
    """The optimizer."""

    name: Literal["sgd", "adamw"] = "sgd"
    """Optimizer. The published recipes use SGD; AdamW learns faster from scratch if there are few steps."""
    lr: float = 0.01
    """Initial learning rate (after the warm-up)."""
    momentum: float = 0.9
    """Momentum (SGD only)."""
    weight_decay: float = 5e-4
    """Weight decay of all parameters."""
    decay_norms_and_biases: bool = True
    """Whether weight decay also acts on norms, biases, tokens and position embeddings."""
    head_lr_multiplier: float = 1.0
    """Ratio of the heads' learning rate to the backbone's; both decay to schedule.min_lr."""
    lr_multipliers: dict[str, float] = field(default_factory=dict)
    """Multipliers of the learning rate, from its start to its floor, by the beginnings of parameters' names; the
    longest one that matches counts: {backbone: 0.1, ocr_head.classifier: 10}."""
    layer_decay: float | None = None
    """Multiply the learning rate of the backbone's last block by this, that of the block before by its square, and so
    on; its floor too (null: don't). For transformers and ConvNeXts, e.g. 0.9."""
    clip_norm: float | None = None
    """Clip the gradients to this norm (null: don't)."""


@dataclass
class ScheduleRecipe:
    """The learning rate's schedule: its decay to a minimum, counted in optimizer steps."""

    name: Literal["poly", "cosine"] = "poly"
    """How the learning rate decays: poly, to a power of the steps that are left, as in the published recipes; or
    cosine, by half a cosine (arXiv 1608.03983, without restarts)."""
    max_steps: int = 40_000
    """Number of optimizer steps of the whole run."""
    power: float = 0.9
    """Power of the polynomial decay (poly only)."""
    min_lr: float = 1e-4
    """Learning rate of the last step."""
    warmup_steps: int = 0
    """Number of steps of the linear warm-up."""
    warmup_ratio: float = 0.1
    """Learning rate at the start of the warm-up, as a share of lr."""


@dataclass
class EvaluationRecipe:
    """Evaluation during training."""

    every: int = 4000
    """Steps between evaluations; the last step is always evaluated."""
    split: str = "val"
    """Split to evaluate on."""
    resize: bool = False
    """Resize images to data.scale before they are segmented; the saved image processor does the same."""
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    """How images are segmented."""
    limit: int | None = None
    """Evaluate only on this many images, the first ones of the split (null: all)."""


@dataclass
class CheckpointRecipe:
    """The checkpoints to write."""

    every: int = 4000
    """Steps between checkpoints; the last step always writes one."""
    keep_last: int = 2
    """Number of checkpoints to keep."""
    keep_best: bool = True
    """Also keep the weights of the best evaluation, in best/."""


@dataclass
class LoggingRecipe:
    """What to log during training."""

    every: int = 50
    """Steps between log lines."""
    trackers: list[Literal["tensorboard", "trackio", "wandb"]] = field(default_factory=list)
    """Trackers to log to as well."""
    modelzoo: bool = False
    """Also write the SDAA model zoo's TCAPPDLL lines, to modelzoo.log and to standard output."""
    pictures: int = 6
    """Number of validation images to draw with their predictions at the end."""


@dataclass
class Recipe:
    """A training run."""

    data: DataRecipe = field(default_factory=DataRecipe)
    sampler: SamplerRecipe = field(default_factory=SamplerRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    checkpoint: CheckpointRecipe = field(default_factory=CheckpointRecipe)
    logging: LoggingRecipe = field(default_factory=LoggingRecipe)
    global_batch: int = 8
    """Images per optimizer step, over all processes and accumulation steps."""
    micro_batch: int = 2
    """Images per forward pass of one process; fewer take less memory. Batch norm statistics cover only these images
    (with sync_batch_norm: those of all processes), so fewer than in the published recipes change the result."""
    mixed_precision: Literal["no", "fp16", "bf16"] | None = None
    """Precision (null: accelerate launch's setting). Softmaxes and losses are always float32."""
    process_timeout: float = 1800.0
    """Seconds that training processes wait for each other. If one is lost, the run ends after this time at the
    latest."""
    seed: int = 0
    """Seed of the initial weights, the order of samples and their augmentation."""
    output: str | None = None
    """The run's folder (null: runs/<path of the recipe below configuration/>)."""

    def __post_init__(self):
        decay = self.model.ema_decay
        if decay is not None and not 0 < decay < 1:
            raise UserError(
                f"model.ema_decay must be above 0 and below 1, got {decay}: 0.999 averages about the last 1000 steps"
            )
        if self.model.init_classes and self.model.init_from is None:
            raise UserError("model.init_classes names classes of the model of model.init_from: give that too")
        self.model = self.model.resolved()
        check_numbers(flatten(as_dict(self)))
        low, high = self.data.ratio_range
        if low > high:
            raise UserError(f"data.ratio_range must be two positive numbers in order, got {self.data.ratio_range}")
        if self.schedule.name == "cosine" and self.schedule.power != ScheduleRecipe.power:
            raise UserError(
                f"schedule.power is {self.schedule.power:g}, but schedule.name is cosine, which has no power: leave it "
                "out, or give schedule.name poly"
            )
        # otherwise the learning rate would increase
        base = self.optimizer.lr * min(1, self.optimizer.head_lr_multiplier)
        if self.schedule.min_lr > base:
            raise UserError(
                f"schedule.min_lr is {self.schedule.min_lr}, above the learning rate {base:g}, but it is the lowest "
                "learning rate: choose a lower one"
            )
        if self.data.streaming and self.data.name != "hub":
            raise UserError(f"data.streaming is for data.name hub, not for {self.data.name!r}: leave it out")
        self.sampler.check(self.data.streaming)

    def accumulation_steps(self, processes: int) -> int:
        """The number of forward passes of each process per optimizer step.

        Raises:
            UserError: if the global batch isn't a multiple of `micro_batch * processes`.
        """
        steps, rest = divmod(self.global_batch, self.micro_batch * processes)
        if rest or not steps:
            raise UserError(
                f"a global batch of {self.global_batch} can't be divided into micro-batches of {self.micro_batch} on "
                f"{processes} process{'es' if processes > 1 else ''}: choose --global_batch as a multiple of "
                f"{self.micro_batch * processes}, or another --micro_batch"
            )
        return steps


# Fields that may differ between a checkpoint and the run that resumes it, because they don't change what is computed.
MAY_DIFFER_ON_RESUME = (
    "output",
    "output_dir",  # its name in older runs
    "data.root",
    "data.classes",
    "data.workers",
    "data.on_error",
    "data.max_pixels",
    "process_timeout",
    "evaluation.",
    "checkpoint.",
    "logging.",
    "model.backbone",
    "model.fast_layers",
)


def differences(ours: dict, theirs: dict) -> list[str]:
    """List the fields that prevent a run of the recipe `ours` from continuing one of `theirs`, one line per field.

    Both are dicts. A field that an older recipe doesn't have counts as its default.
    """
    defaults = flatten(as_dict(Recipe()))
    flat_ours, flat_theirs = (defaults | flatten(_todays_names(x)) for x in (ours, theirs))
    # the shares of a stream depend on the number of workers
    free = {x for x in MAY_DIFFER_ON_RESUME if x != "data.workers" or not flat_ours["data.streaming"]}
    groups = tuple(x for x in MAY_DIFFER_ON_RESUME if x.endswith("."))
    return [
        f"{key}: {flat_theirs.get(key)!r} in the checkpoint, now {flat_ours.get(key)!r}"
        for key in sorted(flat_ours.keys() | flat_theirs.keys())
        if not (key in free or key.startswith(groups)) and flat_ours.get(key) != flat_theirs.get(key)
    ]


def _todays_names(recipe: dict) -> dict:
    model = recipe.get("model", {})
    return {**recipe, "model": {**model, "config": renamed_fields(model.get("config", {}))}}


def flatten(values: dict, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` to `{"a.b": 1}`; tuples become lists, as in YAML."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def as_dict(recipe: Recipe) -> dict:
    """The recipe as plain values for YAML or JSON."""
    return _plain(asdict(recipe))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(x) for key, x in value.items()}
    return [_plain(x) for x in value] if isinstance(value, (list, tuple)) else value
