"""What a machine, a terminal or a person can do to a command: one sentence, the right exit status, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, WAVE
from test_bad_input import complaint, write
from test_session import heed_signals

from portbench import cli, contract, exchange, manifest, places, session, streams
from portbench.agreement import reference
from portbench.agreement.reference import Oracle
from portbench.errors import Refusal
from portbench.hosts import julia
from portbench.protocol import Exchange, RunningPort
from portbench.session import Session

README = str(ROOT / "results" / "readme.json")
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_table_is_printed_in_any_encoding(encoding: str) -> None:
    """In other characters if need be."""
    done = subprocess.run(
        [sys.executable, "-m", "portbench", "report", README],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    assert {"ascii": b"51.2 +-3%", "latin-1": b"51.2 \xb13%"}[encoding] in done.stdout
    assert streams._instead(UnicodeEncodeError("ascii", "a─┃┼°", 1, 5, ""))[0] == "-|+?"


@pytest.mark.parametrize("command", ["report", "doctor"])
def test_a_reader_that_has_gone_stops_nothing(command: str) -> None:
    words = f"{sys.executable} -m portbench {command} {README if command == 'report' else '--json'}"
    ends = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} | true"], capture_output=True, text=True, cwd=ROOT / "tests" / "wave"
    )
    assert ends.returncode == 0, ends.stderr
    assert not ends.stderr


def test_a_defect_is_one_sentence_and_a_file(tmp_path: Path) -> None:
    code = "from portbench import cli, doctor\ndef fail(_): raise KeyError('pi')\ndoctor.examine = fail\ncli.main()"
    command = [sys.executable, "-c", code, "doctor"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 2
    assert "this is a defect of portbench, KeyError: 'pi'" in complaint(done)
    (kept,) = tmp_path.iterdir()
    assert str(kept) in complaint(done)
    assert "in fail" in kept.read_text()


@pytest.mark.parametrize(
    "command", ["check", "compare", "bench", "mutants", "races", "selfcheck", "doctor", "cache", "report x.json"]
)
def test_a_defect_of_any_command_is_one_sentence(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("pi")

    for module, name in ((manifest, "find"), (cli.cache, "limit"), (session, "read")):
        monkeypatch.setattr(module, name, fail)
    monkeypatch.setattr(cli.cache, "_held", None)  # as another test of this process may have left it
    monkeypatch.setattr(places.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        cli.app(command.split())
    assert ended.value.code == 2
    (kept,) = tmp_path.iterdir()
    said = capsys.readouterr().err
    assert "this is a defect of portbench, KeyError: 'pi'" in said and str(kept) in said
    assert "in fail" in kept.read_text()


@pytest.mark.parametrize(("command", "first"), [("report x.json", "x.json"), (f"report {README}", "")])
def test_a_defect_of_tidying_is_one_sentence_too(
    command: str, first: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Whether or not another complaint came before, which it must not hide."""

    def fail() -> None:
        raise KeyError("pi")

    monkeypatch.setattr(cli.cache, "tidy", fail)
    monkeypatch.setattr(places.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        cli.app(command.split())
    assert ended.value.code == 2
    *before, last = capsys.readouterr().err.splitlines()
    assert "this is a defect of portbench, KeyError: 'pi'" in last
    assert len(before) == bool(first) and first in "".join(before)


def test_a_defect_in_a_session_says_where_its_samples_are(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    error = ValueError("x")
    error.add_note("results/a.jsonl")
    assert cli._unforeseen(error).endswith("; every finished sample is in results/a.jsonl")
    assert "not enough memory" in cli._unforeseen(MemoryError())


def test_a_cache_that_cannot_be_written_is_said_at_once(portbench, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "file").write_text("")
    done = portbench("check", "--cases", "tiny", PORTBENCH_CACHE=str(tmp_path / "file" / "cache"))
    assert done.returncode == 2
    assert f"The cache folder, {tmp_path}/file/cache, cannot be written (Not a directory)" in complaint(done)
    assert "set PORTBENCH_CACHE" in complaint(done)


def test_a_relative_cache_is_one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever a port runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORTBENCH_CACHE", "here")
    assert places.cache_folder() == tmp_path / "here"
    monkeypatch.setenv("PORTBENCH_CACHE", "~/there")
    assert places.cache_folder() == Path.home() / "there"


def test_no_room_for_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """NumPy's own error has neither a number nor a file."""

    def short(*_: object) -> None:
        raise OSError("5000 requested and 1536 written")

    echo = "import sys\nfor line in sys.stdin: print('ok protocol=1', flush=True)"
    specification = contract.load(manifest.read(ROOT / "portbench.toml"))
    monkeypatch.setattr(exchange, "write_fields", short)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with RunningPort("echo", [sys.executable, "-c", echo], dict(os.environ), tmp_path) as port:
        with (
            Exchange(port, specification) as x,
            pytest.raises(Refusal, match=r"cannot be written .*set TMPDIR") as said,
        ):
            x.load({}, {"position": np.zeros(3)})
        assert str(tmp_path) in str(said.value)


def test_what_the_machine_lacks_is_no_defect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PORTBENCH_CACHE", str(tmp_path))
    inside = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "twins" / "x"))
    assert places.complaint(inside).startswith(f"The cache folder, {tmp_path}, cannot be written (No space left")
    assert places.complaint(OSError(errno.EMFILE, "Too many open files")) == "The system: Too many open files"
    assert places.complaint(OSError(errno.EINVAL, "Invalid argument")) == ""


def test_a_session_on_a_full_disk_can_be_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Up to what was written; one that could not even begin leaves nothing."""
    document = session.read(README)
    header = {k: v for k, v in document.items() if k not in (*session.KINDS.values(), "schema", "portbench", "started")}

    def full(_: int) -> None:
        raise FULL

    kept = Session(tmp_path, header)
    kept.record("sample", **document["samples"][0])
    with monkeypatch.context() as patched:
        patched.setattr(session.os, "fsync", full)
        with pytest.raises(Refusal, match="No space left on device: make room there"):
            kept.record("sample", **document["samples"][1])
        with pytest.raises(Refusal, match="No space left"):
            Session(tmp_path / "other", header)
    assert not list((tmp_path / "other").iterdir())
    assert session.read(kept.journal)["samples"][0] == document["samples"][0]


def test_a_session_that_cannot_be_finished_keeps_its_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    document = session.read(README)
    header = {k: v for k, v in document.items() if k not in (*session.KINDS.values(), "schema", "portbench", "started")}
    kept = Session(tmp_path, header)

    def full(*_: object, **__: object) -> None:
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(Refusal, match=r"its journal .* is whole"):
            kept.finish()
    assert [p.name for p in tmp_path.iterdir()] == [kept.journal.name]
    assert session.read(kept.journal)["cases"]


def test_without_semaphores_twins_are_made_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no /dev/shm."""

    def none(_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("processes were asked for")

    monkeypatch.setattr(reference.multiprocessing.get_context("spawn").__class__, "Lock", none)
    monkeypatch.setattr(reference, "get_reusable_executor", never)
    reference.processes_can_share.cache_clear()
    try:
        found = manifest.read(ROOT / "portbench.toml")
        specification = contract.load(found)
        case = specification.cases(["tiny"], {})[0]
        state = specification.initial_state(case.parameters)
        monkeypatch.setattr(reference, "MANY", 0)
        with Oracle(found, specification) as oracle:
            jobs = [(case.parameters, state, [mark], reference.SPEC) for mark in (0, 1)]
            assert len(oracle(reference.evaluate, jobs)) == 2
    finally:
        reference.processes_can_share.cache_clear()


def test_julia_that_cannot_be_downloaded_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    juliapkg = pytest.importorskip("juliapkg")

    def offline() -> None:
        raise OSError("<urlopen error [Errno 111] Connection refused>\nand more")

    monkeypatch.setattr(juliapkg, "resolve", offline)
    with pytest.raises(Refusal, match=r"Julia cannot be installed: .*Connection refused>: see that the net") as said:
        julia.install()
    assert "\n" not in str(said.value)


def test_a_terminal_that_is_closed_ends_all_in_good_order(tmp_path: Path) -> None:
    """SIGHUP is as SIGTERM; under nohup it is nothing."""
    code = "import os, signal, sys, time\nfrom portbench import cli, doctor\ndef wait(_):\n"
    code += "    os.kill(os.getpid(), signal.SIGHUP); time.sleep(0.2); return []\ndoctor.examine = wait\ncli.main()"
    for before, status in (("", 129), ("trap '' HUP; ", 0)):
        done = subprocess.run(
            ["bash", "-c", f'{before}exec "$0" -c "$1" doctor', sys.executable, code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            preexec_fn=heed_signals,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_printed_on_the_way_is_not_in_the_json(portbench, tmp_path: Path) -> None:
    """By a specification, a port, and the programs that they start."""
    noise = "import os; print('noise'); os.write(1, b'noise\\n'); os.system('echo noise')"
    spec = (WAVE / "wave.py").read_text()
    for function in (
        "parameters(*, points, length, speed, dt, ends):",
        "advance(parameters, state, steps, add=np.sum):",
    ):
        assert function in spec
        spec = spec.replace(f"def {function}", f"def {function}\n    {noise}")
    (tmp_path / "loud.py").write_text(f"{noise}\n{spec}")
    port = (WAVE / "wave_port.py").read_text().replace("return Wave(", f"{noise}\n    return Wave(")
    (tmp_path / "port.py").write_text(f"{noise}\n{port}")
    (tmp_path / "portbench.toml").write_text(
        '[project]\nname = "w"\nspec = "loud"\n[check]\nsteps = { default = 2 }\nlong = { default = 0 }\n'
        '[ports.a]\nhost = "python"\nmodule = "port"\nsources = ["port.py"]\nthreads = false\n'
    )
    done = portbench("check", "--cases", "short", "--json", "--quiet")
    assert json.loads(done.stdout)["certificates"][0]["holds"], done.stdout
    assert done.returncode == 0
    assert "noise" not in done.stdout and "noise" in done.stderr


def test_the_simulation_of_portbench_itself_is_not_taken_unsaid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(manifest, "find", lambda given: manifest.read(ROOT / "portbench.toml"))
    assert cli._manifest(None).root == ROOT
    said = capsys.readouterr()
    assert said.err.startswith(f"There is no portbench.toml in {tmp_path} or above: taking") and not said.out
    cli._manifest(ROOT)
    monkeypatch.chdir(ROOT / "tests")
    cli._manifest(None)
    assert not capsys.readouterr().err
