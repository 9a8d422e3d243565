"""trust_remote_code in a process that doesn't have the package: from a folder and from a Hub, over any backbone."""

import pytest
import torch
from helpers.clean_process import run_without_the_package
from helpers.hub_on_loopback import WRITER
from helpers.tiny import tiny_backbone, tiny_config
from huggingface_hub import HfApi
from transformers import ResNetConfig, TimmBackboneConfig

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor, OCRNetImageProcessorPil
from modeling_ocrnet.hub.push import push

BACKBONES = {
    "hrnet": tiny_backbone,
    "timm": lambda: TimmBackboneConfig(backbone="test_resnet", out_indices=[1, 2, 3, 4]),
    "transformers": lambda: ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 24],
        depths=[1] * 4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    ),
}
LOAD = """
import torch
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
images, expected = torch.load("expected.pt")
for backbone, logits in expected.items():
    for place in (f"{backbone}", f"me/{backbone}"):
        model = AutoModelForSemanticSegmentation.from_pretrained(place, trust_remote_code=True)
        processor = AutoImageProcessor.from_pretrained(place, trust_remote_code=True)
        assert type(model).__module__.startswith("transformers_modules"), type(model)
        assert type(processor).__module__.startswith("transformers_modules"), type(processor)
        inputs = processor(list(images), return_tensors="pt")
        # sums round otherwise with another number of threads
        torch.testing.assert_close(model(**inputs).logits, logits, rtol=1e-4, atol=1e-5, msg=place)
        torch.testing.assert_close(model.fuse()(**inputs).logits, logits, rtol=1e-4, atol=1e-5, msg=place)
"""

LOAD_WITHOUT_TORCHVISION = """
import sys
sys.modules["torchvision"] = None  # importing it raises
from transformers import AutoImageProcessor
import torch
images, maps, expected = torch.load("expected.pt", weights_only=False)
for place in ("saved_by_torchvision", "saved_by_pil"):
    processor = AutoImageProcessor.from_pretrained(place, backend="pil", trust_remote_code=True)
    assert type(processor).__name__ == "OCRNetImageProcessorPil", type(processor)
    processor.save_pretrained("again")
    for loaded in (processor, AutoImageProcessor.from_pretrained("again", trust_remote_code=True)):
        found = loaded(images, maps, return_tensors="pt")
        torch.testing.assert_close(found["pixel_values"], expected["pixel_values"], rtol=0, atol=0)
        assert torch.equal(found["labels"], expected["labels"])
"""


@pytest.mark.slow
def test_pils_processor_travels_without_torchvision(tmp_path):
    """Also saved by the other backend, and again by the code that came with it."""
    fields = {"do_resize": True, "size": {"height": 40, "width": 30}}
    for processor, folder in (
        (OCRNetImageProcessor, "saved_by_torchvision"),
        (OCRNetImageProcessorPil, "saved_by_pil"),
    ):
        processor(**fields).save_pretrained(tmp_path / folder)
    torch.manual_seed(0)
    images = list(torch.randint(0, 256, (2, 20, 60, 3), dtype=torch.uint8).numpy())
    maps = list(torch.randint(0, 5, (2, 20, 60), dtype=torch.uint8).numpy())
    expected = OCRNetImageProcessorPil(**fields)(images, maps, return_tensors="pt")
    torch.save((images, maps, dict(expected)), tmp_path / "expected.pt")
    run_without_the_package(LOAD_WITHOUT_TORCHVISION, tmp_path)


@pytest.mark.slow
def test_every_backbone_loads_from_a_folder_and_from_a_hub(hub, tmp_path):
    pytest.importorskip("timm")
    images, expected = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8), {}
    for name, backbone in BACKBONES.items():
        torch.manual_seed(0)
        config = tiny_config(backbone_config=backbone(), num_labels=4)
        model, processor = OCRNetForSemanticSegmentation(config).eval(), OCRNetImageProcessor()
        with torch.no_grad():
            expected[name] = model(**processor(list(images), return_tensors="pt")).logits
        for part in (model, processor):
            part.save_pretrained(tmp_path / name)
        push(str(tmp_path / name), f"me/{name}", api=HfApi(endpoint=hub.url, token=WRITER))
    torch.save((images, expected), tmp_path / "expected.pt")
    run_without_the_package(LOAD, tmp_path, hub.environment(token=None))
