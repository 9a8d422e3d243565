"""The watch over what tests leave behind sees each of the changes that it is for."""

import os
import subprocess
import sys

import pytest
import torch
from helpers.process_state import changes, process_state, processes_left, replace_for_good

SETTINGS = {
    "torch's default dtype": (torch.set_default_dtype, torch.float64, torch.float32),
    "torch's number of threads": (torch.set_num_threads, torch.get_num_threads() + 1, torch.get_num_threads()),
    "torch's grad mode": (torch.set_grad_enabled, False, True),
    "torch's deterministic algorithms": (torch.use_deterministic_algorithms, True, False),
    "the working directory": (os.chdir, os.sep, os.getcwd()),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_global_setting_is_named(name):
    change, value, usual = SETTINGS[name]
    before = process_state()
    change(value)
    try:
        (found,) = changes(before, process_state())
    finally:
        change(usual)
    assert found == f"{name}: {usual} before, {value} after"
    assert changes(before, process_state()) == []


def test_variables_and_paths_are_named(monkeypatch):
    """Of variables the names alone: a value may be a token."""
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("GONE", "secret")
    state = process_state()
    monkeypatch.delenv("GONE")
    monkeypatch.setenv("KEPT", "2")
    monkeypatch.setenv("NEW", "secret")
    monkeypatch.setattr(sys, "path", [*sys.path, "elsewhere"])
    *variables, path = changes(state, process_state())
    assert variables == ["$GONE", "$KEPT", "$NEW"]
    assert path.startswith("sys.path: ")
    assert path.endswith("'elsewhere'] after")


def test_nothing_is_replaced_for_good_in_the_process_of_the_tests():
    with pytest.raises(RuntimeError, match="sep would stay replaced for all tests that follow: use monkeypatch"):
        replace_for_good(os, "sep", "x")
    assert os.sep != "x"


def test_a_process_that_is_left_is_seen():
    """Until it has ended, and not among others that do."""
    with subprocess.Popen(["sleep", "60"]) as process, subprocess.Popen(["sleep", "0.1"]):
        assert processes_left(seconds=1) == ["sleep 60"]
        process.kill()
        assert processes_left(seconds=5) == []
