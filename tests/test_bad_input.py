"""What a person can get wrong: one clear sentence on standard error, exit status 2 (or 1 for a failed check)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from portbench import cli, hosts, manifest, run
from portbench.errors import Refusal
from portbench.hosts import build

PORT = """
[ports.honest]
host = "python"
module = "honest"
sources = ["honest.py"]
"""
HONEST = """
from particles import spec
def load(p, s): return {"p": p, "s": {name: array.copy() for name, array in s.items()}}
def run(sim, steps): sim["s"] = spec.advance(sim["p"], sim["s"], steps)
def state(sim): return sim["s"] | spec.observe(sim["p"], sim["s"])
"""


def write(folder: Path, more: str = "", port: str = PORT, spec: str = "particles.spec") -> Path:
    (folder / "honest.py").write_text(HONEST)
    (folder / "portbench.toml").write_text(
        f"""
[project]
name = "mine"
spec = "{spec}"
python-path = [".", "{ROOT / "python"}"]
{port}
{more}
"""
    )
    return folder


def complaint(done) -> str:
    """The one sentence; and no traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith("portbench: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("command", ["check", "compare", "bench"])
def test_unknown_port_or_case(portbench, tmp_path: Path, command: str) -> None:
    write(tmp_path)
    done = portbench(command, "--ports", "honset")
    assert done.returncode == 2
    assert "There is no port 'honset': did you mean 'honest'?" in complaint(done)
    done = portbench(command, "--cases", "liquid-50")
    assert done.returncode == 2
    assert "There is no case 'liquid-50': did you mean 'liquid-500'?" in complaint(done)
    with pytest.raises(Refusal, match="'spec' is the specification, beside which every port is checked"):
        manifest.find(tmp_path).choose_ports(["spec"])


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    for source, words in (("hoenst.py", "did you mean 'honest.py'?"), ("/sub/x.c", f"not exist in {tmp_path}")):
        found = manifest.read(write(tmp_path, "", PORT.replace("honest.py", source)) / "portbench.toml")
        assert hosts.broken(found, found.ports["honest"]).endswith(words)


def test_missing_manifest(portbench, tmp_path: Path) -> None:
    done = portbench("check", "--manifest", "nowhere.toml")
    assert done.returncode == 2
    assert "no manifest at nowhere.toml" in complaint(done)


PROJECT = '[project]\nname = "x"\nspec = "y"\n'
PYTHON = PROJECT + '[ports.a]\nhost = "python"\nmodule = "a"\nsources = ["a"]\n'
BUILT = PROJECT + '[ports.a]\nhost = "executable"\nsources = ["a"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[project\n", "not valid TOML"),
        ('[ports.a]\nhost = "python"\n', "it has no table [project]"),
        (PROJECT, "it has no table [ports]"),
        ('[project]\nspec = "y"\n[ports]\n', "[project] lacks the key `name`"),
        (PROJECT + "[prots.a]\n", "there is no table [prots]: did you mean [ports]?"),
        (
            PROJECT + "[limits]\n",
            "there is no table [limits]: there is [project], [compare], [check], [mutants], [ports]",
        ),
        ("root = 3\n" + PYTHON, "there is no table [root]"),
        (PROJECT + "python_path = 3\n[ports]\n", "[project] python_path = 3 must be a list"),
        (PROJECT + 'python-pth = ["."]\n[ports]\n', "[project] has no key `python-pth`: did you mean `python-path`?"),
        (
            PYTHON.replace("python", "pyhton"),
            '[ports.a]: host = "pyhton" must be "python", "julia" or "executable": did',
        ),
        (PYTHON.replace("python", "spec"), '[ports.a]: host = "spec" must be "python", "julia" or "executable"'),
        (PYTHON.replace("module", "modul"), "[ports.a] has no key `modul`: did you mean `module`?"),
        (PYTHON.replace("host", "hots"), "[ports.a] has no key `hots`: did you mean `host`?"),
        (PYTHON.replace('host = "python"\n', ""), "[ports.a] lacks the key `host`"),
        (PYTHON.replace('module = "a"\n', ""), '[ports.a]: a port with host = "python" needs `module`'),
        (PYTHON + "speed = 9\n", "[ports.a] has no key `speed`: there is host, language"),
        (PYTHON + 'name = "b"\nvariant = 3\n', "[ports.a] has no key `variant`: did you mean `variants`?"),
        (PYTHON.replace('["a"]', '"a"'), '[ports.a] sources = "a" must be a list, such as ["a"]'),
        (PYTHON.replace('["a"]', "[3]"), "[ports.a] sources[0] = 3 must be a text in quotes"),
        (PYTHON.replace('["a"]', "[]"), "[ports.a] sources = [] must be a list with something in it"),
        (
            PYTHON.replace('module = "a"', 'module = "a.py"'),
            '`module` is the name by which it is imported: "a", without',
        ),
        ('[project]\nname = "x"\nspec = "y.py"\n[ports]\n', '`spec` is the name by which it is imported: "y", without'),
        (PYTHON.replace('module = "a"', 'module = ["a"]'), '[ports.a] module = ["a"] must be a text in quotes'),
        (PYTHON + 'threads = "many"\n', '[ports.a] threads = "many" must be true or false'),
        (PYTHON + 'precision = "double"\n', 'precision must be "float64", "float64-fast", "float32", or a table'),
        (PYTHON + "[ports.a.variants.b]\nmodule = 3\n", "[ports.a.variants.b] module = 3 must be a text in quotes"),
        (PYTHON + "[check]\nsteps = 100\n", "[check] steps = 100 must be a table, such as { default = 100 }"),
        (PYTHON + "[check]\nsteps = { default = 1.5 }\n", "[check] steps.default = 1.5 must be a whole number"),
        (PYTHON + "[check]\nsteps = { default = 0 }\n", "[check] steps.default = 0 must be above 0"),
        (PYTHON + "[check]\nlong = { default = -1 }\n", "[check] long.default = -1 must be at least 0"),
        (PYTHON + "[compare]\nsample = 100\n", "[compare] sample = 100 must be at most 60"),
        (PYTHON + '[compare]\nrun = "x"\n', '[compare] run = "x" must be a whole number or a table'),
        (PYTHON + "[compare]\nrun = { tiny = 0 }\n", "[compare] run.tiny = 0 must be above 0"),
        (PYTHON + "[cases]\na = 3\n", "[cases.a] is 3, and must be a table"),
        ("compare = 3\n" + PYTHON, "[compare] is 3, and must be a table"),
        (PROJECT + "ports = 3\n", "[project] has no key `ports`"),
        ("ports = 3\n" + PROJECT, "[ports] is 3, and must be a table"),
        (BUILT, '[ports.a]: a port with host = "executable" needs `run`'),
        (
            BUILT + 'build = ["cc", "-o", "{ouput}"]\nrun = ["{output}"]\n',
            "`build` has {ouput}, and the only placeholder is",
        ),
        (BUILT + 'run = ["./{OUTPUT}"]\n', "`run` has {OUTPUT}, and the only placeholder is {output}"),
        (BUILT + 'build = ["make"]\nrun = ["{output}"]\n', "`build` does not say where {output} goes"),
        (BUILT + 'build = "cc -o {output} a.c"\n', 'must be a list, such as ["cc", "-o", "{output}", "a.c"]'),
        (PROJECT + '[compare]\nports = ["b"]\n[ports]\n', "There is no port 'b'"),
        (PROJECT + '[ports."a,b"]\nhost = "python"\n', "holds a comma"),
        (PROJECT + '[ports]\n[cases."a#1"]\n', "number of a seed"),
        (PROJECT + '[ports." a"]\nhost = "python"\n', "without blanks around it"),
        (
            PROJECT + '[ports."a:b"]\nhost = "python"\n[ports.a]\nvariants = {b = {}}\n',
            "has the name of a variant",
        ),
        (PROJECT + '[ports.spec]\nhost = "python"\n', "may not be called 'spec'"),
    ],
)
def test_broken_manifest(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "portbench.toml").write_text(text)
    with pytest.raises(Refusal) as refusal:
        manifest.find(tmp_path)
    said = str(refusal.value)
    assert words in said
    assert "\n" not in said and "Input should" not in said and "pydantic" not in said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("scaling a.json b c", "scaling takes one session, and cases by --cases b,c: b c is too much"),
        ("cost a.json b.json --steps 5", "cost takes one session, and cases by --cases b.json: b.json is too much"),
        ("report a.json b.json", "report takes one session: b.json is too much (two sessions are compared by"),
    ],
)
def test_more_than_one_session(command: str, words: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.app(command.split())
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_shells_braces_are_its_own(tmp_path: Path) -> None:
    more = 'build = ["sh", "-c", "cc -o $1 ${outputs}; awk {print}", "{output}"]\nrun = ["{output}"]\n'
    (tmp_path / "portbench.toml").write_text(BUILT + more)
    assert manifest.find(tmp_path).ports["a"].run == ["{output}"]


def test_a_broken_manifest_on_the_command_line(portbench, tmp_path: Path) -> None:
    (tmp_path / "portbench.toml").write_text(PYTHON + "[check]\nsteps = 100\n")
    done = portbench("check")
    assert done.returncode == 2
    assert "[check] steps = 100 must be a table" in complaint(done)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            "[check]\nsteps = { default = 2, tniy = 3 }\n",
            "[check] steps: There is no case 'tniy': did you mean 'tiny'?",
        ),
        ("[check]\nlong = { tniy = 3 }\n", "[check] long: There is no case 'tniy'"),
        ('[compare]\ncases = ["tniy"]\n', "[compare] cases: There is no case 'tniy'"),
        ("[compare]\nrun = { tniy = 3 }\n", "[compare] run: There is no case 'tniy'"),
        ('[mutants]\ncases = ["tniy"]\n', "[mutants] cases: There is no case 'tniy'"),
        ('[cases.mine]\nbase = "tniy"\n', "[cases.mine] base: There is no case 'tniy'"),
        ("[cases.mine]\nbase = [3]\n", "[cases.mine] base: There is no case '[3]'"),
    ],
)
def test_a_case_that_the_manifest_alone_knows(tmp_path: Path, more: str, words: str) -> None:
    found = manifest.read(write(tmp_path, more) / "portbench.toml")
    with pytest.raises(Refusal) as refusal:
        run.plan(found, [], ["tiny"], [1])
    assert words in str(refusal.value)


def test_specification_that_is_none(portbench, tmp_path: Path) -> None:
    write(tmp_path, spec="nothing_here")
    done = portbench("check")
    assert done.returncode == 2
    assert "cannot be imported" in complaint(done)
    (tmp_path / "half.py").write_text("NAME = 'half'\nSTATE = {}\n")
    write(tmp_path, spec="half")
    done = portbench("check")
    assert done.returncode == 2
    assert "lacks DERIVED, WORK" in complaint(done)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ('base = "liquid-500"\ncutoff = 4.3', "over half the shortest side"),
        ('base = "liquid-500"\nboundary = "torus"', 'must be "periodic" or "walls"'),
        ('base = "liquid-500"\ndensity = nan', "not a finite number"),
        ('base = "liquid-500"\ndensity = -1', "above 0"),
        ('base = "liquid-500"\ncells = [0, 1, 1]', "whole numbers of at least 1"),
        ('base = "liquid-500"\nviscosity = 1', "viscosity"),
        ("cells = [3, 3, 3]", "missing"),
        ('base = "mine"', "built on itself"),
        ('base = "solid"', "There is no case 'solid'"),
    ],
)
def test_impossible_case(portbench, tmp_path: Path, case: str, words: str) -> None:
    write(tmp_path, f"[cases.mine]\n{case}\n")
    done = portbench("check", "--cases", "mine")
    assert done.returncode == 2
    assert words in complaint(done)


def test_a_case_of_ones_own(portbench, tmp_path: Path) -> None:
    """The tests above fail for the reason that they name: a sensible case works."""
    write(tmp_path, '[check]\nsteps = {default = 5}\n[cases.mine]\nbase = "tiny"\ntemperature = 1.0\n')
    done = portbench("check", "--cases", "mine", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["certificates"][0]["level"] == "A5"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("state['position'][0, 1] = state['position'][0, 0]", "at the same point"),
        ("state['velocity'][0, 3, 2] = float('nan')", "velocity of particle 3 in box 0 is not a finite number"),
        ("state['position'][0, 0, 0] = -1", "outside the box"),
        ("state['position'] = state['position'][:, 1:]", "has shape (1, 63, 3)"),
    ],
)
def test_impossible_state(portbench, tmp_path: Path, change: str, words: str) -> None:
    """A specification whose initial state is not legal."""
    (tmp_path / "bad.py").write_text(
        f"from particles.spec import *\nfrom particles import spec\n"
        f"def disordered_state(p):\n    state = spec.disordered_state(p)\n    {change}\n    return state\n"
    )
    write(tmp_path, spec="bad")
    done = portbench("check", "--cases", "tiny")
    assert done.returncode == 2
    assert words in complaint(done)


def test_missing_program_and_compiler(portbench, tmp_path: Path) -> None:
    """Named ports that are missing fail the run; unnamed ones are a line and no more."""
    (tmp_path / "x.c").write_text("int main(void) { return 0; }\n")
    more = """
[ports.gone]
host = "executable"
run = ["./no-such-program"]
sources = ["x.c"]
[ports.compilerless]
host = "executable"
build = ["no-such-compiler", "x.c", "-o", "{output}"]
run = ["{output}"]
sources = ["x.c"]
install = "apt-get install no-such-compiler"
[ports.packageless]
host = "python"
module = "honest"
requires = ["no_such_package"]
sources = ["honest.py"]
[check]
steps = {default = 2}
"""
    write(tmp_path, more)
    done = portbench("check", "--cases", "tiny", "--json", "--quiet")
    said = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert said["missing"]["gone"].startswith("the program ./no-such-program is not on the PATH: install")
    assert "compiler no-such-compiler is not on the PATH: apt-get install" in said["missing"]["compilerless"]
    assert "Python package no_such_package is not installed" in said["missing"]["packageless"]
    assert portbench("check", "--cases", "tiny", "--ports", "gone").returncode == 1
    # what was proved above is believed here
    assert portbench("bench", "--cases", "tiny", "--budget", "0.1", PORTBENCH_REQUIRE="compilerless").returncode == 1
    shown = portbench("doctor")
    assert shown.returncode == 0
    assert "no-such-compiler" in shown.stdout


@pytest.mark.parametrize("command", ["check", "compare", "doctor"])
def test_what_is_there_and_does_not_work_is_a_failure(portbench, tmp_path: Path, command: str) -> None:
    """Of a port that was not named too: only what is not installed is a line and no more."""
    (tmp_path / "x.c").write_text("int main(void) {\n  int error_count;\n  return zero;\n}\n")
    more = """
[ports.broken]
host = "executable"
build = ["cc", "-Wall", "x.c", "-o", "{output}"]
run = ["{output}"]
sources = ["x.c"]
[ports.mute]
host = "python"
module = "honest"
version = ["python", "-c", "raise SystemExit('no licence')"]
sources = ["honest.py"]
[ports.gone]
host = "executable"
run = ["no-such-program"]
sources = ["x.c"]
[compare]
cases = ["tiny"]
ports = ["broken", "mute", "gone"]
"""
    write(tmp_path, more)
    done = portbench(command, "--json", *(["--quiet"] if command != "doctor" else []))
    said = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert said["ok"] is False
    if command == "doctor":
        found = {f["what"]: f for f in said["findings"]}
        assert "x.c:3:" in found["port broken"]["detail"] and found["port broken"]["broken"]
        assert found["port gone"]["broken"] is False and found["port gone"]["usable"] is False
        return
    assert "x.c:3:" in said["broken"]["broken"] and "zero" in said["broken"]["broken"]
    assert said["broken"]["mute"].endswith("ended with exit status 1: no licence")
    assert list(said["missing"]) == ["gone"]
    if command == "check":
        assert "broken" in portbench("check", "--quiet").stdout


@pytest.mark.parametrize(
    ("log", "first"),
    [
        ("-Werror x.c\nx.c:2:9: warning: a\nx.c:3:10: error: no zero\nx.c:4:1: error: b", "x.c:3:10: error: no zero"),
        ("error[E0425]: cannot find value\n --> src/main.rs:3:5\n", "src/main.rs:3:5: error[E0425]: cannot find value"),
        ("x.f90:3:4:\n\n    3 | zero\n      | 1\nError: Syntax error", "x.f90:3:4: Error: Syntax error"),
        ("ld: x.o: undefined reference to `f'\ncollect2: error: ld returned 1", "ld: x.o: undefined reference to `f'"),
        ("ld: cannot find -lmm: No such file\ncollect2: error: ld returned 1", "ld: cannot find -lmm: No such file"),
        ("ld: library 'mm' not found\nclang: error: linker command failed", "ld: library 'mm' not found"),
        ('k.cu(12): error: identifier "x" is undefined\n', 'k.cu(12): error: identifier "x" is undefined'),
        ("make: nothing to be done\nkilled", "killed"),
        ("", "it says nothing"),
    ],
)  # fmt: skip
def test_the_compilers_own_first_error_is_said(log: str, first: str) -> None:
    assert build.first_error(log) == first


def test_a_port_whose_module_is_broken(portbench, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "honest.py").write_text("import no_such_thing\n")
    done = portbench("check", "--cases", "tiny", "--json", "--quiet")
    assert done.returncode == 1
    assert "No module named 'no_such_thing'" in json.loads(done.stdout)["certificates"][0]["finding"]


def test_threads_and_results_that_cannot_be(portbench, tmp_path: Path) -> None:
    write(tmp_path)
    for threads, words in (("two", "whole numbers"), ("0", "at least 1")):
        done = portbench("check", "--threads", threads)
        assert done.returncode == 2
        assert words in complaint(done)
    (tmp_path / "file").write_text("")
    done = portbench("bench", "--cases", "tiny", "--results", "file")
    assert done.returncode == 2
    assert "No session can be written" in complaint(done)
    done = portbench("report", "file")
    assert done.returncode == 2
    assert "cannot be read as a session" in complaint(done)


def test_ports_get_a_known_environment(portbench, tmp_path: Path) -> None:
    """What was set for debugging changes no figure; what was kept from the ports is said, and what passed is kept."""
    more = '[compare]\ncases = ["tiny"]\n[check]\nsteps = {default = 2}\n'
    write(tmp_path, more, PORT + 'environment = { MINE = "1" }\nthreads = false\n')
    shell = {"NUMBA_DISABLE_JIT": "1", "LD_DEBUG": "", "OMP_NUM_THREADS": "7", "OPENBLAS_L2_SIZE": "262144"}
    (tmp_path / "honest.py").write_text(
        HONEST + "import os\n"
        "assert os.environ['MINE'] == '1' and os.environ['OPENBLAS_L2_SIZE'] and os.environ['OMP_NUM_THREADS'] == '1'\n"
        "assert 'NUMBA_DISABLE_JIT' not in os.environ and 'LD_DEBUG' not in os.environ\n"
    )
    done = portbench("compare", "--quiet", "--json", "--budget", "0", **shell)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    document = json.loads((tmp_path / said["session"]).read_text())
    assert {"NUMBA_DISABLE_JIT", "LD_DEBUG"} <= set(document["environment"]["dropped"])
    assert "OMP_NUM_THREADS" not in document["environment"]["dropped"]
    assert document["environment"]["passed"]["OPENBLAS_L2_SIZE"] == "262144"
    assert document["ports"][1]["environment"] == {"MINE": "1"}
    assert any("NUMBA_DISABLE_JIT" in remark and "kept from the ports" in remark for remark in said["remarks"])


def test_builds_get_it_too(portbench, tmp_path: Path) -> None:
    """And what the manifest sets for the port."""
    (tmp_path / "x.c").write_text("x")
    ask = "import os; raise SystemExit(' '.join(sorted(n for n in os.environ if n in ('CFLAGS', 'CPATH', 'MINE'))))"
    more = f"""
[ports.builds]
host = "executable"
build = ["python", "-c", "{ask}", "{{output}}"]
run = ["{{output}}"]
environment = {{ MINE = "1" }}
sources = ["x.c"]
"""
    write(tmp_path, more)
    done = portbench("check", "builds", "--cases", "tiny", "--quiet", "--json", CFLAGS="-O0", CPATH="/")
    assert json.loads(done.stdout)["broken"]["builds"] == "its build ended with exit status 1: MINE"


def test_a_compiler_in_another_place_builds_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the one made may look for its libraries beside it, and its environment may be gone."""
    monkeypatch.setenv("PORTBENCH_CACHE", str(tmp_path / "cache"))
    path, project = os.environ["PATH"], tmp_path / "project"
    project.mkdir()
    (project / "port.x").write_text("")
    more = '[ports.built]\nhost = "executable"\nbuild = ["xc", "{output}"]\nrun = ["{output}"]\nsources = ["port.x"]\n'
    write(project, more)
    made = []
    for place in ("one", "other", "one"):
        compiler = tmp_path / place / "xc"
        compiler.parent.mkdir(exist_ok=True)
        compiler.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo 1.0 || echo "exec {place}" > "$1"\n')
        compiler.chmod(0o755)
        monkeypatch.setenv("PATH", f"{compiler.parent}{os.pathsep}{path}")
        found = manifest.read(project / "portbench.toml")
        made.append(Path(hosts.prepare(found, found.ports["built"]).command[0]))
    assert [program.read_text() for program in made] == ["exec one\n", "exec other\n", "exec one\n"]
    assert made[0] == made[2] != made[1]


def test_a_folder_named_like_a_program_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside the manifest is; and Python is this one where there is no other."""
    (tmp_path / "cc").mkdir()
    assert hosts.program(tmp_path, "cc") == "cc"
    (tmp_path / "port").write_text("")
    assert hosts.program(tmp_path, "port") == str(tmp_path / "port")
    monkeypatch.setattr(hosts.shutil, "which", lambda *_, **__: None)
    assert hosts.program(tmp_path, "python") == sys.executable


def test_names_with_all_that_names_may_hold(portbench, tmp_path: Path) -> None:
    """In files, in tables, in a session and on the command line."""
    name, case = "my [bold] port/one: é|", "a/b [red]: c"
    more = f'[cases."{case}"]\nbase = "tiny"\n[check]\nsteps = {{ default = 2 }}\nlong = {{ default = 0 }}\n'
    write(tmp_path, more, PORT.replace("ports.honest", f'ports."{name}"'))
    cache = tmp_path / "cache"
    done = portbench("check", name, "--cases", case, COLUMNS="200", PORTBENCH_CACHE=str(cache))
    assert done.returncode == 0, done.stdout + done.stderr
    assert name in done.stdout and case in done.stdout
    assert len(list((cache / "certificates").rglob("*.json"))) == 1
    assert all(path.name.isascii() and " " not in path.name for path in cache.iterdir())


def test_reports_print_names_as_they_are(tmp_path: Path, portbench) -> None:
    """And no square brackets as colours."""
    text = (ROOT / "results" / "readme.json").read_text(encoding="utf-8")
    text = text.replace('"numpy"', '"my [bold] port|"').replace('"liquid-500"', '"a/b [red]: c"')
    (tmp_path / "s.json").write_text(text, encoding="utf-8")
    shown = portbench("report", "s.json", COLUMNS="200").stdout
    assert "my [bold] port|" in shown and "a/b [red]: c: 500 particles" in shown and "x my [bold] port|" in shown
    assert "| my [bold] port\\| | A5/200 |" in portbench("report", "s.json", "--markdown").stdout
    for arguments in (("report", "s.json", "--phases"), ("cost", "s.json", "--steps", "1e5")):
        shown = portbench(*arguments, COLUMNS="200").stdout
        assert "my [bold] port|" in shown and "a/b [red]: c" in shown


def test_what_portbench_writes_among_the_sources_changes_no_hash(tmp_path: Path, monkeypatch) -> None:
    """Nor what compilers and Python keep there."""
    monkeypatch.setenv("PORTBENCH_CACHE", str(tmp_path / "mine"))
    for name in (
        "a.c", "lib/b.h", "libx.so",  # is linked
        "a.o", "results/x.json", "other/20260101-120000-7.jsonl", "other/20260101-120000-7.json",
        ".git/config", "lib/__pycache__/b.cpython-311.pyc", "mine/build/a/a",
        "env/pyvenv.cfg", "env/lib/x.py", "target/CACHEDIR.TAG", "target/release/a",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = [str(path.relative_to(tmp_path)) for path in hosts.source_files(tmp_path, ["."])]
    assert found == ["a.c", "lib/b.h", "libx.so"]
    assert hosts.source_files(tmp_path, ["a.o"]) == [tmp_path / "a.o"]  # named by hand


def test_names_of_files_are_safe_and_differ() -> None:
    assert build.file_name("numpy", "liquid-500", 1) == "numpy-liquid-500-1"
    odd = [build.file_name(name) for name in ("a/b", "a b", "a:b", "..", "é" * 300, "")]
    assert len(set(odd)) == len(odd)
    assert all(len(one) < 100 and "/" not in one and not one.startswith(".") for one in odd)


def test_the_environment_is_left_alone(tmp_path: Path) -> None:
    """Hosting a port changes its environment, not ours."""
    write(tmp_path)
    mine = manifest.read(tmp_path / "portbench.toml")
    before = dict(os.environ)
    assert hosts.prepare(mine, mine.ports["honest"]).environment(2)["PORTBENCH_THREADS"] == "2"
    assert dict(os.environ) == before
