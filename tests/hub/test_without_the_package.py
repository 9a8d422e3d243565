"""trust_remote_code in a process that doesn't have the package: from a folder and from a Hub, over any backbone."""

import pytest
import torch
from helpers.clean_process import run_without_the_package
from helpers.hub_on_loopback import WRITER
from helpers.tiny import tiny_backbone, tiny_config
from huggingface_hub import HfApi
from transformers import ResNetConfig, TimmBackboneConfig

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor
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
