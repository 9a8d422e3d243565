"""The model card of a converted checkpoint."""

from __future__ import annotations

from pathlib import Path

from ..common.atomic_files import sha256

_USE = {
    True: """\
```python
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

import modeling_ocrnet  # registers the classes

processor = AutoImageProcessor.from_pretrained("{folder}")
model = AutoModelForSemanticSegmentation.from_pretrained("{folder}")
```""",
    False: "This is a backbone without a head. To start training from it: `--model.backbone {folder}`.",
}


def model_card(path: Path, model, report) -> str:
    """README.md of a converted folder: what it is, where it came from (name and SHA-256 of the file), how to use it.

    Args:
        path: the original checkpoint.
        model: the converted model.
        report ([`ConversionReport`]): what the conversion did with every weight.
    """
    is_ocrnet = model.config.model_type == "ocrnet"
    header = ["library_name: transformers"]
    if is_ocrnet:
        header += [
            "pipeline_tag: image-segmentation",
            "tags:",
            "- semantic-segmentation",
            "- ocrnet",
            "- arxiv:1909.11065",
        ]
    changes = "\n".join(f"- `{name}` was left out: {reason}." for name, reason in list(report.dropped.items())[:20])
    title = "OCRNet, converted" if is_ocrnet else "Backbone, converted"
    sections = [
        "---\n" + "\n".join(header) + "\n---",
        f"# {title}",
        f"{report.description}.",
        f"Converted from `{path.name}` (SHA-256 `{sha256(path)}`), a checkpoint of {report.origin}. The weights belong "
        "to its authors, and their terms of use apply. All tensors were converted."
        + (f"\n\n{changes}" if changes else ""),
        _USE[is_ocrnet].format(folder="path/to/this/folder"),
    ]
    return "\n\n".join(sections) + "\n"
