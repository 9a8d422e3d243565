"""Evaluate a model on a dataset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from ..data.labels import LabelSet
from ..inference.segmentation import InferenceOptions, segment
from .boundary import BoundaryScores
from .cityscapes_scores import InstanceIoU, category_iou
from .mean_iou import MeanIoU


def evaluate_model(
    model,
    processor,
    dataset: Dataset,
    accelerator: Accelerator,
    labels: LabelSet,
    options: InferenceOptions | None = None,
    *,
    order: np.ndarray | None = None,
    boundaries: bool = False,
    workers: int = 0,
    on_prediction: Callable[[dict, np.ndarray], None] | None = None,
) -> dict:
    """Segment every image and score the label maps at the images' own size.

    Each image is counted exactly once for any number of processes.

    Args:
        model: an OCRNet, not wrapped; its mode is restored afterwards.
        processor: the model's image processor.
        dataset: from [`modeling_ocrnet.data.load`]. Rows without labels are segmented, but not scored.
        accelerator: determines the process's share of the images, and the precision.
        labels: the dataset's classes.
        options: how images are segmented; whole by default.
        order: the dataset's index of each of the model's classes, if their order differs.
        boundaries: also compute boundary IoU and boundary F1 (slow, because it is done by class and image).
        workers: the number of data workers.
        on_prediction: called with each row of this process and its label map, (height, width) class indices.

    Returns:
        The scores of [`MeanIoU`], the same in every process; `category_iou` if the labels have categories; `iiou` and
        `category_iiou` if the dataset was loaded with instances; the scores of [`BoundaryScores`] if requested. Empty
        if no pixel is labelled.
    """
    options = options or InferenceOptions()
    metric, instances = MeanIoU(), InstanceIoU(labels)
    metric.reserve(len(labels.names))
    edges = BoundaryScores(len(labels.names), ignore_index=labels.ignore)
    share = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    rows = DataLoader(
        Subset(dataset, share),
        options.batch_size,
        collate_fn=_same,
        num_workers=workers,
        generator=torch.Generator(),  # not the global one: training's dropout must not depend on evaluations
    )
    with_instances = "instances" in dataset.column_names
    training = model.training
    model.eval()
    try:
        bar = tqdm(total=len(share), desc="segmenting", unit="image", leave=False, disable=_quiet(accelerator))
        for batch in rows:
            with accelerator.autocast():
                label_maps = segment(model, processor, [row["image"] for row in batch], options)
            if order is not None:
                label_maps = [order.astype(x.dtype)[x] for x in label_maps]
            for row, label_map in zip(batch, label_maps, strict=True):
                if on_prediction is not None:
                    on_prediction(row, label_map)
                if row["label"] is not None:
                    reference = np.asarray(row["label"])
                    metric.add(prediction=label_map, reference=reference)
                    if boundaries:
                        edges.add(label_map, reference)
                if with_instances and row["instances"] is not None:
                    instances.add(label_map, row["instances"])
                bar.update()
        bar.close()
    finally:
        model.train(training)

    metric.confusion, edges.counts, instances.counts = (
        sum(gather_object([x])) for x in (metric.confusion, edges.counts, instances.counts)
    )
    counted = metric.confusion.copy()
    counted[metric.place(labels.ignore)] = 0
    if not counted.any():
        return {}
    result = metric.compute(num_labels=len(labels.names), ignore_index=labels.ignore)
    if any(label.category for label in labels.trained):
        result["category_iou"] = category_iou(counted, labels)
    if with_instances:
        result |= instances.compute(counted)
    return result | (edges.compute() if boundaries else {})


def _quiet(accelerator: Accelerator) -> bool | None:
    return None if accelerator.is_main_process else True  # None disables the bar if there is no terminal


def _same(rows: list[dict]) -> list[dict]:
    return rows
