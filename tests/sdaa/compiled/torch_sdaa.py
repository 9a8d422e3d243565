"""A stand-in for Tecorigin's torch_sdaa with a compiled device: tensors really are on `sdaa:N`.

STAND_IN_SDAA_LIBRARY names the library built from sdaa_device.cpp. Collectives of `tccl` go through gloo on the host.
"""

import ctypes
import os

import torch
import torch.distributed as dist
from sdaa_interface import COUNT, interface
from sync_batch_norm import register
from torch.utils.backend_registration import _DummyPrivateUse1Hook

torch.utils.rename_privateuse1_backend("sdaa")
torch.ops.load_library(os.environ["STAND_IN_SDAA_LIBRARY"])
_library = ctypes.CDLL(os.environ["STAND_IN_SDAA_LIBRARY"])
_library.sdaa_set_device_count(COUNT)
torch._register_device_module(
    "sdaa", interface(_library.sdaa_current_device, _library.sdaa_set_device, scaler_device="sdaa")
)
torch.utils.generate_methods_for_privateuse1_backend()
torch._C._acc.register_python_privateuseone_hook(_DummyPrivateUse1Hook())
_kernels = register()


class Done(dist._Work):
    """Work that was done at once."""

    def __init__(self, result):
        super().__init__()
        self._future = torch.futures.Future()
        self._future.set_result(result)

    def wait(self, timeout=None):
        return True

    def is_completed(self):
        return True

    def get_future(self):
        return self._future


class TCCL(dist.ProcessGroup):
    """Copy to the host, gloo, copy back."""

    def __init__(self, store, rank, size, timeout):
        super().__init__(rank, size)
        self._gloo = dist.ProcessGroupGloo(store, rank, size, timeout)
        self._rank, self._size = rank, size

    def getBackendName(self):
        return "tccl"

    def size(self):
        return self._size

    def rank(self):
        return self._rank

    def _in_place(self, collective, tensors, options) -> Done:
        copies = [x.cpu() for x in tensors]
        collective(copies, options).wait()
        for tensor, copy in zip(tensors, copies, strict=True):
            tensor.copy_(copy)
        return Done(tensors)

    def allreduce(self, tensors, options=None):
        return self._in_place(self._gloo.allreduce, tensors, options or dist.AllreduceOptions())

    def allreduce_coalesced(self, tensors, options=None):
        for tensor in tensors:
            self.allreduce([tensor])
        return Done(tensors)

    def broadcast(self, tensors, options=None):
        return self._in_place(self._gloo.broadcast, tensors, options)

    def allgather(self, outputs, inputs, options=None):
        copies = [[x.cpu() for x in output] for output in outputs]
        self._gloo.allgather(copies, [x.cpu() for x in inputs]).wait()
        for output, copy in zip(outputs, copies, strict=True):
            for tensor, received in zip(output, copy, strict=True):
                tensor.copy_(received)
        return Done(outputs)

    def _allgather_base(self, output, given, options=None):
        received = list(torch.empty((self._size, *given.shape), dtype=given.dtype).unbind(0))
        self._gloo.allgather([received], [given.cpu()]).wait()
        output.copy_(torch.stack(received).reshape(output.shape))
        return Done(output)

    all_gather_single = _allgather_base  # torch's newer name

    def barrier(self, opts=None):
        self._gloo.barrier().wait()
        return Done(None)


dist.Backend.register_backend("tccl", TCCL, devices=["sdaa", "cpu"])
