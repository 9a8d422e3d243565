"""What leans on private parts of other libraries, compared with what these do in public: it fails when they move."""

import ast
import errno
import inspect
import os
import pickle
import re
import sys
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import datasets
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin
from helpers.skipping import skip_if
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers.modeling_outputs import BackboneOutput
from transformers.utils import can_return_tuple

from modeling_ocrnet.common import compat

PACKAGE = Path(compat.__file__).parent


@pytest.fixture
def accelerator():
    from accelerate.state import AcceleratorState

    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


def test_it_imports_nothing_heavy():
    tree = ast.parse(inspect.getsource(compat))
    top = [x for x in tree.body if isinstance(x, (ast.Import, ast.ImportFrom))]
    names = {getattr(x, "module", None) or x.names[0].name for x in top}
    assert {x.split(".")[0] for x in names} <= set(sys.stdlib_module_names)


_PRIVATE_IMPORT = re.compile(r"^\s*(?:from|import) (?:torch|accelerate|transformers|datasets)[\w.]*\._\w", re.MULTILINE)
_PRIVATE_NAME = re.compile(r"\b(?:torch|accelerator|datasets|transformers|builder)(?:\.\w+)*\._[a-z]\w*(?!\w*\")")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_other_file_of_the_toolbox_leans_on_them(path):
    """The model's own files are on their own: they travel without this module."""
    if path.parent == PACKAGE or path.stem == "compat":
        pytest.skip("it may")
    text = path.read_text(encoding="utf-8")
    code = "\n".join(x for x in ast.unparse(_without_docstrings(ast.parse(text))).splitlines())
    assert not _PRIVATE_IMPORT.search(code)
    assert not _PRIVATE_NAME.search(code)
    assert "format_kwargs" not in code
    assert "RNG_STATE_NAME" not in code


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [x for x in body if not (isinstance(x, ast.Expr) and isinstance(x.value, ast.Constant))]
            node.body = node.body or [ast.Pass()]
    return ast.fix_missing_locations(tree)


# errors that libraries tell apart by their text alone


class _Dying(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        os._exit(1)


def test_a_worker_that_died():
    with pytest.raises(RuntimeError) as died:
        list(torch.utils.data.DataLoader(_Dying(), num_workers=1))
    assert compat.worker_died(died.value)
    assert not compat.worker_died(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_peer_that_is_lost(tmp_path):
    """Of two processes the other never comes."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 2)
    with pytest.raises(RuntimeError) as lost:
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=2, timeout=timedelta(seconds=0.2))
    assert compat.peer_lost(lost.value), lost.value
    assert compat.peer_lost(RuntimeError("Application timeout caused pair closure"))  # gloo's too, without its name
    assert not compat.peer_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not compat.peer_lost(ValueError("x"))


def test_the_errno_of_safetensors(tmp_path):
    """It can't write to a folder that isn't there."""
    with pytest.raises((SafetensorError, OSError)) as refused:
        save_file({"a": torch.ones(1)}, tmp_path / "none" / "a.safetensors")
    assert compat.errno_of(refused.value) == errno.ENOENT
    assert compat.errno_of(RuntimeError("(os error 28)")) is None
    assert compat.errno_of(OSError(errno.ENOSPC, "x")) == errno.ENOSPC


@pytest.mark.parametrize("content", [b"", b"<html>", b"\0" * 100, b"\xff" * 100])
def test_damaged_files_raise_what_is_listed(content, tmp_path):
    from safetensors.torch import load_file

    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(compat.damaged_file_errors()):
        torch.load(file, weights_only=True)
    with pytest.raises(compat.damaged_file_errors()):
        load_file(file)
    assert not issubclass(TypeError, compat.damaged_file_errors())
    assert not issubclass(KeyError, compat.damaged_file_errors())


def test_running_out_of_memory_is_of_the_machine():
    assert compat.of_the_machine(torch.OutOfMemoryError("x"))
    assert not compat.of_the_machine(RuntimeError("x"))


# accelerate


def test_what_save_state_writes(accelerator, tmp_path):
    """The random generators' file, and the optimizers that `load_state` fills."""
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    prepared = accelerator.prepare(network, optimizer)[1]
    assert compat.prepared_optimizers(accelerator) == [prepared]
    accelerator.save_state(str(tmp_path / "state"))
    assert (tmp_path / "state" / compat.random_states_file(0)).is_file()


def test_the_count_of_micro_batches(accelerator):
    """As `accumulate` tells of it: from the start, two go into an update."""
    accelerator.gradient_accumulation_steps = 2
    network = torch.nn.Linear(2, 2)

    def syncs() -> bool:
        with accelerator.accumulate(network):
            return accelerator.sync_gradients

    assert [syncs(), syncs(), syncs()] == [False, True, False]
    compat.restart_accumulation(accelerator)
    assert [syncs(), syncs()] == [False, True]


def test_the_plugins_have_the_fields_that_are_set():
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy="NO_WRAP")
    assert (plugin.fsdp_version, plugin.auto_wrap_policy) == (2, None)
    assert "mixed_precision_policy" in {x.name for x in fields(plugin)}
    assert "deepspeed_config" in inspect.getsource(DeepSpeedPlugin)
    assert isinstance(Accelerator.deepspeed_plugin, property)


def test_fsdps_settings_are_where_accelerate_keeps_them(accelerator):
    with pytest.raises(AttributeError, match="fsdp_plugin"):  # on a CPU there are none, and this is how it says so
        compat.fsdp_plugin(accelerator)
    assert "fsdp_plugin" in inspect.getsource(type(accelerator.state))


# datasets


def test_the_transform_of_rows():
    rows = datasets.Dataset.from_dict({"x": [1, 2]})

    def double(batch):
        return {"x": [2 * x for x in batch["x"]]}

    transform = compat.transform_of(rows.with_transform(double))
    assert transform is double
    assert transform(rows[:]) == rows.with_transform(double)[:]


def test_the_files_of_a_builder(tmp_path):
    for split in ("train", "test"):
        datasets.Dataset.from_dict({"x": [split]}).to_parquet(tmp_path / f"{split}.parquet")
    builder = datasets.load_dataset_builder(str(tmp_path))
    files = compat.data_files_of(builder)
    assert {split: [Path(x).name for x in names] for split, names in files.items()} == {
        "train": ["train.parquet"],
        "test": ["test.parquet"],
    }
    alone = datasets.load_dataset(str(tmp_path), data_files={"test": files["test"]}, split="test")
    assert alone["x"][:] == ["test"]


# torch


def test_what_torch_save_names_is_rebuilt(tmp_path):
    """Every function that a file of tensors and parameters asks for is one that is allowed."""
    asked = set()

    class Asking(pickle.Unpickler):
        def find_class(self, module, name):
            asked.add((module, name))
            return super().find_class(module, name)

    module = type(sys)("asking")
    module.Unpickler, module.load = Asking, lambda file, **options: Asking(file, **options).load()
    content = {"a": torch.ones(2), "b": torch.nn.Parameter(torch.ones(3))}
    torch.save(content, tmp_path / "x.pt")
    loaded = torch.load(tmp_path / "x.pt", weights_only=False, pickle_module=module)
    assert torch.equal(loaded["b"], content["b"])
    functions = {x for x in asked if x[0] == "torch._utils"}
    assert functions
    assert functions <= dict(compat.tensor_rebuilders()).keys()


def test_models_are_compiled_where_nothing_is_said_against_it():
    class Module(torch.nn.Module):
        @can_return_tuple
        def forward(self, x):
            return BackboneOutput(feature_maps=(2 * x,))

    torch.compiler.reset()
    compiled = torch.compile(Module(), backend="eager", fullgraph=True)
    if compat.compile_problem() is None:
        torch.testing.assert_close(compiled(torch.ones(1)).feature_maps[0], 2 * torch.ones(1))
    else:
        with pytest.raises(NameError, match="torch"):
            compiled(torch.ones(1))
    torch.compiler.reset()


def test_programs_for_any_size_are_torch_2_9s():
    version = tuple(int(x) for x in torch.__version__.split(".")[:2])
    assert (compat.program_problem() is None) == (version >= (2, 9))


def test_a_program_for_any_size():
    skip_if(compat.program_problem())

    class Halves(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.interpolate(x, size=(x.shape[2] // 2, x.shape[3]))

    sizes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = compat.export_any_size(Halves(), (torch.rand(2, 3, 65, 101),), {"x": sizes})
    for shape in ((1, 3, 8, 6), (5, 3, 33, 70)):
        images = torch.rand(shape)
        torch.testing.assert_close(program.module()(images), Halves()(images))


@pytest.mark.slow
def test_an_aotinductor_package(tmp_path):
    """It computes what the module computes, where there is a compiler; a machine without one is told apart before."""
    if not compat.has_cpp_compiler():
        pytest.skip("there is no C++ compiler")
    module = torch.nn.Linear(3, 2)
    images = torch.rand(4, 3)
    with torch.no_grad():
        program = torch.export.export(module, (images,))
        compat.aoti_compile(program, str(tmp_path / "x.pt2"), {"freezing": True, "cpp.dynamic_threads": True})
        torch.testing.assert_close(compat.aoti_load(str(tmp_path / "x.pt2"))(images), module(images))


def test_a_machine_without_a_compiler(monkeypatch, tmp_path):
    from torch._inductor import config, cpp_builder

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(config.cpp, "cxx", (None, str(tmp_path / "none")))
    getattr(cpp_builder.get_cpp_compiler, "cache_clear", int)()
    assert not compat.has_cpp_compiler()


def test_tensors_are_copied_as_one_by_one():
    targets, sources = [torch.zeros(2), torch.zeros(3)], [torch.rand(2), torch.rand(3)]
    compat.copy_tensors_(targets, sources)
    torch.testing.assert_close(targets, sources, rtol=0, atol=0)


def test_the_cpus_instructions_as_the_system_lists_them():
    cpuinfo = Path("/proc/cpuinfo")
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    if flags is None:
        pytest.skip("the system lists none")
    found, listed = compat.cpu_capabilities(), flags[1].split()
    assert bool(found.get("avx512_bf16")) == ("avx512_bf16" in listed)


def test_many_tensors_move_towards_others():
    targets, sources = [torch.ones(2), torch.zeros(1, 3)], [torch.full((2,), 3.0), torch.ones(1, 3)]
    expected = [x.lerp(y, 0.25) for x, y in zip(targets, sources, strict=True)]
    compat.lerp_tensors_(targets, sources, 0.25)
    torch.testing.assert_close(targets, expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_a_fused_optimizer_skips_a_step(kind):
    """As with a scaler, which is public; tests/training/test_step_flags.py looks at the moments too."""
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    plain, scaled = (kind([x], lr=0.1, fused=True) for x in weights)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    for flag in (0.0, 1.0, 0.0):
        for weight in weights:
            weight.grad = torch.full_like(weight, float("inf") if flag else 0.5)
        compat.skip_step_if(torch.tensor(flag), plain)
        plain.step()
        scaler.scale(torch.ones(()))
        scaler.step(scaled)
        scaler.update(1.0)
        torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert weights[0].isfinite().all()
    assert (weights[0] < 1).all()
