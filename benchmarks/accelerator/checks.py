"""Runs the tests marked `gpu`, which compare results on the device with those on the CPU."""

from __future__ import annotations

import os

from .. import ROOT
from .section import PartFailed, Section
from .settings import Settings


class Recorder:
    """A pytest plugin that records each test when it ends, with its measurements (`record_property`)."""

    def __init__(self, section: Section):
        self.section, self.rows, self.counts = section, [], {"passed": 0, "failed": 0, "skipped": 0}

    def pytest_runtest_logreport(self, report) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        name = report.nodeid.split("/")[-1]
        self.counts[report.outcome] += 1
        measured = ", ".join(f"{key} {value}" for key, value in report.user_properties)
        if report.outcome == "skipped":
            measured = str(report.longrepr[-1])
        self.rows.append((name, report.outcome, f"{report.duration:.1f}", measured))
        self.section.table("Tests", ("test", "outcome", "s", "measured"), self.rows)
        if report.outcome == "failed":
            self.section.quote(name, "\n".join(report.longreprtext.splitlines()[-25:]))

    def pytest_runtest_teardown(self, item) -> None:
        if self.section.time_left() <= 0:
            item.session.shouldstop = "the time of this part is used up"


def checks(section: Section, settings: Settings) -> None:
    """Run all tests marked `gpu`; each is recorded when it ends.

    Raises:
        PartFailed: if a test failed, or none ran.
    """
    import pytest  # only this part needs it

    settings.device()
    os.chdir(ROOT)
    recorder = Recorder(section)
    arguments = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "--rootdir", str(ROOT), str(ROOT / "tests" / "gpu")]
    code = pytest.main([*arguments, *(["--gpu-on-cpu"] if settings.tiny else [])], plugins=[recorder])
    section.record(tests=recorder.rows, **recorder.counts)
    if recorder.counts["failed"] or not recorder.counts["passed"]:
        counts = ", ".join(f"{n} {outcome}" for outcome, n in recorder.counts.items())
        raise PartFailed(f"pytest ended with code {int(code)}: {counts}")
