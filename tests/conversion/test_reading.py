"""Foreign files: what they may hold, and what they can't do."""

import builtins
import collections
import os
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modeling_ocrnet.conversion.loading import read_checkpoint

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7), "h": torch.ones(3).half()}


def assert_weights(state):
    assert state.keys() == WEIGHTS.keys()
    for key, value in WEIGHTS.items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0)


@pytest.fixture
def mmengine(monkeypatch):
    """mmengine's HistoryBuffer, as far as pickling goes; gone again before the file is read."""
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self):
            self._log_history = np.array([1.0, 2.0])
            self._statistics_methods = {"mean": self.mean}  # pickled as getattr(buffer, "mean")

        def mean(self):
            return 1.5

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer
    for name in ("mmengine", "mmengine.logging", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_raw_training_checkpoint_of_mmsegmentation(mmengine, monkeypatch, tmp_path, legacy):
    """`weights_only=True` refuses it; here the objects become placeholders, and the weights are read."""
    path = tmp_path / "iter_160000.pth"
    content = {
        "state_dict": collections.OrderedDict(WEIGHTS),
        "meta": {"dataset_meta": {"classes": ("road", "sky")}, "iter": np.int64(160000)},
        "message_hub": {"log_scalars": {"loss": mmengine.HistoryBuffer()}},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}},
    }
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    for name in [x for x in sys.modules if x.startswith("mmengine")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    checkpoint = read_checkpoint(path)
    assert_weights(checkpoint.state)
    assert checkpoint.extras["meta"]["dataset_meta"]["classes"] == ("road", "sky")
    assert not any(x.startswith("mmengine") for x in sys.modules)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_plain_files(wrapper, tmp_path):
    """The weights come back equal, whatever key holds them; what stands beside them is kept."""
    torch.save(WEIGHTS if wrapper is None else {wrapper: WEIGHTS, "epoch": 3}, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    assert_weights(checkpoint.state)
    assert checkpoint.extras == ({} if wrapper is None else {"epoch": 3})


def test_safetensors(tmp_path):
    """The weights come back equal."""
    save_file(WEIGHTS, tmp_path / "x.safetensors")
    assert_weights(read_checkpoint(tmp_path / "x.safetensors").state)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["beside", "inside"])
@pytest.mark.parametrize(
    ("function", "named"),
    [(os.system, "system"), (builtins.eval, "builtins.eval"), (builtins.open, "io.open"), (os.mkdir, "mkdir")],
    ids=["system", "eval", "open", "mkdir"],
)
def test_a_pickle_that_wants_to_run_something_is_refused(function, named, place, legacy, tmp_path):
    marker = tmp_path / "ran"
    argument = {os.system: f"touch {marker}", builtins.eval: f"open({str(marker)!r}, 'w')"}.get(function, str(marker))
    evil = Call(function, argument, "w") if function is builtins.open else Call(function, argument)
    state = dict(WEIGHTS)
    content = {"state_dict": state, "meta": evil} if place == "beside" else {"state_dict": {**state, "b": evil}}
    path = tmp_path / "evil.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=rf"evil\.pth: refused: it asks to run .*{named}.*Nothing was run"):
        read_checkpoint(path)
    assert not marker.exists()


def test_a_placeholder_runs_nothing_of_an_installed_library(tmp_path, monkeypatch):
    """Names outside the standard library aren't imported either, though they could be."""
    module = types.ModuleType("somebodys_library")
    ran = []

    def act():
        ran.append(1)
        return {}

    act.__module__, act.__qualname__, module.act = module.__name__, "act", act
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save({"state_dict": WEIGHTS, "meta": Call(act)}, tmp_path / "x.pth")
    assert_weights(read_checkpoint(tmp_path / "x.pth").state)
    assert ran == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, expected a state dict"),
        ({"state_dict": {"a": 3}}, "found 'a', a int, where weights should be"),
        ({}, "found nothing where weights should be"),
        (Call(torch._utils._rebuild_tensor_v2, "no", "tensor"), "not a file of weights, or damaged"),
    ],
)
def test_what_is_no_checkpoint_is_named(content, message, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=f"x.pth: {message}"):
        read_checkpoint(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*TorchScript archive")
def test_a_torchscript_program_is_not_run(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "program.pth")
    with pytest.raises(ValueError, match="program.pth: not a file of weights.*TorchScript"):
        read_checkpoint(tmp_path / "program.pth")


def test_damaged_and_absent_files(tmp_path):
    torch.save(WEIGHTS, tmp_path / "x.pth")
    whole = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pth").write_text("<html>404</html>")
    (tmp_path / "text.safetensors").write_text("<html>404</html>")
    for name in ("half.pth", "text.pth", "text.safetensors"):
        with pytest.raises(ValueError, match=f"{name}: not a file of weights, or damaged"):
            read_checkpoint(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"none.pth: no such file"):
        read_checkpoint(tmp_path / "none.pth")
