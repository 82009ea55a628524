"""The ports' own tests, in their own languages, where the toolchain is; and Julia in-process."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import LONG, ROOT, need
from test_session import gone, heed_signals

from portbench import contract, hosts, manifest
from portbench.hosts import julia
from portbench.manifest import Manifest
from portbench.protocol import Exchange

MOJO_TESTS = sorted((ROOT / "mojo" / "test").glob("test_*.mojo"))
TARGETS_OF_X86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="these are targets of x86-64")


def mojo_test(file: str, *flags: str) -> None:
    environment = {**os.environ, "PATH": hosts.search_path(), "MODULAR_TELEMETRY_ENABLED": "false"}
    command = ["mojo", "run", *flags, "-I", "mojo", f"mojo/test/{file}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed *, 0 failed", done.stdout), done.stdout


@pytest.mark.parametrize("file", MOJO_TESTS, ids=lambda file: file.stem)
def test_mojo(file: Path, bundled: Manifest) -> None:
    need(bundled, "mojo")
    mojo_test(file.name)


@pytest.mark.parametrize("file", ["test_neighbours.mojo", "test_simd.mojo"])
def test_mojo_in_float32(file: str, bundled: Manifest) -> None:
    """Where the type matters most."""
    need(bundled, "mojo")
    mojo_test(file, "-D", "precision=float32")


@LONG
@TARGETS_OF_X86_64
def test_mojo_vectors_of_four_lanes(bundled: Manifest) -> None:
    """As they are built for processors without AVX-512."""
    need(bundled, "mojo-simd")
    mojo_test("test_simd.mojo", "--target-cpu", "x86-64-v3")


@LONG
@pytest.mark.parametrize(
    "flags",
    [("-D", "gathered=True"), ("-D", "sorted=False"), ("--fp-mode", "contract=off")],
    ids=lambda flags: flags[1],
)
def test_mojo_variants(flags: tuple[str, ...], bundled: Manifest) -> None:
    """Each freedom left out, as the manifest's variants of mojo-simd do."""
    need(bundled, "mojo-simd")
    mojo_test("test_simd.mojo", *flags)


def test_there_are_mojo_tests() -> None:
    assert list((ROOT / "mojo" / "test").glob("test_*.mojo"))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_cpp(precision: str, bundled: Manifest, tmp_path: Path) -> None:
    """With the compiler's own checks of memory and arithmetic."""
    need(bundled, "cpp")
    command = ["c++", "-std=c++20", "-O1", "-g", "-Wall", "-Wextra", "-fopenmp", "-fsanitize=address,undefined"]
    command += ["-DPARTICLES_FLOAT32"] if precision == "float32" else []
    built = subprocess.run(
        [*command, "-o", str(tmp_path / "test"), "cpp/test/test_particles.cpp"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([tmp_path / "test"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all is so" in done.stdout


def built_with(port: str, flags: list[str], folder: Path) -> Path:
    """The manifest, but that port is built with these flags too, not for the machine's own processor."""
    for place in ("python", "cpp", "mojo", "julia"):
        (folder / place).symlink_to(ROOT / place)
    lines = (ROOT / "portbench.toml").read_text().splitlines()
    build = next(k for k in range(lines.index(f"[ports.{port}]"), len(lines)) if lines[k].startswith("build = "))
    command = [word for word in json.loads(lines[build].removeprefix("build = ")) if word != "-march=native"]
    output = command.index("-o")
    lines[build] = f"build = {json.dumps(command[:output] + flags + command[output:])}"
    (folder / "portbench.toml").write_text("\n".join(lines))
    return folder / "portbench.toml"


@pytest.mark.parametrize(
    ("port", "flags"),
    [
        pytest.param("cpp-simd", ["-march=native", "-g", "-fsanitize=address,undefined"], marks=LONG),
        pytest.param("cpp-simd-f32", ["-march=native", "-g", "-fsanitize=address,undefined"], marks=LONG),
        ("mojo-simd", ["--sanitize", "address"]),
    ],
)
def test_explicit_vectors_stay_in_their_arrays(port: str, flags: list[str], bundled: Manifest, tmp_path: Path) -> None:
    """With the compiler's own checks of memory and arithmetic, through many rebuilds."""
    need(bundled, port)
    found = manifest.read(built_with(port, flags, tmp_path))
    specification = contract.load(found)
    ready = hosts.prepare(found, found.ports[port])
    # Not the capacity of Mojo's own lists: an empty one's address is none that the sanitizer takes.
    checked = {"ASAN_OPTIONS": "detect_leaks=0:detect_container_overflow=0"}
    some = {"thin": {"base": "gas-4k", "density": 1e-3}, "wide": {"base": "tiny-walls", "cutoff": 50.0}}
    for case in specification.cases(["tiny", "walls-500", "melt-4k", *some], {**found.cases, **some}):
        with Exchange(hosts.start(ready, 2, 120, checked), specification, ready.port.precision) as x:
            x.port.hello()
            x.load(case.parameters, specification.disordered_state(case.parameters))
            x.port.run(40)
            x.save(case.parameters)
            x.port.quit()
            assert not x.port.process.returncode


@TARGETS_OF_X86_64
@pytest.mark.parametrize(
    ("variant", "case"),
    [
        ("cpp-simd:sse2", "tiny"),
        pytest.param("cpp-simd-f32:avx2", "tiny-walls", marks=LONG),
        pytest.param("mojo-simd:sse2", "tiny-walls", marks=LONG),
        pytest.param("numba-simd:avx2", "tiny", marks=LONG),
    ],
)
def test_variants_are_right_too(variant: str, case: str, bundled: Manifest, portbench: Callable) -> None:
    """For processors that lack AVX-512, and AVX too."""
    need(bundled, variant)
    done = portbench("check", variant, "--cases", case, "--json", "--quiet", cwd=ROOT)
    said = json.loads(done.stdout)
    assert done.returncode == 0, said
    assert [c["level"] for c in said["certificates"]] == ["A5"]


def test_julia(bundled: Manifest) -> None:
    """In the environment that juliacall uses, which holds the package's dependencies."""
    need(bundled, "julia")
    hosts.prepare(bundled, bundled.ports["julia"])  # juliapkg has resolved it now, if it is juliapkg's
    project = os.environ.get("PYTHON_JULIACALL_PROJECT")
    if not project:
        from juliapkg.state import STATE

        project = STATE["project"]
    command = [julia.executable(), f"--project={project}", "--threads=2", "-e"]
    command.append(f'push!(LOAD_PATH, "{ROOT / "julia"}"); include("{ROOT / "julia" / "test" / "runtests.jl"}")')
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Test Summary:" in done.stdout


@pytest.mark.parametrize("threads", ["1", "2"])
def test_julia_runs_in_process_twice_in_a_row(threads: str, bundled: Manifest, portbench) -> None:
    need(bundled, "julia")
    for _ in range(2):
        done = portbench("check", "--ports", "julia", "--cases", "tiny", "--threads", threads, "--quiet", cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("threads", ["1", "2"])
def test_julia_survives_ctrl_c(threads: str, bundled: Manifest, portbench, tmp_path: Path) -> None:
    """Ctrl-C while Julia is stepping ends all in good order, and the next run works."""
    need(bundled, "julia")
    arguments = ["bench", "--ports", "julia", "--cases", "tiny", "--threads", threads, "--results", str(tmp_path)]
    command = [sys.executable, "-m", "portbench", *arguments, "--quiet", "--budget", "100"]
    harness = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heed_signals
    )
    for _ in range(2400):
        if any('"kind": "sample"' in journal.read_text() for journal in tmp_path.glob("*.jsonl")):
            break
        assert harness.poll() is None, harness.communicate()
        time.sleep(0.1)
    children = psutil.Process(harness.pid).children(recursive=True)
    harness.send_signal(signal.SIGINT)
    _, said = harness.communicate(timeout=30)
    assert harness.returncode == 130
    assert "interrupted" in said
    assert gone(children)
    done = portbench("check", "--ports", "julia", "--cases", "tiny", "--threads", threads, "--quiet", cwd=ROOT)
    assert done.returncode == 0


def test_without_julia_one_line_says_how_to_get_it(portbench, tmp_path: Path) -> None:
    """And the rest goes on; unless it is required."""
    environment = {"PYTHON_JULIACALL_EXE": str(tmp_path / "no-julia"), "PYTHON_JULIACALL_PROJECT": str(tmp_path)}
    shown = portbench("doctor", cwd=ROOT, **environment)
    assert shown.returncode == 0
    assert "no-julia" in shown.stdout
    arguments = ("check", "--cases", "tiny", "--quiet")
    some = subprocess.run(
        [sys.executable, "-m", "portbench", *arguments, "--ports", "numpy,julia"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    assert some.returncode == 1  # it was named
    assert "missing julia: " in some.stdout


def test_a_required_port_that_is_missing_fails_the_run(portbench, tmp_path: Path) -> None:
    environment = {"PYTHON_JULIACALL_EXE": str(tmp_path / "no-julia"), "PYTHON_JULIACALL_PROJECT": str(tmp_path)}
    (tmp_path / "portbench.toml").write_text(
        (ROOT / "portbench.toml").read_text().replace('["python"]', f'["{ROOT / "python"}"]')
        .replace('ports = ["numpy", "numba", "julia", "mojo"]', 'ports = ["numpy", "julia"]')
        .replace('"python/particles', f'"{ROOT}/python/particles').replace('"julia/', f'"{ROOT}/julia/')
        .replace('project = "julia"', f'project = "{ROOT}/julia"')
    )  # fmt: skip
    environment["PORTBENCH_REQUIRE"] = ""
    assert portbench("check", "--cases", "tiny", "--quiet", cwd=tmp_path, **environment).returncode == 0
    environment["PORTBENCH_REQUIRE"] = "julia"
    assert portbench("check", "--cases", "tiny", "--quiet", cwd=tmp_path, **environment).returncode == 1


def test_juliapkg_is_asked_for_the_packages(tmp_path: Path) -> None:
    """Where no Julia is named by hand, juliapkg installs PythonCall, the port's package, by path, and what it loads."""
    pytest.importorskip("juliapkg")
    code = f"""
from pathlib import Path
from portbench.hosts import julia
julia._ask_juliapkg_for(Path({str(ROOT / "julia")!r}), [])
julia._ask_juliapkg_for(Path({str(ROOT / "julia")!r}), ["SIMD"])
import json, juliapkg.deps, juliapkg.state
from juliapkg.state import STATE
print(json.dumps(json.loads(Path(STATE["deps"]).read_text())["packages"]))
"""
    environment = {**os.environ, "PYTHON_JULIAPKG_PROJECT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    both = json.loads(done.stdout)
    asked = both["Particles"]
    assert asked["dev"] is True
    assert Path(asked["path"]).resolve() == ROOT / "julia" or (tmp_path / asked["path"]).resolve() == ROOT / "julia"
    package = tomllib.loads((ROOT / "julia" / "Project.toml").read_text())
    assert asked["uuid"] == package["uuid"]
    assert both["SIMD"] == {"uuid": package["weakdeps"]["SIMD"], "version": package["compat"]["SIMD"]}


def test_a_package_that_the_project_does_not_name_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("juliapkg")
    asks = f"julia._ask_juliapkg_for(Path({str(ROOT / 'julia')!r}), ['Simd'])"
    code = f"from pathlib import Path; from portbench.hosts import julia; {asks}"
    environment = {**os.environ, "PYTHON_JULIAPKG_PROJECT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode
    assert "Simd is not among the weak dependencies that" in done.stderr
