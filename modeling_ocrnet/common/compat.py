"""What leans on private parts of torch, transformers, accelerate and datasets, in one place.

Each function says which part, and why no public one will do. tests/test_compat.py compares each with public behaviour,
so that it fails when the part moves. Nothing heavy is imported before a function is called.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate import Accelerator

_WORKER_DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\)")
_PEER_LOST = re.compile(
    r"gloo|[Cc]onnection (?:closed|reset|refused)|Broken pipe|Timed out waiting|Wait timeout|pair closure|process group"
)
_RUST_ERRNO = re.compile(r"\(os error (\d+)\)")


# errors that libraries tell apart by their text alone


def worker_died(error: BaseException) -> bool:
    """Whether torch's DataLoader lost a worker process: it raises a plain RuntimeError for that."""
    return isinstance(error, RuntimeError) and bool(_WORKER_DIED.search(" ".join(str(error).split())))


def peer_lost(error: BaseException) -> bool:
    """Whether another process of a distributed run is gone: what gloo says is a plain RuntimeError."""
    import torch

    if isinstance(error, getattr(torch.distributed, "DistError", ())):
        return True
    return isinstance(error, RuntimeError) and bool(_PEER_LOST.search(str(error)))


def errno_of(error: BaseException) -> int | None:
    """The system's error number; `None` where there is none.

    safetensors raises no OSError when it can't write; its text ends as Rust's errors do, "(os error 28)".
    """
    if isinstance(error, OSError):
        return error.errno
    found = _RUST_ERRNO.search(str(error)) if type(error).__module__.startswith("safetensors") else None
    return int(found[1]) if found else None


def no_room(error: BaseException) -> bool:
    """Whether the system says that no more can be written: the disk, a quota, or the size a file may have."""
    return errno_of(error) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def safetensors_error() -> type[Exception]:
    """safetensors' only error, which is none of Python's."""
    from safetensors import SafetensorError

    return SafetensorError


def damaged_file_errors() -> tuple[type[Exception], ...]:
    """What transformers, torch and safetensors raise for damaged files of weights and configs.

    Not among them: TypeError, KeyError, AttributeError, ... Those are what a bug or another version's API raises.
    """
    import pickle

    from huggingface_hub.errors import StrictDataclassError

    of_python = (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError)
    return (*of_python, safetensors_error(), StrictDataclassError)


def of_the_machine(error: BaseException) -> bool:
    """Whether an error is one of memory or of lost processes, whatever was being read or written then."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or worker_died(error) or peer_lost(error)


# accelerate


def random_states_file(process: int) -> str:
    """What `Accelerator.save_state` calls the file of a process's random generators; its name is no public constant."""
    from accelerate.utils.constants import RNG_STATE_NAME

    return f"{RNG_STATE_NAME}_{process}.pkl"


def prepared_optimizers(accelerator: Accelerator) -> list:
    """The optimizers that `accelerator.prepare` has seen: `load_state` fills these, and nothing else lists them."""
    return accelerator._optimizers


def restart_accumulation(accelerator: Accelerator) -> None:
    """Count micro-batches from 0 again: `load_state` restores the count, which is wrong for other processes."""
    accelerator.step = 0


def fsdp_plugin(accelerator: Accelerator) -> Any:
    """FSDP's settings of the launch; the accelerator itself has no property for them, as it has for DeepSpeed's."""
    return accelerator.state.fsdp_plugin


def deepspeed_settings(accelerator: Accelerator) -> dict[str, Any]:
    """DeepSpeed's own configuration, which is filled before `prepare` and may hold "auto" until then."""
    return accelerator.deepspeed_plugin.deepspeed_config


# datasets


def transform_of(dataset) -> Callable[[dict], dict]:
    """What `with_transform` set, applied to batches when rows are read; `format` alone gives it back."""
    return dataset.format["format_kwargs"]["transform"]


def data_files_of(builder) -> dict[str, list[str]]:
    """A dataset builder's files by split; empty for those made by a script."""
    return {split: list(files) for split, files in (builder.config.data_files or {}).items()}


# torch


def tensor_rebuilders() -> Iterator[tuple[tuple[str, str], Callable]]:
    """The functions that files of `torch.save` name for putting tensors together, by (module, name)."""
    import torch

    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"):
        yield ("torch._utils", name), getattr(torch._utils, name)


def compile_problem() -> str | None:
    """Why `torch.compile` can't take a model of transformers, or `None`.

    What torch 2.6 makes of a model that returns a dataclass uses the name `torch` where transformers defines none.
    """
    import torch

    if torch.__version__ >= "2.7.0a0":
        return None
    return f"torch {torch.__version__} can't compile transformers' models: pip install 'torch>=2.7'"


_ANY_SIZE = "prefer_deferred_runtime_asserts_over_guards"  # an option of torch.export.export since torch 2.9


def program_problem() -> str | None:
    """Why this torch can't make programs for any size, or `None`: training and PyTorch's own inference need none."""
    import inspect

    import torch

    if _ANY_SIZE in inspect.signature(torch.export.export).parameters:
        return None
    return f"torch {torch.__version__} makes programs for fixed sizes only: pip install 'torch>=2.9'"


def export_any_size(module, example: tuple, dynamic_shapes: dict):
    """`torch.export.export` for any size: what it can't prove about sizes is asked when the program runs.

    Only where [`program_problem`] finds none.
    """
    import torch

    return torch.export.export(module, example, dynamic_shapes=dynamic_shapes, strict=False, **{_ANY_SIZE: True})


def has_cpp_compiler() -> bool:
    """Whether AOTInductor finds a C++ compiler: it would raise only after minutes of other work."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


def aoti_compile(program, path: str, settings: dict[str, Any]) -> None:
    """Compile an exported program to a package (.pt2); public since torch 2.6 in documentation alone."""
    import torch

    torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs=settings)


def aoti_load(path: str) -> Callable:
    """An AOTInductor package, ready to run."""
    import torch

    return torch._inductor.aoti_load_package(path)


def copy_tensors_(targets: list, sources: list) -> None:
    """Copy many tensors in place, in few kernels: the public way is a loop."""
    import torch

    torch._foreach_copy_(targets, sources)


def lerp_tensors_(targets: list, sources: list, weight: float) -> None:
    """Move many tensors towards others in place, by `weight` of the way, in few kernels: the public way is a loop."""
    import torch

    torch._foreach_lerp_(targets, sources, weight)


def skip_step_if(flag, optimizer, scaler=None) -> None:
    """Let the next step of a fused optimizer leave weights and moments as they are if `flag` is 1 (else 0).

    The host doesn't read the flag, a tensor on the device: fused kernels look at the optimizer's `found_inf`, which
    `GradScaler` sets to let them skip, and nothing public does. With a scaler, which sets it anew by what the gradients
    hold, one of them becomes NaN.
    """
    import torch

    if scaler is None:
        optimizer.found_inf = flag
        return
    gradient = next(p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
    gradient.add_(torch.where(flag > 0, torch.nan, 0.0))


def cpu_capabilities() -> dict[str, bool]:
    """The CPU's instructions by name, as far as torch says: 2.6 has private functions for two of them alone."""
    import torch

    public = getattr(torch.cpu, "get_capabilities", None)
    if public is not None:
        return public()
    names = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    return {key: bool(getattr(torch.cpu, name, bool)()) for key, name in names.items()}
