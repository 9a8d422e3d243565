"""How commands end: a user's mistake in one line, a bug with its traceback, both with exit code 1."""

import errno
import importlib
import importlib.util
import json
import logging
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny import tiny_config
from PIL import Image
from safetensors import SafetensorError

from modeling_ocrnet import OCRNetForSemanticSegmentation, OCRNetImageProcessor
from modeling_ocrnet.cli import compare_loss, convert, data, evaluate, export, predict, push, run, train
from modeling_ocrnet.common.errors import FileError, UserError, writing
from modeling_ocrnet.data import decoding, image_headers
from modeling_ocrnet.training.failure import SaveError, saving

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("errors") / "checkpoint"
    OCRNetForSemanticSegmentation(tiny_config(num_labels=19)).save_pretrained(folder)
    OCRNetImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    file = tmp_path_factory.mktemp("photos") / "photo.png"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(file)
    return file


@pytest.fixture
def log(tmp_path):
    """Our metrics, as compare_loss reads them."""
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "loss": 2.0}\n')
    return file


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    package = logging.getLogger("modeling_ocrnet")
    before = package.handlers[:], package.propagate, package.level
    yield
    package.handlers[:], package.propagate, level = before
    package.setLevel(level)


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(SCRIPTS)])
    spec = importlib.util.spec_from_file_location("benchmark_script", SCRIPTS / "benchmark.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(benchmark, checkpoint, photo, log, scenes, monkeypatch, tmp_path):
    """Each command: its module, a command line that works, and what of ours is called deep inside."""
    small = ["--data.name", "street_scenes", "--data.root", scenes, "--output", tmp_path / "run"]
    monkeypatch.setattr("modeling_ocrnet.export.formats.program_problem", lambda: None)  # whatever torch it is
    return {
        "train.py": (train, small, "modeling_ocrnet.training.loop.build"),
        "evaluate.py": (
            evaluate,
            [checkpoint, "--name", "street_scenes", "--root", scenes],
            "modeling_ocrnet.evaluation.evaluate_checkpoint.evaluate_model",
        ),
        "predict.py": (
            predict,
            [checkpoint, photo, "--output", tmp_path / "out"],
            "modeling_ocrnet.inference.files.segment",
        ),
        "export.py": (
            export,
            [checkpoint, tmp_path / "out", "--format", "torch", "--images", photo],
            "modeling_ocrnet.export.formats.export_program",
        ),
        "convert_checkpoint.py": (
            convert,
            [checkpoint, tmp_path / "out.pth", "--to", "mmseg"],
            "modeling_ocrnet.conversion.mmseg.export",
        ),
        "prepare_data.py": (
            data,
            ["inspect", "street_scenes", "--root", scenes, "--output", tmp_path / "out"],
            "modeling_ocrnet.preparation.inspection.collect_statistics",
        ),
        "push_to_hub.py": (push, [checkpoint, "me/street"], "modeling_ocrnet.hub.push.HfApi"),
        "compare_loss.py": (
            compare_loss,
            ["--candidate", log, "--baseline", log],
            "modeling_ocrnet.interop.loss_logs._json_lines",
        ),
        "benchmark.py": (benchmark, ["data"], "benchmarks.data.write_noisy_frames"),
    }


PROGRAMS = ["train.py", "evaluate.py", "predict.py", "export.py", "convert_checkpoint.py", "prepare_data.py"]
PROGRAMS += ["push_to_hub.py", "compare_loss.py", "benchmark.py"]


def end(module, argv, capsys) -> tuple[object, str]:
    """What a command that fails says on stderr, its last line included, and its exit code as the shell sees it."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        module.main([str(x) for x in argv])
    code, said = stopped.value.code, capsys.readouterr().err
    return (1, f"{said}{code}\n") if isinstance(code, str) else (code, said)


@pytest.mark.parametrize("bug", [ValueError("a bug"), KeyError("a bug"), OSError(2, "a bug"), RuntimeError("a bug")])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_bug_keeps_its_traceback(program, bug, commands, monkeypatch, capsys, tmp_path):
    def planted(*_, **__):
        raise bug

    module, argv, place = commands[program]
    owner, _, name = place.rpartition(".")
    monkeypatch.setattr(importlib.import_module(owner), name, planted)
    code, said = end(module, argv, capsys)
    assert code == 1
    assert "Traceback (most recent call last)" in said
    assert "in planted\n    raise bug" in said
    assert said.splitlines()[-1].startswith(f"{program}: {type(bug).__name__}: ")
    if program == "train.py":
        written = (tmp_path / "run" / "train.log").read_text()
        assert "in planted\n    raise bug" in written


MISTAKES = {
    "train.py": ["--data.name", "street_scenes", "--output", "/proc/self/run"],
    "evaluate.py": ["nowhere/at/all", "--name", "camvid", "--root", "nowhere"],
    "predict.py": ["nowhere/at/all", "none.png"],
    "export.py": ["nowhere/at/all", "out", "--format", "torch", "--images", "none.png"],
    "convert_checkpoint.py": ["none.pth", "out"],
    "prepare_data.py": ["inspect", "camvid", "--root", "nowhere", "--workers", "0"],
    "push_to_hub.py": ["nowhere", "me/street"],
    "compare_loss.py": ["--candidate", "none.log", "--baseline", "none.log"],
    "benchmark.py": ["data", "--rounds", "0"],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_users_mistake_is_one_line(program, commands, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, said = end(commands[program][0], MISTAKES[program], capsys)
    assert code == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith(f"{program}: ")


@pytest.mark.parametrize("program", ["predict.py", "convert_checkpoint.py", "export.py", "prepare_data.py"])
def test_a_place_that_cannot_be_written_is_the_users(program, commands, capsys, tmp_path):
    """Below a file, where not even root can."""
    module, argv, _ = commands[program]
    (tmp_path / "file").touch()
    argv = [tmp_path / "file" / "x" if str(x).startswith(str(tmp_path / "out")) else x for x in argv]
    code, said = end(module, argv, capsys)
    assert code == 1
    assert "Traceback" not in said
    assert f"{tmp_path / 'file'}" in said.splitlines()[-1]


def test_ctrl_c_ends_with_130(commands, monkeypatch, capsys):
    def pressed(*_, **__):
        raise KeyboardInterrupt

    module, argv, _ = commands["predict.py"]
    monkeypatch.setattr("modeling_ocrnet.inference.files.segment", pressed)
    code, said = end(module, argv, capsys)
    assert code == 130
    assert "Traceback" not in said


def test_the_launcher_is_told_the_first_cause(monkeypatch, tmp_path):
    from modeling_ocrnet.training.failure import ProcessLost

    report = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(report))
    for error, written in ((ProcessLost("what followed"), False), (UserError("the cause"), True)):
        with pytest.raises(SystemExit, match=str(error)):
            run.exit_with_error("train.py", error)
        assert report.exists() == written
    assert json.loads(report.read_text())["message"]["message"] == "the cause"


def test_a_process_of_many_says_which_it_is(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match=r"^train.py, process 1: bad$"):
        run.exit_with_error("train.py", UserError("bad"))


def test_the_log_has_what_the_console_spares(tmp_path):
    """The traceback of what a message was made from."""
    handler = logging.FileHandler(tmp_path / "train.log")
    package = logging.getLogger("modeling_ocrnet")
    package.addHandler(handler)
    try:
        with pytest.raises(SystemExit, match=r"^train.py: a number was expected$"):
            counting()
    finally:
        package.removeHandler(handler)
    text = (tmp_path / "train.log").read_text()
    assert text.startswith("a number was expected\n")
    assert 'int("seven")' in text


@run.command("train.py")
def counting():
    try:
        int("seven")
    except ValueError as error:
        raise UserError("a number was expected") from error


def rust(number: int) -> SafetensorError:
    return SafetensorError(f"Error while serializing: I/O error: something (os error {number})")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        rust(28),
        rust(122),
    ],
)
def test_room_is_asked_for_if_the_system_says_so(error, tmp_path):
    if isinstance(error, SafetensorError) and sys.platform != "linux":
        pytest.skip("these are Linux's numbers")
    with (
        pytest.raises(SaveError, match=r"can't be written .*: free disk space, and continue with --resume last"),
        saving(tmp_path),
    ):
        raise error


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Not permitted"), OSError(errno.EROFS, "Read-only"), rust(13)])
def test_room_is_not_asked_for_otherwise(error, tmp_path):
    with pytest.raises(SaveError, match="intact: fix that") as refused, saving(tmp_path):
        raise error
    assert "free disk space" not in str(refused.value)


def test_a_bug_while_saving_is_no_full_disk(tmp_path, monkeypatch):
    """torch says of a full disk no more than RuntimeError: then the disk is asked."""
    usage = namedtuple("usage", "total used free")
    for free, kind in ((10**9, RuntimeError), (0, SaveError)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(10**9, 10**9 - free, free))
        with pytest.raises(RuntimeError) as raised, saving(tmp_path / "not/there"):
            raise RuntimeError("PytorchStreamWriter failed writing file data/0")
        assert type(raised.value) is kind


def test_a_file_error_is_both():
    """Who called the package's functions may catch what Python raises for such a file."""
    with pytest.raises(OSError, match="x: can't be written") as caught, writing("x"):
        raise PermissionError(errno.EACCES, "Permission denied", "y")
    assert isinstance(caught.value, FileError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == "x: can't be written (Permission denied): choose another place, or fix that"


@pytest.mark.parametrize("part", ["check_tiff_is_read_whole", "unmap"])
def test_a_mistake_of_ours_while_a_picture_is_opened_is_no_damaged_picture(part, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(image_headers, part, None)
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        decoding.open_image({"path": str(photo), "bytes": None})
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    with pytest.raises(UserError, match=r"broken\.png: not a readable image"):
        decoding.open_image({"path": str(broken), "bytes": None})
