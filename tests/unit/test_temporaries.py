"""Files and folders in the making: gone with their process, also when it was killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cascade_sim.result import RunResult, load_result
from cascade_sim.result_folder import restore_or_remove
from cascade_sim.temporaries import exchange, is_marked, remove_abandoned, scratch, unfinished_file

KILLED = """
import os, signal, sys
from pathlib import Path
from cascade_sim.temporaries import scratch, unfinished_file
with scratch(Path(sys.argv[1]), "unfinished") as folder, unfinished_file(Path(sys.argv[1])):
    (folder / "table").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, os.fspath(tmp_path)], check=False)
    left = names(tmp_path)
    assert len(left) == 2
    assert all(map(is_marked, left))
    (tmp_path / ".cascade_sim-notes").mkdir()
    (tmp_path / ".cascade_sim-unfinished-1-0123456789ab").symlink_to(tmp_path / ".cascade_sim-notes")
    with scratch(tmp_path) as alive, unfinished_file(tmp_path) as (file, _):
        remove_abandoned(tmp_path)
        kept = {alive.name, file.name, ".cascade_sim-notes", ".cascade_sim-unfinished-1-0123456789ab"}
        assert set(names(tmp_path)) == kept
    assert names(tmp_path) == [".cascade_sim-notes", ".cascade_sim-unfinished-1-0123456789ab"]


def test_a_folder_of_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".cascade_sim-unfinished-1-0123456789ab"
    folder.mkdir()
    real = os.getuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: real + 1)
        remove_abandoned(tmp_path)
    assert folder.exists()
    remove_abandoned(tmp_path)
    assert not folder.exists()


def test_a_folder_that_may_not_be_written_goes_too(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").touch()
        (folder / "inner").chmod(0o500)
    assert names(tmp_path) == []


def test_two_folders_change_places(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system does not exchange folders")
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["b"], ["a"])
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "missing")


@pytest.mark.parametrize("moment", ["moved away", "half of the new", "done"])
def test_a_replacement_that_was_killed_is_undone(moment: str, tmp_path: Path) -> None:
    folder = RunResult(summary={"steps": 1}).save(tmp_path / "run")
    new = RunResult(summary={"steps": 2}).save(tmp_path / "new")
    (new / "report.html").write_text("new")
    replaced = folder / ".cascade_sim-replaced-1-0123456789ab"
    replaced.mkdir()
    old = [path for path in folder.iterdir() if path != replaced]
    for path in old[: 3 if moment == "moved away" else None]:
        path.rename(replaced / path.name)
    if moment == "moved away" and (folder / "summary.json").exists():
        (folder / "summary.json").rename(replaced / "summary.json")
    if moment != "moved away":
        (replaced / "all").touch()
        moved = [path for path in new.iterdir() if moment == "done" or path.name != "summary.json"]
        for path in moved:
            path.rename(folder / path.name)
    restore_or_remove(folder)
    assert not replaced.exists()
    assert load_result(folder).summary == {"steps": 2 if moment == "done" else 1}
    assert (folder / "report.html").exists() is (moment == "done")


def test_a_result_that_was_making_room_comes_back(tmp_path: Path) -> None:
    place = tmp_path / ".cascade_sim-previous-1-0123456789ab"
    place.mkdir()
    RunResult(summary={"steps": 1}).save(place / "run")
    RunResult(summary={"steps": 2}).save(tmp_path / "other")
    assert load_result(tmp_path / "run").summary == {"steps": 1}
    assert names(tmp_path) == ["other", "run"]
