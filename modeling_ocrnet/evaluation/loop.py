"""Evaluating a model on a dataset."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from ..inference.segmentation import segment
from .mean_iou import MeanIoU


def evaluate_model(
    model, processor, dataset: Dataset, accelerator: Accelerator, num_labels: int, workers: int = 0
) -> dict:
    """Segment every image, whole, and score the label maps at the images' own size.

    Each image is counted exactly once, whatever the number of processes.

    Args:
        model: an OCRNet, not wrapped; its mode is restored afterwards.
        processor: its image processor.
        dataset: from [`modeling_ocrnet.data.load`], with labels.
        accelerator: gives the process's share of the images, and precision.
        num_labels: classes to score.
        workers: processes that read images.

    Returns:
        What [`MeanIoU`] computes.
    """
    share = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    rows = DataLoader(Subset(dataset, share), batch_size=None, collate_fn=_same, num_workers=workers)
    metric = MeanIoU()
    training = model.training
    model.eval()
    try:
        with accelerator.autocast():
            for row in tqdm(rows, "evaluating", leave=False, disable=None if accelerator.is_main_process else True):
                metric.add(prediction=segment(model, processor, row["image"]), reference=np.asarray(row["label"]))
    finally:
        model.train(training)
    confusion = torch.from_numpy(metric.confusion).to(accelerator.device)
    metric.confusion = accelerator.reduce(confusion, "sum").cpu().numpy()
    return metric.compute(num_labels=num_labels)


def _same(row: dict) -> dict:
    return row
