"""Evaluate a checkpoint on a dataset, and write scores, predictions and submissions."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from PIL import Image

from .. import data
from ..common.errors import UserError, writing
from ..data.decoding import with_value_range
from ..inference.engines.engine import EngineName
from ..inference.engines.precision import Precision, precision_of
from ..inference.loading import class_names, load_engine, load_processor
from ..inference.segmentation import InferenceOptions
from .class_names import match_classes
from .launch import check_launch
from .loop import evaluate_model
from .results import as_record, as_table, write_json
from .submission import write_submission

logger = logging.getLogger("modeling_ocrnet.evaluation")


@dataclass
class EvaluationArguments(data.DataSource):
    """What to evaluate, and what to write."""

    split: str = "val"
    """Split; if it has no labels, it is segmented but not scored."""
    output: str | None = None
    """JSON file for the scores."""
    save_predictions: str | None = None
    """Folder for the predictions: <name>.png with the dataset's own label ids."""
    submission: str | None = None
    """Zip file for Cityscapes' test server."""
    boundaries: bool = False
    """Also compute boundary IoU and boundary F1 (slow)."""
    workers: int = 2
    """Number of data workers of each process."""

    def __post_init__(self):
        super().__post_init__()
        if self.workers < 0:
            raise UserError(f"workers must be 0 or more, got {self.workers}")
        if self.submission and data.label_set(self) is not data.label_set("cityscapes"):
            raise UserError(f"--submission is for Cityscapes' test server, not for {self.name}: use --save_predictions")


def evaluate_checkpoint(
    model_name: str,
    task: EvaluationArguments,
    options: InferenceOptions,
    engine: EngineName = "auto",
    precision: Precision | None = None,
) -> dict | None:
    """Evaluate a checkpoint on a dataset, on one or more processes. The main process prints a table.

    Args:
        model_name: checkpoint folder or Hub repository.
        task: data and outputs.
        options: how images are segmented.
        engine, precision: see [`load_engine`].

    Returns:
        The record that is written as JSON; `None` if no pixel is labelled, and in all but the main process.

    Raises:
        UserError: if the arguments, the checkpoint and the dataset don't fit together.
    """
    accelerator = Accelerator()
    check_launch(accelerator)
    if task.submission and not task.save_predictions and accelerator.num_processes > 1:
        raise UserError("--submission on several processes also needs --save_predictions, a folder that all can access")
    labels = data.label_set(task)
    keeps = task.save_predictions or task.submission
    with accelerator.main_process_first():  # it may have to generate the dataset
        dataset = data.load(task, split=task.split, instances=True)
    if keeps:
        _check_names(dataset.with_format(None)["name"][:])
    if task.value_range is None:
        dataset = with_value_range(dataset, load_processor(model_name).value_range)
    findings = data.check(dataset)
    if accelerator.is_main_process:
        data.log_findings(findings, labels, task.split)
    labelled = any(x is not None for x in dataset.with_format(None)["label"])
    if not labelled and not keeps:
        raise UserError(f"{task.split} has no labels to score: give --save_predictions or --submission")
    if labelled and not keeps:
        data.require_labelled(dataset, findings, task.split)
    model, processor = load_engine(model_name, engine, precision)
    order = match_classes(class_names(model.config), labels.names, model_name, task.name)
    with _folder(task) if keeps else nullcontext() as folder:
        result = evaluate_model(
            model,
            processor,
            dataset,
            accelerator,
            labels,
            options,
            order=order,
            boundaries=task.boundaries,
            workers=task.workers,
            on_prediction=_writer(Path(folder), labels) if folder is not None else None,
        )
        accelerator.wait_for_everyone()
        if not accelerator.is_main_process:
            return None
        if task.submission and folder is not None:
            write_submission(task.submission, folder, dataset, labels)
            logger.info("wrote the submission %s", task.submission)
    if result:
        about = {"model": model_name, "dataset": task.title, "split": task.split, "images": len(dataset)}
        about |= {"inference": vars(options), "precision": precision_of(model)}
        return _say({**about, **as_record(result, labels.names)}, task.output)
    if labelled:
        logger.warning("%s: no pixel is labelled, so nothing is scored", task.split)
    return None


def _say(record: dict, output: str | None) -> dict:
    """Print a record as a table, and write it if `output` is given."""
    print(as_table(record))
    if output:
        write_json(record, output)
    return record


def _check_names(names: list[str]) -> None:
    """Check that no two images have the same name, because one's prediction would overwrite the other's."""
    twice = [(name, count) for name, count in Counter(names).items() if count > 1]
    if twice:
        name, count = twice[0]
        raise data.DataError(
            f"{name}: {count} images of the split have this name ({len(twice)} names occur more than once), but "
            "predictions are written as <name>.png: rename the files, or evaluate without writing predictions"
        )


def _folder(task: EvaluationArguments):
    """The folder for predictions: the requested one, or a temporary one for a submission."""
    if task.save_predictions:
        with writing(task.save_predictions):
            Path(task.save_predictions).mkdir(parents=True, exist_ok=True)
        return nullcontext(task.save_predictions)
    return tempfile.TemporaryDirectory()


def _writer(folder: Path, labels: data.LabelSet):
    ids = np.array(labels.ids, np.uint8 if max(labels.ids) < 256 else np.uint16)

    def write(row: dict, label_map: np.ndarray) -> None:
        file = folder / f"{row['name']}.png"
        with writing(file):
            Image.fromarray(ids[label_map]).save(file)

    return write
