"""Batch norms that stay in eval mode in training."""

import copy
import pickle

import torch
from helpers.tiny import tiny_config
from torch import nn

from modeling_ocrnet import OCRNetForSemanticSegmentation
from modeling_ocrnet.training.freezing import keep_batch_norms_in_eval


class WithActivation(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


def test_norms_stay_in_eval_mode():
    x = torch.randn(4, 3, 8, 8)
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3), WithActivation(3), nn.SyncBatchNorm(3))
    before = copy.deepcopy(model.state_dict())
    expected = copy.deepcopy(model).eval()(x)
    assert keep_batch_norms_in_eval(keep_batch_norms_in_eval(model)) is model
    for copied in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied.train()
        assert [part.training for part in copied] == [True, False, False, False]
        assert torch.equal(copied[1:](x), expected)
        copied[1:](x).sum().backward()
        assert copied[1].weight.grad is not None
        assert copied.state_dict().keys() == before.keys()
        assert all(torch.equal(value, before[name]) for name, value in copied.state_dict().items())


def test_norms_of_one_dimension():
    assert not keep_batch_norms_in_eval(nn.BatchNorm1d(3)).train().training


def test_a_part_of_a_model():
    model = OCRNetForSemanticSegmentation(tiny_config())
    keep_batch_norms_in_eval(model.backbone.layer1)
    model.train()
    norms = {name: x for name, x in model.named_modules() if isinstance(x, nn.BatchNorm2d)}
    still = {name for name, norm in norms.items() if not norm.training}
    assert still == {name for name in norms if name.startswith("backbone.layer1.")} != set()
