"""Shared by the tests of preparation."""

import sys

import pytest


@pytest.fixture
def prepare_data(monkeypatch):
    """scripts/prepare_data.py as a function of its arguments; returns the exit code, or the last words."""
    monkeypatch.setattr(sys, "path", ["scripts", *sys.path])
    import prepare_data as script

    def run(*argv):
        with pytest.raises(SystemExit) as stopped:
            script.main([str(x) for x in argv])
        return stopped.value.code

    return run
