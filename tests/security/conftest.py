"""Shared by the tests of hostile input: scripts as functions, and a watch over everything that they might touch."""

import importlib.util
import logging
import resource
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from helpers.corrupt_files import picture, png
from helpers.tiny import tiny_config

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor

SCRIPTS = Path(__file__).parents[2] / "scripts"
BOUND = 400  # MB: what refusing a file may take at most; the bombs are of gigabytes


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of which only `out`, the working directory, may change; memory is bounded, and no canary is there."""
    for folder in ("out", "in"):
        (tmp_path / folder).mkdir()
    (tmp_path / "precious.txt").write_text("don't touch")
    monkeypatch.chdir(tmp_path / "out")
    watch = Watch(tmp_path)
    yield watch
    watch.check()


class Watch:
    def __init__(self, root: Path):
        self.root, self.input, self.output = root, root / "in", root / "out"
        self.canary = root / "canary"
        self.before = None

    def begin(self) -> None:
        """The inputs are written: from here on nothing but `out` may change."""
        self.before, self.memory = self._state(), _peak_memory()

    def check(self) -> None:
        assert self.before is not None, "the test never began"
        assert not self.canary.exists(), "code in a file was run"
        after = self._state()
        assert after == self.before, set(after.items()) ^ set(self.before.items())
        assert _peak_memory() - self.memory < BOUND

    def _state(self) -> dict:
        found = [x for x in self.root.rglob("*") if self.output not in (x, *x.parents)]
        return {str(x): (x.lstat().st_size, x.lstat().st_mtime_ns, x.is_symlink()) for x in found if not x.is_dir()}


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


@pytest.fixture
def script(capsys, monkeypatch):
    """`script("predict", *arguments)`: the last words of a script that must fail, with exit code 1 or 2."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
        importlib.import_module("_path")  # what every script begins with, and is found beside it

    def run(name: str, *argv, code: tuple[int, ...] = (1, 2)) -> str:
        spec = importlib.util.spec_from_file_location(f"{name}_script", SCRIPTS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for logger in (None, "modeling_ocrnet"):
            logging.getLogger(logger).handlers.clear()  # an earlier run's streams are closed
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            module.main([str(x) for x in argv])
        result = stopped.value.code
        output = capsys.readouterr()
        assert (1 if isinstance(result, str) else result) in code
        words = result if isinstance(result, str) else output.out + output.err
        assert "Traceback" not in words + output.err
        return words

    return run


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny network of CamVid's 11 classes."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hostile") / "checkpoint"
    OCRNetForSemanticSegmentation(tiny_config(num_labels=11)).save_pretrained(folder)
    OCRNetImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture
def camvid(place):
    """CamVid's tree with three good pairs in each split; called `bad`, one of them is there to be replaced."""
    for split in ("train", "val", "test"):
        for folder, content in ((split, png()), (f"{split}annot", picture(mode="L"))):
            (place.input / folder).mkdir()
            for name in ("bad", "good", "well"):
                (place.input / folder / f"{name}.png").write_bytes(content)
    return place.input


@pytest.fixture
def own(place):
    """Own data without pairs: `classes.json`, an image and a mask."""
    (place.input / "a.png").write_bytes(png())
    (place.input / "mask.png").write_bytes(picture(mode="L"))
    (place.input / "classes.json").write_text('["a", "b", "c", "d", "e"]')
    return place.input
