"""The workflow tests what setup.cfg promises, by commands that there are."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
FLOORS = dict(re.findall(r"^([\w-]+)>=([\d.]+)$", SETUP["options"]["install_requires"], re.M))


def steps() -> list[tuple[str, str]]:
    """(job, commands) of all steps that run some."""
    return [(name, step["run"]) for name, job in WORKFLOW["jobs"].items() for step in job["steps"] if "run" in step]


def test_the_oldest_versions_are_the_floors():
    rows = {row["versions"]: row for row in WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["include"]}
    assert SETUP["options"]["python_requires"] == f">={rows['oldest']['python']}"
    pins = dict(re.findall(r"([\w-]+)==([\d.]+?)(?:\.\*)?(?= |$)", rows["oldest"]["pins"]))
    assert pins.keys() >= {"torch", "transformers"}
    assert pins == {name: FLOORS[name] for name in pins}
    assert rows["newest"]["pins"] == ""


def test_make_knows_the_targets():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = {target for _, text in steps() for target in re.findall(r"\bmake ([\w-]+)", text)}
    assert {"lint", "test"} <= named <= targets


@pytest.mark.parametrize(("job", "text"), steps())
def test_commands_are_shell_that_can_be_read(job, text):
    """Bash reads them without an error; what GitHub fills in stands for a word."""
    done = subprocess.run(["bash", "-n"], input=re.sub(r"\$\{\{.*?\}\}", "word", text), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for path in re.findall(r"\bexamples/[\w.]+", text):
        assert (ROOT / path).is_file(), f"{job}: {path}"
