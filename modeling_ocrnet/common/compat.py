"""All uses of private parts of torch, transformers, accelerate and datasets, in one place.

Each function says which part it uses, and why no public one is enough. tests/test_compat.py compares each with public
behaviour, so a test fails if a library moves the part. Heavy imports happen inside the functions.
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


# errors that differ from others in their text only


def worker_died(error: BaseException) -> bool:
    """Whether torch's DataLoader lost a worker process. DataLoader raises a plain RuntimeError for it."""
    return isinstance(error, RuntimeError) and bool(_WORKER_DIED.search(" ".join(str(error).split())))


def peer_lost(error: BaseException) -> bool:
    """Whether another process of a distributed run is gone. gloo raises a plain RuntimeError for it."""
    import torch

    if isinstance(error, getattr(torch.distributed, "DistError", ())):
        return True
    return isinstance(error, RuntimeError) and bool(_PEER_LOST.search(str(error)))


def errno_of(error: BaseException) -> int | None:
    """The operating system's error number; `None` if the error has none.

    safetensors raises no OSError if it can't write. Its message ends as Rust's errors do: "(os error 28)".
    """
    if isinstance(error, OSError):
        return error.errno
    found = _RUST_ERRNO.search(str(error)) if type(error).__module__.startswith("safetensors") else None
    return int(found[1]) if found else None


def no_room(error: BaseException) -> bool:
    """Whether a write failed for lack of space: the disk is full, a quota is used up, or the file is too large."""
    return errno_of(error) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def safetensors_error() -> type[Exception]:
    """safetensors' only exception; it derives from no specific Python exception such as OSError."""
    from safetensors import SafetensorError

    return SafetensorError


def damaged_file_errors() -> tuple[type[Exception], ...]:
    """The exceptions that transformers, torch and safetensors raise for damaged weights and configs.

    TypeError, KeyError and AttributeError aren't among them: those come from bugs, or from another version's API.
    """
    import pickle

    from huggingface_hub.errors import StrictDataclassError

    of_python = (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError)
    return (*of_python, safetensors_error(), StrictDataclassError)


def of_the_machine(error: BaseException) -> bool:
    """Whether an error means out of memory or a lost process, no matter which file was being read or written."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or worker_died(error) or peer_lost(error)


# accelerate


def random_states_file(process: int) -> str:
    """The file to which `Accelerator.save_state` writes a process's RNG states. accelerate has no public constant."""
    from accelerate.utils.constants import RNG_STATE_NAME

    return f"{RNG_STATE_NAME}_{process}.pkl"


def end_workers(batches) -> None:
    """End a DataLoader iterator's worker processes, if it has any. Deleting it does so only if nothing else refers to
    it, and there is no public method."""
    getattr(batches, "_shutdown_workers", lambda: None)()


def prepared_optimizers(accelerator: Accelerator) -> list:
    """The optimizers given to `accelerator.prepare`. `load_state` loads into these; nothing public lists them."""
    return accelerator._optimizers


def restart_accumulation(accelerator: Accelerator) -> None:
    """Reset the count of micro-batches to 0. `load_state` restores a count that is wrong for other processes."""
    accelerator.step = 0


def fsdp_plugin(accelerator: Accelerator) -> Any:
    """The FSDP settings of the launch. `Accelerator` has a property for DeepSpeed's settings, but none for FSDP's."""
    return accelerator.state.fsdp_plugin


def deepspeed_settings(accelerator: Accelerator) -> dict[str, Any]:
    """DeepSpeed's configuration, to be filled in before `prepare`. Until then it may hold "auto"."""
    return accelerator.deepspeed_plugin.deepspeed_config


# datasets


def transform_of(dataset) -> Any:
    """The function set by `with_transform`, which is applied to each batch read. Only `format` gives it back."""
    return dataset.format["format_kwargs"]["transform"]


def data_files_of(builder) -> dict[str, list[str]]:
    """The files of a dataset builder, by split; empty for a dataset that a script generates."""
    return {split: list(files) for split, files in (builder.config.data_files or {}).items()}


# torch


def tensor_rebuilders() -> Iterator[tuple[tuple[str, str], Callable]]:
    """The functions by which `torch.save` files rebuild tensors, with their (module, name) in the pickle."""
    import torch

    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"):
        yield ("torch._utils", name), getattr(torch._utils, name)


def compile_problem() -> str | None:
    """Why `torch.compile` can't compile a transformers model, or `None` if it can.

    For a model that returns a dataclass, torch 2.6 generates code with the name `torch`, which transformers' module
    doesn't define.
    """
    import torch

    if torch.__version__ >= "2.7.0a0":
        return None
    return f"torch {torch.__version__} can't compile transformers' models: pip install 'torch>=2.7'"


_ANY_SIZE = "prefer_deferred_runtime_asserts_over_guards"  # torch.export.export has it since torch 2.9


def program_problem() -> str | None:
    """Why this torch can't export programs for images of any size, or `None` if it can."""
    import inspect

    import torch

    if _ANY_SIZE in inspect.signature(torch.export.export).parameters:
        return None
    return f"torch {torch.__version__} exports programs of fixed sizes only: pip install 'torch>=2.9'"


def export_any_size(module, example: tuple, dynamic_shapes: dict):
    """`torch.export.export` with dynamic sizes. Constraints on sizes that it can't prove are checked at run time.

    Call it only if [`program_problem`] returns `None`.
    """
    import torch

    options: dict[str, Any] = {_ANY_SIZE: True}
    return torch.export.export(module, example, dynamic_shapes=dynamic_shapes, strict=False, **options)


def has_cpp_compiler() -> bool:
    """Whether AOTInductor finds a C++ compiler. Without this check it would fail only after minutes of other work."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


def aoti_compile(program, path: str, settings: dict[str, Any]) -> None:
    """Compile an exported program to a package (.pt2). torch documents this since 2.6, but under a private name."""
    import torch

    torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs=settings)


def aoti_load(path: str) -> Callable:
    """Load an AOTInductor package, ready to run."""
    import torch

    return torch._inductor.aoti_load_package(path)


def copy_tensors_(targets: list, sources: list) -> None:
    """Copy many tensors in place with few kernel launches. The public way is a loop."""
    import torch

    torch._foreach_copy_(targets, sources)


def lerp_tensors_(targets: list, sources: list, weight: float) -> None:
    """Interpolate many tensors towards others by `weight`, in place, with few kernel launches. The public way is a
    loop."""
    import torch

    torch._foreach_lerp_(targets, sources, weight)


def skip_step_if(flag, optimizer, scaler=None) -> None:
    """Make the next step of a fused optimizer leave weights and moments unchanged if `flag` is 1 (not if it is 0).

    The flag is a tensor on the device, and the host doesn't read it. Fused kernels read the optimizer's `found_inf`,
    which `GradScaler` sets if they must skip; nothing public sets it. A scaler computes `found_inf` from the gradients
    again, so with a scaler one of the gradients is set to NaN.
    """
    import torch

    if scaler is None:
        optimizer.found_inf = flag
        return
    gradient = next(p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
    gradient.add_(torch.where(flag > 0, torch.nan, 0.0))


def cpu_capabilities() -> dict[str, bool]:
    """The CPU's instruction sets by name, as far as torch reports them. torch 2.6 has private functions for two."""
    import torch

    public = getattr(torch.cpu, "get_capabilities", None)
    if public is not None:
        return public()
    names = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    return {key: bool(getattr(torch.cpu, name, bool)()) for key, name in names.items()}
