"""The memory that `ocrnet configure` counts with."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from modeling_ocrnet.common.errors import UserError
from modeling_ocrnet.training import machine_facts
from modeling_ocrnet.training.machine_facts import free_memory


@pytest.mark.parametrize(("limit", "expected"), [("5000000", 0.004), ("max", 16.0), ("1000000", 0.0)])
def test_a_containers_cached_files_are_free(limit, expected, tmp_path, monkeypatch):
    """Of 5 MB, 3 are taken, 2 of them by files that were read."""
    group = (str(tmp_path), "memory.max", "memory.current", "inactive_file")
    for name, text in (("memory.max", limit), ("memory.current", "3000000")):
        (tmp_path / name).write_text(f"{text}\n")
    (tmp_path / "memory.stat").write_text("anon 1000000\ninactive_file 2000000\nactive_file 0\n")
    monkeypatch.setattr(machine_facts, "_CGROUPS", (group,))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=16 * 10**9))
    assert free_memory(torch.device("cpu")) == expected


def test_a_device_that_cannot_say_is_named(monkeypatch):
    monkeypatch.delattr(torch.accelerator, "get_memory_info", raising=False)
    monkeypatch.setattr(torch, "get_device_module", lambda device: torch.nn)
    with pytest.raises(UserError, match="mps can't say how much of its memory is free: give --memory GB"):
        free_memory(torch.device("mps"))
