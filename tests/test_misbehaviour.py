"""Ports that break the rules: each gets one clear sentence and a non-zero exit, and hurts nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import HERE, WAVE

from portbench import protocol, session
from portbench.errors import PortFailure
from portbench.protocol import RunningPort

# what the port does wrong -> the kind of verdict, and words that its sentence must hold
MODES = {
    "crashes": ("A0", ["ended by signal SIGABRT"]),
    "ends by a real-time signal": ("A0", ["ended by signal 35"]),
    "dies and leaves a child": ("A0", ["ended by signal SIGKILL"]),
    "exits": ("A0", ["exit status 3", "disk of cheese"]),
    "refuses to run": ("A0", ["refused 'run", "the stars are wrong"]),
    "forgets the time": ("A0", ["without nanoseconds"]),
    "floods": ("A0", ["without an end of line", "only replies go to stdout"]),
    "prints": ("A0", ["step 1 of 100"]),
    "prints a banner": ("A0", ["Welcome to my port!"]),
    "answers twice": ("A0", ["stdout"]),
    "answers too soon": ("A0", ["on stdout"]),
    "replies one behind": ("A0", ["replies run behind, each to an earlier command"]),
    "acknowledges every command": ("A0", ["a reply is one line"]),
    "acknowledges a run and makes it afterwards": ("A0", ["it replies to `run` before the steps are done"]),
    "has a clock that stands still": ("A0", ["says that its runs took 0 s"]),
    "has a coarse clock of half speed": ("A0", ["its clock"]),
    "turns NaN": ("A2", ["nan"]),
    "lies about the time": ("A0", ["it says that its runs took"]),
    "does nothing": ("A0", ["run 1 changed nothing"]),
    "writes nothing": ("A0", [""]),
    "forgets a field": ("A0", ["never written"]),
    "saves a wrong shape": ("A0", ["bytes where shape"]),
    "rounds the parameters": ("A0", ["came back as"]),
    "lies about its threads": ("A0", ["says that it uses 7"]),
    "speaks another protocol": ("A0", ["protocol=2"]),
    "knows every command": ("A0", ["an unknown command got `ok`"]),
    "loads NaN": ("A0", ["NaN got `ok`"]),
    "ignores what it cannot read": ("A0", ["folder that does not exist got `ok`"]),
}

COARSE = ["has a coarse clock", "has a clock that rounds down"]  # and is right


def project(folder: Path, *modes: str) -> Path:
    """A manifest whose ports misbehave in these ways; "" behaves."""
    ports = "\n".join(
        f"""
[ports.{mode.replace(" ", "-") or "right"}]
host = "executable"
run = ["{sys.executable}", "{HERE / "misbehaving" / "port.py"}", "{mode}"]
sources = ["{HERE / "misbehaving" / "port.py"}"]
threads = false
"""
        for mode in modes
    )
    (folder / "portbench.toml").write_text(
        f"""
[project]
name = "misbehaving"
spec = "wave"
python-path = ["{WAVE}"]
[compare]
cases = ["short"]
sample = 0.03
[check]
steps = {{ default = 20 }}
{ports}
"""
    )
    return folder


@pytest.fixture(autouse=True)
def wave_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(WAVE))


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """All of them checked in one go: one that dies must not keep the others from being checked."""
    folder = project(tmp_path_factory.mktemp("misbehaving"), "", *COARSE, *MODES)
    done = subprocess.run(
        [sys.executable, "-m", "portbench", "check", "--json", "--quiet"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": str(WAVE)},
    )
    assert done.returncode == 1, done.stderr
    return {c["port"]: c for c in json.loads(done.stdout)["certificates"]}


def test_the_same_port_without_a_fault_is_certified(verdicts: dict) -> None:
    """Or else the tests below would prove nothing."""
    assert verdicts["right"]["holds"], verdicts["right"]["finding"]


@pytest.mark.parametrize("clock", COARSE)
def test_a_coarse_clock_is_no_lie(clock: str, verdicts: dict) -> None:
    assert verdicts[clock.replace(" ", "-")]["holds"], verdicts[clock.replace(" ", "-")]["finding"]


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_is_found_and_said(mode: str, verdicts: dict) -> None:
    level, words = MODES[mode]
    certificate = verdicts[mode.replace(" ", "-")]
    assert not certificate["holds"]
    failed = certificate["verdicts"][-1]
    assert not failed["passed"]
    assert failed["level"] == level, certificate["finding"]
    for word in words:
        assert word in certificate["finding"]
    assert "\n" not in certificate["finding"]


def test_a_port_may_refuse_what_its_manifest_names(portbench, tmp_path: Path) -> None:
    """Its certificate says so; who refuses more fails, and who names a probe that there is not is told."""
    text = (project(tmp_path, "refuses long steps", "") / "portbench.toml").read_text()
    undeclared = portbench("check", "--ports", "refuses-long-steps", "--json", "--quiet")
    assert undeclared.returncode == 1
    assert "refused 'load'" in json.loads(undeclared.stdout)["certificates"][0]["finding"]
    for port in ("refuses-long-steps", "right"):  # a port that answers is compared as ever
        (tmp_path / "portbench.toml").write_text(
            text.replace(f"[ports.{port}]", f'[ports.{port}]\nrefuses = {{ "the longest time step" = "because" }}')
        )
        done = portbench("check", "--ports", port, "--json", "--quiet")
        assert done.returncode == 0, done.stdout
        levels = {v["level"]: v for v in json.loads(done.stdout)["certificates"][0]["verdicts"]}
        for level in ("A2", "A3"):
            refused = levels[level]["evidence"].get("refused", [])
            assert refused == ["the probe 'the longest time step' (because)"] * (port != "right")
            assert all(words in levels[level]["finding"] for words in refused)
        said = json.loads(done.stdout)["certificates"][0]["finding"]
        assert ("it refuses the probe 'the longest time step' (because)" in said) == (port != "right")
    (tmp_path / "portbench.toml").write_text(
        text.replace("[ports.right]", '[ports.right]\nrefuses = { "a broken string" = "because" }')
    )
    unknown = portbench("check", "--ports", "right", "--quiet")
    assert unknown.returncode == 2
    assert "refuses the probe 'a broken string', which the specification does not have" in unknown.stderr


def test_a_port_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Within its time limit, children and all."""
    command = [sys.executable, str(HERE / "misbehaving" / "port.py"), "hangs"]
    with RunningPort("hangs", command, dict(os.environ), tmp_path) as port:
        port.hello()
        with pytest.raises(PortFailure, match=r"did not reply to 'run 1' within 0\.5 s") as caught:
            port.run(1, timeout=0.5)
        assert caught.value.kind == "hung"
        assert not psutil.pid_exists(port.process.pid) or port.process.poll() is not None


def test_silence_is_soon_said_with_its_likely_cause(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A port that does nothing is not waited for, where a reply costs nothing."""
    monkeypatch.setattr(protocol, "SILENCE", 1.0)
    cause = "within 1 s, in which it did nothing: did it forget to flush standard output"
    program = [sys.executable, str(HERE / "misbehaving" / "port.py")]
    for mode, command in (("forgets to flush", "hello"), ("keeps refusals to itself", "dance")):
        with RunningPort(mode, [*program, mode], dict(os.environ), tmp_path, start_silence=5) as port:
            if command == "dance":
                port.hello()
            with pytest.raises(PortFailure) as caught, port.at_once("a trial"):
                port.ask(command)
            assert caught.value.kind == "hung"
            assert "did not reply to a trial " + cause in caught.value.sentence


def test_a_start_that_works_is_waited_for(tmp_path: Path) -> None:
    """Compiling and importing take their time, also before the first reply."""
    busy = "import time; end = time.monotonic() + 2\nwhile time.monotonic() < end: pass\n"
    answer = "input(); print('ok protocol=1', flush=True); input()"
    with RunningPort(
        "busy", [sys.executable, "-c", busy + answer], dict(os.environ), tmp_path, start_silence=1
    ) as port:
        assert port.hello() == {"protocol": "1"}
    idle = "import time; time.sleep(5)\n"
    with (
        RunningPort("idle", [sys.executable, "-c", idle + answer], dict(os.environ), tmp_path, start_silence=1) as port,
        pytest.raises(PortFailure, match="did not reply to 'hello' within 1 s, in which it did nothing"),
    ):
        port.hello()


def test_a_clock_that_lies_now_and_then_gets_no_figure(portbench, tmp_path: Path) -> None:
    """It is certified, and found out while it is timed; and what will never be known is not waited for."""
    project(tmp_path, "lies about the time when it is timed", "")
    done = portbench("compare", "--budget", "200", "--precision", "90%", "--quiet", "--json")
    said = json.loads(done.stdout)
    assert session.read(tmp_path / said["session"])["measured"][0]["seconds"] < 100  # a busy machine makes some more
    rows = {row["port"]: row for row in said["rows"]}
    assert done.returncode == 1
    liar = rows["lies-about-the-time-when-it-is-timed"]
    assert "its clock is wrong" in liar["refusal"]
    assert liar["time"] is None
    assert rows["right"]["time"]["value"] > 0


def test_a_specification_that_says_no_time_passed_ends_nevertheless(portbench, tmp_path: Path) -> None:
    """Its clock leaves out its own start, and for short runs nothing may be left."""
    project(tmp_path, "")
    (tmp_path / "instant.py").write_text(
        (WAVE / "wave.py").read_text() + "\n\nright = advance\n"
        "def advance(parameters, state, steps, add=np.sum):\n"
        "    import time\n    time.sleep(0.01 if steps == 0 else 0)\n"
        "    return right(parameters, state, steps, add)\n"
    )
    manifest = (tmp_path / "portbench.toml").read_text()
    manifest = manifest.replace('spec = "wave"', 'spec = "instant"').replace("python-path = [", 'python-path = [".", ')
    (tmp_path / "portbench.toml").write_text(manifest)
    done = portbench("compare", "--budget", "0", "--quiet", "--json", timeout=120)
    assert json.loads(done.stdout)["rows"]
