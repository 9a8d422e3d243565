"""pipeline("image-segmentation"), with the package imported; without it: tests/hub/test_push.py."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.terminal import run_on_a_terminal
from helpers.tiny import tiny_config
from PIL import Image
from transformers import pipeline

import modeling_ocrnet
from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor, OCRNetImageProcessorPil


@pytest.fixture
def folder(tmp_path):
    names = {0: "road", 1: "sky", 2: "tree"}
    config = tiny_config(id2label=names)
    OCRNetForSemanticSegmentation(config).save_pretrained(tmp_path)
    OCRNetImageProcessor().save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def said():
    """What transformers logs; it doesn't pass its records on to the root logger, where caplog listens."""
    records = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append(record)

    handler, logger = Keep(), logging.getLogger("transformers")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def test_masks_are_the_label_map_and_nothing_is_called_unsupported(folder, said):
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    segmenter = pipeline("image-segmentation", model=str(folder))
    image = Image.effect_noise((60, 40), 80).convert("RGB")
    segments = segmenter(image)
    assert [x.getMessage() for x in said if x.levelno >= logging.ERROR] == []
    assert {name: logging.getLogger(name).level for name in levels} == levels

    processor = OCRNetImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        logits = OCRNetForSemanticSegmentation.from_pretrained(folder)(**processor(image, return_tensors="pt")).logits
    label_map = torch.nn.functional.interpolate(logits, size=(40, 60), mode="bilinear").argmax(1)[0].numpy()
    names = ("road", "sky", "tree")
    assert [x["label"] for x in segments] == [names[i] for i in np.unique(label_map)]
    for segment in segments:
        np.testing.assert_array_equal(np.asarray(segment["mask"]) == 255, label_map == names.index(segment["label"]))


LOAD = """
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModelForSemanticSegmentation, pipeline
import modeling_ocrnet
for backend in (None, "torchvision", "pil"):
    processor = AutoImageProcessor.from_pretrained({folder!r}, **({{"backend": backend}} if backend else {{}}))
    assert type(processor).__module__ == "modeling_ocrnet.image_processing_ocrnet"
assert type(AutoConfig.from_pretrained({folder!r})) is modeling_ocrnet.OCRNetConfig
model = AutoModelForSemanticSegmentation.from_pretrained({folder!r})
assert type(model) is modeling_ocrnet.OCRNetForSemanticSegmentation
segments = pipeline("image-segmentation", model={folder!r})(Image.new("RGB", (64, 32)))
print("segments:", len(segments))
"""


@pytest.mark.slow
@pytest.mark.parametrize("processor", [OCRNetImageProcessor, OCRNetImageProcessorPil])
def test_nobody_is_asked_whether_to_run_code(folder, processor):
    """transformers asks on a terminal alone, waits for an answer, and goes on without one."""
    processor().save_pretrained(folder)
    output = run_on_a_terminal(LOAD.format(folder=str(folder)))
    assert re.search(r"segments: [1-3]\s*$", output), output
    assert "[y/N]" not in output, output


def test_a_batch_of_several_sizes_needs_a_size(folder, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # transformers sets it
    images = [Image.effect_noise(size, 80).convert("RGB") for size in ((60, 40), (40, 60))]
    segmenter = pipeline("image-segmentation", model=str(folder))
    one_by_one = segmenter(images)
    assert [x[0]["mask"].size for x in one_by_one] == [(60, 40), (40, 60)]
    with pytest.raises(RuntimeError, match=r"Sizes of tensors must match"):
        segmenter(images, batch_size=2)
    resizing = OCRNetImageProcessor(do_resize=True, size={"height": 32, "width": 48})
    segmenter = pipeline("image-segmentation", model=str(folder), image_processor=resizing)
    assert [x[0]["mask"].size for x in segmenter(images, batch_size=2)] == [(60, 40), (40, 60)]


def test_the_package_touches_no_loggers_level():
    sources = Path(modeling_ocrnet.__file__).parent.glob("*.py")
    assert [p.name for p in sources if re.search(r"setLevel|set_verbosity|logging\.disable", p.read_text())] == []
