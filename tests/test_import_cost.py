"""What `import modeling_ocrnet` brings along: the model's own files, not the toolbox and what that needs."""

import subprocess
import sys

import pytest

CODE = """
import sys
from transformers import AutoModelForSemanticSegmentation, PreTrainedModel
before = set(sys.modules)
import modeling_ocrnet
import modeling_ocrnet.inference
from transformers import AutoConfig
assert AutoConfig.for_model("ocrnet").backbone_config.model_type == "hrnet"
print(*sorted(set(sys.modules) - before))
"""
TOOLBOX = ("data", "evaluation", "training", "conversion", "hub", "export", "preparation", "benchmark")
HEAVY = {"accelerate", "cv2", "datasets", "evaluate", "jsonargparse", "matplotlib", "nncf", "onnx", "onnxruntime"}
HEAVY |= {"onnxscript", "openvino", "pandas", "pyarrow", "scipy", "sklearn", "timm"}


@pytest.mark.slow
def test_importing_the_package_is_cheap():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert {x.split(".")[0] for x in imported} & HEAVY == set()
    ours = {x for x in imported if x.startswith("modeling_ocrnet.")}
    assert "modeling_ocrnet.modeling_ocrnet" in ours
    assert ours & {f"modeling_ocrnet.{x}" for x in TOOLBOX} == set()
    assert "modeling_ocrnet.inference.predictor" not in ours
