import json, pytest, torch
from pathlib import Path
from helpers.tiny import TINY_BACKBONE
from modeling_ocrnet import OCRNetForSemanticSegmentation as M
from modeling_ocrnet.training import loop
from modeling_ocrnet.training import recipe as R
peft = pytest.importorskip("peft")

def test_try(quick_recipe, tmp_path, recwarn):
    heads = {"ocr_channels": 16, "key_channels": 8, "dropout": 0.0}
    recipe = quick_recipe(lora=R.LoraRecipe(rank=2), model=R.ModelRecipe("hr18s", None, heads, TINY_BACKBONE, gradient_checkpointing=True, ema_decay=0.9), schedule=R.ScheduleRecipe(max_steps=3), mixed_precision="bf16")
    folder = loop.train(recipe)
    print(sorted(x.name for x in folder.parent.iterdir()), sorted(x.name for x in (folder.parent/"adapter").iterdir()))
    print((folder.parent/"train.log").read_text()[-3000:])
    print((folder.parent/"adapter/adapter_config.json").read_text())
    print([str(w.message) for w in recwarn])
    assert 0
