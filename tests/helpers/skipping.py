"""Tests of what an older torch can't do."""

import pytest


def skip_if(problem: str | None) -> None:
    """End a test as skipped, if `compat` knows why nothing can be tested; tests/test_compat.py checks what it knows."""
    if problem is not None:
        pytest.skip(problem)
