"""Further scores of Cityscapes: IoU by category, and iIoU, in which all instances have the same weight."""

from __future__ import annotations

import numpy as np

from ..data.labels import IGNORE, LabelSet

# Mean instance sizes in pixels, from the definition of iIoU (cityscapesscripts 2.3, evalPixelLevelSemanticLabeling).
MEAN_SIZES = {
    "bicycle": 4672.3249222261,
    "motorcycle": 6298.7200839748,
    "rider": 3930.4788056518,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "car": 12794.0202738185,
    "person": 3462.4756337644,
    "truck": 27855.1264367816,
}


def category_iou(confusion: np.ndarray, labels: LabelSet) -> dict[str, float]:
    """IoU of each category (flat, human, vehicle ...) from a confusion matrix of train ids.

    Args:
        confusion: (256, 256) counts; rows are references, columns predictions.
        labels: the label set, which names the categories.

    Returns:
        The IoU by category; NaN if a category doesn't occur. Confusion within a category isn't an error.
    """
    return {name: _iou(_hits(confusion, ids), *_errors(confusion, ids, labels)) for name, ids in _categories(labels)}


class InstanceIoU:
    """iIoU: IoU in which an instance's pixels have a weight, the class's mean instance size divided by its own size.

    Args:
        labels: Cityscapes' label set; only classes with instances have an iIoU.
    """

    def __init__(self, labels: LabelSet):
        self.labels = labels
        self.categories = [
            (name, ids)
            for name, ids in _categories(labels)
            if all(x.has_instances for x in labels.labels if x.category == name and x.id >= 0)
        ]
        # by class and by category: weighted hits, weighted misses
        self.counts = np.zeros((2, 2, len(labels.trained)))

    def add(self, prediction: np.ndarray, instances: np.ndarray) -> None:
        """Count one image.

        Args:
            prediction: (height, width) train ids.
            instances: (height, width), label id * 1000 + number for pixels of instances, less than 1000 for others.
        """
        of_id = {label.id: label for label in self.labels.trained}
        found, index, sizes = np.unique(instances, return_inverse=True, return_counts=True)
        index = index.reshape(instances.shape)
        for i in np.flatnonzero(found > 1000):
            label = of_id.get(int(found[i]) // 1000)
            if label is None:
                continue
            weight = MEAN_SIZES[label.name] / sizes[i]
            predicted = prediction[index == i]
            hits = np.count_nonzero(predicted == label.train_id)
            self._count(0, label.train_id, hits * weight, (sizes[i] - hits) * weight)
            for number, (name, ids) in enumerate(self.categories):
                if name == label.category:
                    hits = np.count_nonzero(np.isin(predicted, ids))
                    self._count(1, number, hits * weight, (sizes[i] - hits) * weight)

    def _count(self, kind: int, index: int, hits: float, misses: float) -> None:
        self.counts[kind, 0, index] += hits
        self.counts[kind, 1, index] += misses

    def compute(self, confusion: np.ndarray) -> dict[str, dict[str, float]]:
        """`{"iiou": by class, "category_iiou": by category}`. The confusion matrix gives the false positives."""
        classes = [(label.name, [label.train_id]) for label in self.labels.trained if label.has_instances]
        return {
            "iiou": {name: self._iou(0, ids[0], ids, confusion) for name, ids in classes},
            "category_iiou": {name: self._iou(1, i, ids, confusion) for i, (name, ids) in enumerate(self.categories)},
        }

    def _iou(self, kind: int, index: int, ids: list[int], confusion: np.ndarray) -> float:
        false_positives = _errors(confusion, ids, self.labels)[0]
        return _iou(self.counts[kind, 0, index], false_positives, self.counts[kind, 1, index])


def _categories(labels: LabelSet) -> list[tuple[str, list[int]]]:
    """Category names and the train ids in each, in the table's order."""
    names = dict.fromkeys(label.category for label in labels.trained if label.category)
    return [(name, [label.train_id for label in labels.trained if label.category == name]) for name in names]


def _hits(confusion: np.ndarray, ids: list[int]) -> int:
    return confusion[np.ix_(ids, ids)].sum()


def _errors(confusion: np.ndarray, ids: list[int], labels: LabelSet) -> tuple[int, int]:
    """False positives (without ignored pixels) and false negatives."""
    others = [label.train_id for label in labels.trained if label.train_id not in ids and label.train_id != IGNORE]
    return confusion[np.ix_(others, ids)].sum(), confusion[ids].sum() - _hits(confusion, ids)


def _iou(hits: float, false_positives: float, misses: float) -> float:
    total = hits + false_positives + misses
    return float(hits / total) if total else float("nan")
