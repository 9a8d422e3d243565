"""Mean IoU over one confusion matrix, with the interface of evaluate's `mean_iou`."""

from __future__ import annotations

import datasets
import evaluate
import numpy as np

IDS = 256  # ids are one byte
CHUNK = 2**17  # pixels that are counted at once: NumPy's 64-bit copy of them stays in a processor's caches


class MeanIoU(evaluate.Metric):
    """Intersection over union, averaged over classes.

    Unlike evaluate's own `mean_iou`, which stores every map, this keeps one 256 x 256 matrix of counts
    (`confusion`, int64: rows are references, columns predictions): memory doesn't grow, and processes add theirs up.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.confusion = np.zeros((IDS, IDS), np.int64)

    def _info(self):
        maps = datasets.Sequence(datasets.Sequence(datasets.Value("uint16")))
        return evaluate.MetricInfo(
            description="Mean intersection over union of label maps.",
            citation="",
            inputs_description=self.add_batch.__doc__ or "",
            features=datasets.Features({"predictions": maps, "references": maps}),
        )

    def add(self, *, prediction=None, reference=None, **kwargs):
        """Count one label map; see `add_batch`."""
        prediction, reference = np.asarray(prediction), np.asarray(reference)
        if prediction.shape != reference.shape:
            raise ValueError(f"a prediction of shape {prediction.shape} for a reference of shape {reference.shape}")
        for name, ids in (("prediction", prediction), ("reference", reference)):
            if ids.size and not (ids.min() >= 0 and ids.max() < IDS):
                raise ValueError(f"a {name} holds ids from {ids.min()} to {ids.max()}, expected 0 to {IDS - 1}")
        prediction, reference = prediction.ravel(), reference.ravel()
        counts = np.zeros(IDS * IDS, np.int64)
        for start in range(0, prediction.size, CHUNK):
            # predictions count for more than references: they hold no 255, so that few counts are needed
            pairs = prediction[start : start + CHUNK].astype(np.uint16) * np.uint16(IDS)
            pairs += reference[start : start + CHUNK].astype(np.uint16)
            found = np.bincount(pairs)
            counts[: len(found)] += found
        self.confusion += counts.reshape(IDS, IDS).T

    def add_batch(self, *, predictions=None, references=None, **kwargs):
        """Count label maps.

        Args:
            predictions: a list of (height, width) arrays of ids 0..255.
            references: the same number of arrays, each of its prediction's shape.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            self.add(prediction=prediction, reference=reference)

    def compute(
        self,
        *,
        predictions=None,
        references=None,
        num_labels: int,
        ignore_index: int = 255,
        nan_to_num: float | None = None,
        label_map: dict[int, int] | None = None,
        reduce_labels: bool = False,
        **kwargs,
    ) -> dict:
        """The scores of all maps counted since the last call, and of those given here.

        Args:
            predictions, references: as for `add_batch`, optional.
            num_labels: the number of classes.
            ignore_index: reference id that doesn't count.
            nan_to_num: what to put for classes that occur neither in predictions nor in references (NaN by default;
                means leave NaN out).
            label_map: reference ids to change, `{old: new}`.
            reduce_labels: take 1 from every reference id, and make 0 ignored.

        Returns:
            `mean_iou`, `mean_accuracy`, `overall_accuracy`, `frequency_weighted_iou`, and by class `per_category_iou`,
            `per_category_accuracy`, `per_category_dice`.
        """
        if predictions is not None:
            self.add_batch(predictions=predictions, references=references)
        confusion, self.confusion = self.confusion, np.zeros((IDS, IDS), np.int64)
        target = np.arange(IDS)
        for old, new in (label_map or {}).items():
            target[int(old)] = new
        if reduce_labels:
            target = np.where((target == 0) | (target == 255), 255, target - 1)
        moved = np.zeros_like(confusion)
        np.add.at(moved, target, confusion)
        if ignore_index is not None and 0 <= ignore_index < IDS:
            moved[ignore_index] = 0
        return scores(moved, num_labels, nan_to_num)


def scores(confusion: np.ndarray, num_labels: int, nan_to_num: float | None = None) -> dict:
    """All scores from a matrix of counts, (>= num_labels, >= num_labels), rows references, columns predictions."""
    hits = np.diag(confusion)[:num_labels].astype(np.float64)
    references = confusion.sum(1)[:num_labels]
    predictions = confusion.sum(0)[:num_labels]
    with np.errstate(invalid="ignore", divide="ignore"):
        by_class = {
            "per_category_iou": hits / (references + predictions - hits),
            "per_category_accuracy": hits / references,
            "per_category_dice": 2 * hits / (references + predictions),
        }
        overall = hits.sum() / references.sum()
        weighted = np.nansum(by_class["per_category_iou"] * references) / references.sum()
    if nan_to_num is not None:
        by_class = {key: np.nan_to_num(value, nan=nan_to_num) for key, value in by_class.items()}
    return {
        "mean_iou": _mean(by_class["per_category_iou"]),
        "mean_accuracy": _mean(by_class["per_category_accuracy"]),
        "overall_accuracy": float(overall),
        "frequency_weighted_iou": float(weighted),
        **by_class,
    }


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
