"""The names of `torch.sdaa` that accelerate and torch read, for the stand-ins of Tecorigin's torch_sdaa."""

import os
import types

import torch

COUNT = int(os.environ.get("STAND_IN_SDAA_COUNT", "2"))


def interface(current_device, set_device, scaler_device: str) -> types.ModuleType:
    """A module like `torch.sdaa`; random numbers are the CPU's, memory isn't counted.

    Args:
        current_device: () to the current device's index.
        set_device: makes a device (index or `sdaa:N`) the current one.
        scaler_device: where the GradScaler keeps its scale.
    """
    module = types.ModuleType("torch.sdaa")
    module.is_available = lambda: COUNT > 0
    module.is_initialized = lambda: True
    module._is_in_bad_fork = lambda: False
    module.device_count = lambda: COUNT
    module.current_device = current_device
    module.set_device = lambda device: set_device(
        device if isinstance(device, int) else int(str(device).partition(":")[2] or 0)
    )
    for name in ("manual_seed", "manual_seed_all", "set_rng_state", "set_rng_state_all", "empty_cache", "synchronize"):
        setattr(module, name, lambda *_, **__: None)
    module.get_rng_state = lambda *_, **__: torch.zeros(8, dtype=torch.uint8)
    module.get_rng_state_all = lambda: [torch.zeros(8, dtype=torch.uint8)] * COUNT
    module.memory_allocated = module.max_memory_allocated = lambda *_: 0
    module.mem_get_info = lambda *_: (2**30, 2**30)
    module.get_device_name = lambda *_: "stand-in"
    module.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]

    class GradScaler(torch.amp.GradScaler):
        def __init__(self, *args, **kwargs):
            super().__init__(scaler_device, *args, **kwargs)

    module.amp = types.ModuleType("torch.sdaa.amp")
    module.amp.GradScaler = GradScaler
    return module
