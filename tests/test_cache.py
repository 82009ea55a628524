"""The cache keeps its size, and what is used."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest
from test_bad_input import complaint

from portbench import cache
from portbench.errors import Refusal


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four entries of 100 kB, used 4, 3, 2 and 1 hours ago."""
    monkeypatch.setenv("PORTBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "_held", None)
    names = ("twins/joblib/f/abc/output.pkl", "questions/a.joblib", "build/port-1/port", "certificates/p/a.json")
    for hours, name in zip((4, 3, 2, 1), names):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(100_000))
        for touched in (path, *path.parents[: len(Path(name).parts) - 1]):
            os.utime(touched, (time.time() - 3600 * hours,) * 2)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_size == 100_000)


def test_it_tells_what_it_holds(folder: Path, portbench) -> None:
    said = json.loads(portbench("cache", "--json", PORTBENCH_CACHE_SIZE="1.5 GB").stdout)
    assert said["limit"] == 1.5e9 and said["folder"] == str(folder)
    held = {part["name"]: part for part in said["parts"]}
    assert [held[name]["entries"] for name in ("twins", "questions", "build", "certificates", "numba")] == [
        1,
        1,
        1,
        1,
        0,
    ]
    assert 400_000 <= said["size"] == sum(part["size"] for part in said["parts"]) < 500_000
    assert 4 * 3600 <= held["twins"]["oldest"] < 4 * 3600 + 600
    shown = portbench("cache", COLUMNS="150").stdout
    assert "4 hours ago" in shown and "of 2,000 MB (PORTBENCH_CACHE_SIZE)" in shown


def test_what_was_not_used_for_longest_goes_first(folder: Path, portbench) -> None:
    cache.used(folder / "questions" / "a.joblib")
    done = portbench("cache", "--prune", "--json", PORTBENCH_CACHE_SIZE="250kB")
    assert json.loads(done.stdout)["removed"] >= 200_000
    assert names(folder) == ["a.joblib", "a.json"]
    portbench("cache", "--clear")
    assert names(folder) == []


def test_a_command_ends_with_a_cache_of_its_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And keeps what it used itself, also where that is more."""
    monkeypatch.setenv("PORTBENCH_CACHE_SIZE", "0")
    cache.hold()
    cache.used(folder / "build" / "port-1")
    cache.tidy()
    assert names(folder) == ["port"]


def test_what_another_command_uses_stays(folder: Path, portbench) -> None:
    with (folder / "lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        done = portbench("cache", "--clear")
    assert done.returncode == 2
    assert "Another portbench is running and uses the cache" in complaint(done)
    assert len(names(folder)) == 4


def test_a_size_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTBENCH_CACHE_SIZE", "plenty")
    with pytest.raises(Refusal, match="must be a size, such as 500MB"):
        cache.limit()
