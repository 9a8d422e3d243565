"""Folders that are there as a whole or not at all."""

import os
import shutil

import pytest
from helpers.folders import content, fill

from modeling_ocrnet.common import atomic_files as folders


def test_a_folder_is_replaced_in_one_step(tmp_path, monkeypatch):
    """No moment without it: no name but the exchange's changes."""
    target, temporary = fill(tmp_path / "best", "old"), fill(tmp_path / ".best.tmp", "new")
    if not folders.swap_folders(target, temporary):
        pytest.skip("this file system can't")
    assert (content(target), content(temporary)) == ("new", "old")
    folders.swap_folders(target, temporary)
    monkeypatch.setattr(os, "replace", lambda *_: pytest.fail("renamed"))
    folders.commit_folder(temporary, target)
    assert content(target) == "new"
    assert [x.name for x in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_where_it_takes_two_steps_a_crash_between_them_is_mended(steps, tmp_path, monkeypatch):
    """`steps` of the two renames are done, then the process is gone."""
    target, temporary = fill(tmp_path / "best", "old"), fill(tmp_path / ".best.tmp", "new")
    other = fill(tmp_path / ".config.tmp", "somebody else's")
    replace, left = os.replace, iter(range(steps))

    def dying(*names):
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(*names)

    monkeypatch.setattr(folders, "swap_folders", lambda *_: False)
    monkeypatch.setattr(os, "replace", dying)
    if steps < 2:
        with pytest.raises(KeyboardInterrupt):
            folders.commit_folder(temporary, target)
    else:
        monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
        folders.commit_folder(temporary, target)
    monkeypatch.undo()
    assert target.exists() == (steps != 1)
    folders.clean_partial_writes(tmp_path, "best")
    assert content(target) == ("new" if steps == 2 else "old")
    assert sorted(tmp_path.iterdir()) == [other, target]
