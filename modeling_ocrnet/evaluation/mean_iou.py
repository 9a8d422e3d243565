"""Mean IoU over one confusion matrix, with the interface of evaluate's `mean_iou`."""

from __future__ import annotations

import datasets
import evaluate
import numpy as np

IDS = 256  # number of ids in 8-bit maps
MOST_IDS = 8192  # most ids that are counted in 16-bit maps: their matrix takes 512 MB
NO_CLASS = 2**16 - 1  # the id of ignored pixels in 16-bit maps; it has the last row and column of their matrix
CHUNK = 2**17  # pixels counted at once: NumPy's 64-bit copy of them fits a processor's caches


class MeanIoU(evaluate.Metric):
    """Intersection over union, averaged over classes.

    Unlike evaluate's own `mean_iou`, which stores every map, this keeps one matrix of counts (`confusion`, int64; rows
    are references, columns predictions). So memory doesn't grow with the number of maps, and the matrices of several
    processes can be added. The matrix is 256 x 256, and grows if ids above 255 occur; its last row and column then
    stand for the id 65535.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.confusion = np.zeros((IDS, IDS), np.int64)

    def reserve(self, num_labels: int) -> None:
        """Enlarge the matrix for this number of classes, so that it has the same size in all processes.

        Raises:
            ValueError: if the number is above `MOST_IDS`.
        """
        if num_labels > MOST_IDS:
            raise ValueError(f"ids up to {num_labels - 1}: at most {MOST_IDS} classes can be scored")
        if num_labels >= IDS and num_labels >= len(self.confusion):
            old, self.confusion = self.confusion, np.zeros((2 ** num_labels.bit_length(),) * 2, np.int64)
            kept = len(old) - (len(old) > IDS)  # without NO_CLASS, whose place moves
            places = [*range(kept), *([len(self.confusion) - 1] if len(old) > IDS else [])]
            self.confusion[np.ix_(places, places)] = old

    def place(self, ids):
        """The row and column of ids in the matrix: their own number; for 65535, the last one."""
        return np.where(np.asarray(ids) == NO_CLASS, len(self.confusion) - 1, ids)

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
            raise ValueError(f"a prediction has shape {prediction.shape}, but its reference {reference.shape}")
        prediction, reference = prediction.ravel(), reference.ravel()
        for name, ids in (("prediction", prediction), ("reference", reference)):
            if ids.size and not (ids.min() >= 0 and ids.max() <= NO_CLASS):
                raise ValueError(f"a {name} holds ids from {ids.min()} to {ids.max()}, expected 0 to {NO_CLASS}")
            if ids.size and ids.max() >= IDS:
                self.reserve(int(ids[ids != NO_CLASS].max(initial=IDS)) + 1)
        if len(self.confusion) > IDS:
            self._add_wide(prediction, reference)
            return
        counts = np.zeros(IDS * IDS, np.int64)
        for start in range(0, prediction.size, CHUNK):
            # predictions are the high byte: they never hold 255, so bincount's result is shorter
            pairs = prediction[start : start + CHUNK].astype(np.uint16) * np.uint16(IDS)
            pairs += reference[start : start + CHUNK].astype(np.uint16)
            found = np.bincount(pairs)
            counts[: len(found)] += found
        self.confusion += counts.reshape(IDS, IDS).T

    def _add_wide(self, prediction: np.ndarray, reference: np.ndarray) -> None:
        pairs = self.place(reference.astype(np.int64)) * len(self.confusion) + self.place(prediction.astype(np.int64))
        found, counts = np.unique(pairs, return_counts=True)
        self.confusion.reshape(-1)[found] += counts

    def add_batch(self, *, predictions=None, references=None, **kwargs):
        """Count label maps.

        Args:
            predictions: a list of (height, width) arrays of ids, 0..255 or 0..65535.
            references: the same number of arrays, each with its prediction's shape.
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
        """Compute the scores of all maps counted since the last call, and of the maps passed here.

        Args:
            predictions, references: as in `add_batch`, optional.
            num_labels: the number of classes.
            ignore_index: the reference id that doesn't count.
            nan_to_num: the value of classes that occur neither in predictions nor in references (NaN by default; means
                leave NaN out).
            label_map: reference ids to replace, `{old: new}`.
            reduce_labels: subtract 1 from every reference id, and ignore 0.

        Returns:
            `mean_iou`, `mean_accuracy`, `overall_accuracy`, `frequency_weighted_iou`, and by class `per_category_iou`,
            `per_category_accuracy`, `per_category_dice`.

        Raises:
            ValueError: if all pixels are ignored, so that there is no score.
        """
        if predictions is not None:
            self.add_batch(predictions=predictions, references=references)
        self.reserve(num_labels)
        target = np.arange(len(self.confusion))
        for old, new in (label_map or {}).items():
            target[self.place(int(old))] = self.place(new)
        if reduce_labels:
            ignored = self.place(255 if len(target) == IDS else NO_CLASS)
            target = np.where((target == 0) | (target == ignored), ignored, target - 1)
        confusion = np.zeros_like(self.confusion)
        np.add.at(confusion, target, self.confusion)
        if ignore_index is not None and 0 <= self.place(ignore_index) < len(confusion):
            confusion[self.place(ignore_index)] = 0
        self.confusion = np.zeros((IDS, IDS), np.int64)
        if not confusion[:num_labels].any():
            raise ValueError("all pixels of the references are ignored: there is nothing to score")
        return scores(confusion, num_labels, nan_to_num)


def scores(confusion: np.ndarray, num_labels: int, nan_to_num: float | None = None) -> dict:
    """All scores of a matrix of counts, (>= num_labels, >= num_labels); rows are references, columns predictions."""
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
