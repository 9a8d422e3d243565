"""The model card. It states only what the model folder records, and only scores that were measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeGuard

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..common.tables import markdown_table
from ..configuration_ocrnet import VARIANTS
from ..data.datasets import CardFacts
from .data_notes import NO_TERMS, facts_of, title_of
from .folder import ModelFolder
from .weights_terms import terms_of

_OVERALL = {"mean_iou": "mIoU", "mean_accuracy": "mean accuracy", "overall_accuracy": "pixel accuracy"}
_TASK = "image-segmentation"

_LOADING = """\
```python
from PIL import Image, ImageOps
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
processor = AutoImageProcessor.from_pretrained("{repo_id}", trust_remote_code=True)
model = AutoModelForSemanticSegmentation.from_pretrained("{repo_id}", trust_remote_code=True)
inputs = processor(image := ImageOps.exif_transpose(Image.open("street.png")), return_tensors="pt")
label_map = processor.post_process_semantic_segmentation(model(**inputs), target_sizes=[image.size[::-1]])[0]
```

`trust_remote_code=True` runs the model's code from this repository: read it, and pin it with `revision=`.
The label map is (height, width); `pipeline("image-segmentation", model="{repo_id}", trust_remote_code=True)` returns
one mask for each class.
"""

_CITATION = """\
```bibtex
@inproceedings{yuan2020ocr,
  title     = {Object-Contextual Representations for Semantic Segmentation},
  author    = {Yuan, Yuhui and Chen, Xilin and Wang, Jingdong},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}
```
"""


def make_card(folder: ModelFolder, repo_id: str, pictures: Sequence[str] = ()) -> ModelCard:
    """Make the card of a model folder.

    Args:
        folder: the model, with its recipe and metrics if it has them.
        repo_id: `"you/your-ocrnet"`, for the lines that load it.
        pictures: paths of the sample pictures in the repository.
    """
    facts = facts_of(folder.dataset)
    sections = {
        "": _what(folder, repo_id),
        "How to use it": _LOADING.format(repo_id=repo_id),
        "Training": _training(folder, facts),
        "Results": _results(folder),
        "Samples": _samples(pictures),
        "Licence": _licence(folder, facts),
        "Citation": _CITATION,
    }
    parts = [f"## {title}\n\n{text}" if title else text for title, text in sections.items() if text]
    body = "\n\n".join(part.strip() for part in parts)
    return ModelCard(f"---\n{_metadata(folder, repo_id, facts).to_yaml()}\n---\n\n{body}\n")


def _metadata(folder: ModelFolder, repo_id: str, facts: CardFacts | None) -> ModelCardData:
    results = _eval_results(folder)
    backbone = getattr(folder.config.backbone_config, "model_type", None)  # None for a custom backbone
    tags = ["ocrnet", "semantic-segmentation", *filter(None, [backbone]), folder.dataset]
    licence, name, link = (facts.licence, facts.licence_name, facts.licence_link) if facts else (None, None, None)
    if terms := terms_of(folder.pretrained):
        licence, name, link = "other", terms.tag, terms.link
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=_TASK,
        license=licence,
        license_name=name,
        license_link=link,
        base_model=folder.base_model,
        tags=[tag for tag in tags if tag],
        metrics=["mean_iou"] if results else None,
        model_name=repo_id.split("/")[-1],
        eval_results=results or None,
    )


def _eval_results(folder: ModelFolder) -> list[EvalResult]:
    metrics = folder.metrics or {}
    if not metrics.get("dataset"):  # a score means nothing without its dataset
        return []
    return [
        EvalResult(
            task_type=_TASK,
            task_name="Semantic segmentation",
            dataset_type=metrics["dataset"],
            dataset_name=title_of(metrics["dataset"]),
            dataset_split=metrics.get("split"),
            metric_type=key,
            metric_name=name,
            metric_value=metrics[key],
        )
        for key, name in _OVERALL.items()
        if _is_number(metrics.get(key))
    ]


def _what(folder: ModelFolder, repo_id: str) -> str:
    config = folder.config
    names = [config.id2label[i] for i in sorted(config.id2label)]
    return "\n\n".join(
        [
            f"# {repo_id.split('/')[-1]}",
            f"OCRNet (*Object-Contextual Representations*, [arXiv 1909.11065](https://arxiv.org/abs/1909.11065)) over "
            f"{_backbone(config)}. It labels every pixel of an image with one of {len(names)} classes, "
            "using soft regions of each class as context.",
            f"Classes: {', '.join(names)}.",
        ]
    )


def _backbone(config) -> str:
    backbone = config.backbone_config
    if backbone is None:
        return f"a custom backbone (`{config.custom_backbone}`)"
    if backbone.model_type == "timm_backbone":
        return f"timm's `{backbone.backbone}`"
    fields = ("branch_channels", "stage_modules", "stage_blocks")
    for name, variant in VARIANTS.items():
        if backbone.model_type == "hrnet" and all(list(getattr(backbone, x)) == variant[x] for x in fields):
            small = " (small, version 2)" if name.endswith("s") else ""
            return f"HRNetV2-W{variant['branch_channels'][0]}{small}"
    return f"a `{backbone.model_type}` backbone"


def _training(folder: ModelFolder, facts: CardFacts | None) -> str:
    if folder.recipe is None:
        return "This repository doesn't record how the weights were trained."
    start = f"`{folder.pretrained}`" if folder.pretrained else "none (trained from scratch)"
    optimizer = f"{folder.field('optimizer', 'name')}, learning rate {folder.field('optimizer', 'lr')}"
    rows = {
        "steps": folder.field("schedule", "max_steps"),
        "global batch": folder.field("global_batch"),
        "crops (height x width)": _product(folder.field("data", "crop_size")),
        "optimizer": f"{optimizer}, weight decay {folder.field('optimizer', 'weight_decay')}",
        "initial weights" if folder.field("model", "init_from") else "backbone's initial weights": start,
        "mixed precision": folder.field("mixed_precision"),
        "seed": folder.field("seed"),
    }
    if (folder.metrics or {}).get("weights") == "ema":
        rows["weights"] = f"exponential moving average, decay {folder.field('model', 'ema_decay')}"
    reached = (folder.metrics or {}).get("step")
    if reached is not None and reached != rows["steps"]:
        rows["weights taken after step"] = reached
    table = markdown_table(("", ""), ((name, value) for name, value in rows.items() if value is not None))
    data = f"Data: {facts.text}" if facts else f"Data: `{folder.dataset}`."
    return f"{data}\n\n{table}\n\nThe complete recipe: [recipe.yaml](recipe.yaml)."


def _results(folder: ModelFolder) -> str:
    metrics = folder.metrics
    if not metrics or not any(_is_number(metrics.get(key)) for key in _OVERALL):
        return "No evaluation is recorded in this repository."
    overall = [(name, metrics[key]) for key, name in _OVERALL.items() if _is_number(metrics.get(key))]
    classes = metrics.get("iou") or {}
    text = f"Measured {_conditions(folder)}, in percent.\n\n" + _in_percent("", "", overall)
    if classes:
        text += "\n\n" + _in_percent("class", "IoU", classes.items())
        if not all(map(_is_number, classes.values())):
            text += "\n\nA class with – neither occurs there nor was predicted."
    return text + "\n\nThe same numbers: [metrics.json](metrics.json)."


def _conditions(folder: ModelFolder) -> str:
    """The data and settings of the evaluation, as far as the recipe records them. Scores under other conditions can't
    be compared with these."""
    metrics, evaluation = folder.metrics or {}, folder.field("evaluation") or {}
    inference = evaluation.get("inference") or {}
    words = [f"on {title_of(metrics.get('dataset') or 'data that is not recorded')}"]
    words += [f"split `{metrics['split']}`"] if metrics.get("split") else []
    words += [f"only its first {evaluation['limit']} images"] if evaluation.get("limit") else []
    words += [f"images resized to {_product(folder.field('data', 'scale'))} first"] if evaluation.get("resize") else []
    if inference:
        scales = inference.get("scales") or [1.0]
        words.append(f"{'one scale' if len(scales) == 1 else 'scales'} ({', '.join(map(str, scales))})")
        words.append("with flips" if inference.get("flip") else "without flips")
        words.append(f"windows of {_product(inference['window'])}" if inference.get("window") else "whole images")
    return ", ".join(words)


def _in_percent(title: str, metric: str, rows: Iterable[tuple[str, float | None]]) -> str:
    cells = ((name, f"{100 * value:.2f}" if _is_number(value) else "–") for name, value in rows)
    return markdown_table((title, metric), cells, numbers=(1,))


def _samples(pictures: Sequence[str]) -> str:
    if not pictures:
        return ""
    images = "\n\n".join(f"![image, prediction, truth]({path})" for path in pictures)
    return f"Pictures from the evaluated split, not hand-picked: image, prediction, truth.\n\n{images}"


def _licence(folder: ModelFolder, facts: CardFacts | None) -> str:
    parts = ["The code is under Apache-2.0.", facts.terms if facts else NO_TERMS]
    if folder.pretrained:
        part = "model" if folder.field("model", "init_from") else "backbone"
        parts.append(f"The {part} started from `{folder.pretrained}`, whose licence applies too.")
        if terms := terms_of(folder.pretrained):
            parts.append(terms.sentence(folder.pretrained))
    return " ".join(parts)


def _product(sizes: Sequence[int] | None) -> str | None:
    return None if sizes is None else "x".join(map(str, sizes))


def _is_number(value) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
