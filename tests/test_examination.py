"""A fault of the specification is said of the specification: before any port is asked, in one sentence."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, WAVE

from portbench import contract, examination, exchange, manifest
from portbench.agreement.twins import ADDS, Twin, adding
from portbench.contract import Specification
from portbench.errors import Refusal

DECAY = """
import numpy as np

NAME = "decay"
STATE = {"u": {"shape": ("n",), "unit": "1", "scale": 1.0}}
DERIVED = {"total": {"shape": (), "unit": "1"}}
WORK = ("n",)
CASES = {"small": {"n": 20}}


def parameters(*, n):
    return {"n": int(n), "rate": 0.01}


def check_state(p, s):
    if not np.all(np.isfinite(s["u"])):
        raise ValueError("u is not finite")


def initial_state(p):
    return {"u": np.linspace(1.0, 2.0, p["n"])}


def advance(p, s, steps, add=np.sum):
    u = s["u"].copy()
    for _ in range(steps):
        u = u * (1 - p["rate"])
    return {"u": u}


def observe(p, s, add=np.sum):
    return {"total": np.array(add(s["u"], axis=0))}
"""
PORT = """
def load(p, s):
    return {"rate": p["rate"], "u": s["u"].copy()}
def run(sim, steps):
    for _ in range(steps):
        sim["u"] = sim["u"] * (1 - sim["rate"])
def state(sim):
    return {"u": sim["u"], "total": sim["u"].sum()}
"""
_names = (f"decay_{k}" for k in itertools.count())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTBENCH_CACHE", str(tmp_path / "cache"))


def project(folder: Path, *changes: tuple[str, str], more: str = "", port: str = PORT) -> manifest.Manifest:
    """A project of one port, with a specification that differs from DECAY by these changes."""
    text, name = DECAY, next(_names)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / f"{name}.py").write_text(text + more)
    (folder / "port.py").write_text(port)
    (folder / "portbench.toml").write_text(
        f'[project]\nname = "decay"\nspec = "{name}"\n[check]\nsteps = {{ default = 20 }}\n'
        '[ports.right]\nhost = "python"\nmodule = "port"\nsources = ["port.py"]\nthreads = false\n'
    )
    return manifest.read(folder / "portbench.toml")


def examined(found: manifest.Manifest) -> tuple[Specification, list[str]]:
    specification = contract.load(found)
    return specification, examination.examine(specification, specification.cases(["small"], {}))


def test_honest_specifications_pass() -> None:
    """Or else the tests below would prove nothing; and none is warned of."""
    for folder, cases in ((ROOT, ["tiny", "tiny-walls"]), (WAVE, ["short"])):
        found = manifest.read(folder / "portbench.toml")
        specification = contract.load(found)
        assert examination.examine(specification, specification.cases(cases, found.cases)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('s["u"].copy()', 's["u"]'), None),  # each step makes a new array: nothing is changed
        (("u = u * (1", "u *= (1"), None),  # of its own copy
        (('u = s["u"].copy()', 'u = s["u"]; u *= 1.5'), "advance() changes its argument u in place"),
        (("    u = s", "    p['n'] = 3\n    u = s"), "advance() changes its parameters"),
        (("u * (1 - p", "u * np.random.random() * (1 - p"), "advance() is no function: called twice"),
        (("range(steps)", "range(min(steps, 2))"), "is not advance() by 1 and then by 2: its u differs"),
        (("u = s[", "u = 1.5 * s["), "is not advance() by 1 and then by 2: its u differs"),
        (("return {\"u\": u}", "return {\"u\": u.astype(np.float32)}"), "is of type float32"),
        (("return {\"u\": u}", "return {\"u\": u[1:]}"), "has shape (19,)"),
        (("return {\"u\": u}", "return u"), "and not a dictionary of fields"),
        (("return {\"u\": u}", "return {\"u\": -u}"), "is not advance() by 1"),
        (("np.array(add(s[\"u\"], axis=0))", "np.array(np.nan)"), "total, as observe() gives it, is nan"),
        (("np.array(add(s[\"u\"], axis=0))", "s['u'] + 1j"), "observe() gives it, is an array of complex numbers"),
        (("np.array(add(s[\"u\"], axis=0))", "s['u'][:2]"), "total has shape (2,), and DERIVED says ()"),
        (("np.array(add(s[\"u\"], axis=0))", "float(add(s['u'], axis=0))"), None),
        (("np.array(add(s[\"u\"], axis=0))", "np.argmax(s['u'])"), None),
        (("np.array(add(s[\"u\"], axis=0))", "[1.0]"), "total, as observe() gives it, is of Python's type list"),
        (("np.array(add(s[\"u\"], axis=0))", "None"), "total, as observe() gives it, is of Python's type NoneType"),
        (("np.array(add(s[\"u\"], axis=0))", "np.ma.masked_less(s['u'], 9)[0]"), "is a masked array"),
        (("return {\"total\"", "return {\"sum\""), "observe() gives no total: it gives sum"),
        (("np.array(add(s[\"u\"], axis=0))", "s['u'].sort() or add(s['u'][::-1], axis=0)"), None),  # sorted already
        (("np.array(add(s[\"u\"], axis=0))", "s['u'].fill(1) or 3.0"), "observe() changes its argument u in place"),
        (("np.linspace(1.0, 2.0, p[\"n\"])", "np.arange(p['n'])"), "is an array of whole numbers"),
        (("np.linspace(1.0, 2.0, p[\"n\"])", "np.exp(1j * np.arange(p['n']))"), "two fields"),
        (("np.linspace(1.0, 2.0, p[\"n\"])", "[1.0] * p['n']"), "of Python's type list"),
        (("np.linspace(1.0, 2.0, p[\"n\"])", "np.array([None] * p['n'])"), "is an array of objects"),
        (("np.linspace(1.0, 2.0, p[\"n\"])", "np.ma.masked_less(np.ones(p['n']), 2)"), "is a masked array"),
        (("np.linspace(1.0, 2.0, p[\"n\"])", "np.random.random(p['n'])"), "initial_state() is no function"),
        (("{\"u\": np.linspace", "{\"w\": np.ones(2), \"u\": np.linspace"), "gives w, which STATE does not have"),
        (("(\"n\",), \"unit\"", "(\"m\",), \"unit\""), "has no parameter m"),
        (("WORK = (\"n\",)", "WORK = (\"m\",)"), "WORK names m"),
        (("WORK = (\"n\",)", "WORK = \"n\""), "WORK must be a tuple"),
        (("CASES = {\"small\": {\"n\": 20}}", "CASES = {}"), "CASES must be a table"),
        (("STATE = {\"u\"", "STATE = {\"u v\""), "a word without blanks"),
        (("STATE = {", "STATE = 3 or {"), "STATE must be a table"),
        (("DERIVED = {\"total\"", "DERIVED = {\"u\""), "in both STATE and DERIVED"),
    ],
)  # fmt: skip
def test_what_a_specification_must_be(tmp_path: Path, change: tuple[str, str], words: str | None) -> None:
    found = project(tmp_path, change)
    if words is None:
        examined(found)
        return
    with pytest.raises(Refusal) as refusal:
        examined(found)
    assert words in str(refusal.value)
    assert "the port" not in str(refusal.value)


@pytest.mark.filterwarnings("error")  # NumPy's, of what is not finite, are not for the reader
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("def reverse(p, s):\n    s['u'] *= -1\n    return s\n", "reverse() changes its argument u in place"),
        ("def jumps(p):\n    return p['jump']\n", "jumps() raises KeyError"),
        ("def probes(t):\n    return {'two': ({'n': 2, 'rate': True}, {'u': np.ones(2)})}\n", "parameter rate"),
        ("def probes(t):\n    return {'two': ({'n': 2}, {'u': np.ones(3)})}\n", "probe 'two' is no legal state"),
        (
            "def symmetries(p, r):\n    return {'all': (lambda s: s[3], lambda s: s)}\n",
            "symmetries() 'all' raises KeyError",
        ),
        ("def conserved(p, f):\n    return {'all': np.log(-f['u'])}\n", "all[0], as conserved() gives it, is nan"),
        (
            "def conserved(p, f):\n    return f['u']\n",
            "conserved() gives what is an array of floating-point numbers, and",
        ),
        ("def reverse(p, s):\n    return {}\n", "reverse() gives no u"),
        (
            "def symmetries(p, r):\n    return {'all': lambda s: s}\n",
            "symmetries() 'all' gives what is of Python's type fun",
        ),
        (
            "def symmetries(p, r):\n    return {'all': (lambda s: {'u': s['u'][::-1]}, lambda s: s)}\n",
            "symmetries() 'all' must give the fields that it is given, and gives no total: it gives u",
        ),
        (
            "def symmetries(p, r):\n    return {'all': (lambda s: s | {'u': s['u'][1:]}, lambda s: s)}\n",
            "symmetries() 'all' turns u of shape (20,) into one of shape (19,)",
        ),
        (
            "def symmetries(p, r):\n    return {'all': (lambda s: s | {'u': s['u'][::-1]}, lambda s: s)}\n",
            "symmetry 'all' is not undone by its undo(): u differs",
        ),
        (
            "def relations(p, r):\n    return {'all': (lambda s: s, lambda s: s)}\n",
            "relations() 'all' gives what is of Python's type tuple of 2, and not (parameters, do, undo)",
        ),
        (
            "def stress(r, n):\n    return initial_state({'n': n})\n",
            "stress() gives what is of Python's type dict, and not (par",
        ),
        (
            "def stress(r, n):\n    return {'n': n, 'rate': 0.1}, {'u': np.ones(n + 1)}\n",
            "u, as stress() gives it, has shape (2,), and STATE says (1,)",
        ),
        ("def stress(r, n):\n    raise ValueError('too many')\n", "is refused by its stress(): too many"),
        (
            "def part(p, s, r):\n    return p, s\n",
            "part() gives what is of Python's type tuple of 2, and not (parameters,",
        ),
        ("def copies(p, f, times):\n    return p, {}\n", "copies() gives no u, total"),
        (
            "def copies(p, f, times):\n    return p, {n: np.tile(a, 2) for n, a in f.items()}\n",
            "u, as copies() gives it, has shape (40,), and STATE says (20,)",
        ),
        ("def nearby(p, s, r):\n    return None\n", "nearby() gives what is of Python's type NoneType"),
        (
            "def stress(r, n):\n    return {'n': n, 'rate': 0.1}, {'u': np.random.random(n)}\n",
            "stress() draws another case when it is given the same generator",
        ),
        (
            "def stress(r, n):\n    return {'n': n, 'rate': 0.1}, {'u': np.full(n, -np.inf)}\n",
            "u[0], as stress() gives it, is -inf",
        ),
        (
            "def stress(r, n):\n    return {'n': n, 'rate': 0.1, 'far': 1}, {'u': np.ones(n)}\n\n\n"
            "finite = check_state\n\n\n"
            "def check_state(p, s):\n    finite(p, s)\n    if 'far' in p:\n        raise ValueError('too far')\n",
            "What the specification's stress() draws is not legal by its check_state(): The state is refused: too far",
        ),
        (
            "def symmetries(p, r):\n    return {'up': (lambda s: s | {'u': s['u'] + 1}, lambda s: s | {'u': s['u'] - 1"
            "})}\n",
            "symmetry 'up' is none: undone after 3 steps it is not the motion without it: its u differs by",
        ),
        (
            "def relations(p, r):\n    return {'up': (p, lambda s: {'u': s['u'] + 1}, lambda s: {'u': s['u'] - 1})}\n",
            "relation 'up' does not hold: undone after 3 steps it is not the motion without it: its u differs by",
        ),
        (
            "def part(p, s, r):\n    return p, {'u': 2 * s['u']}, {'u': (slice(3), slice(3))}\n",
            "part() moves otherwise than the whole does there: its u differs by",
        ),
        (
            "def copies(p, f, t):\n    return p | {'n': 40}, f | {'u': np.append(f['u'], f['u'] + 1)}\n",
            "copies() of 2 x 1 x 1 move otherwise than the one does: its u differs by",
        ),
    ],
)
def test_its_optional_functions(tmp_path: Path, more: str, words: str) -> None:
    found = project(tmp_path, more=more)
    with pytest.raises(Refusal) as refusal:
        examined(found)
    assert words in str(refusal.value)


def test_the_same_specification_in_two_folders_is_two(tmp_path: Path, portbench: Callable) -> None:
    """What is remembered of the one, with the files that it opened, is nothing of the other."""
    identities = []
    for name in ("one", "other", "one"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "decay_twice.py").write_text(DECAY)
        (folder / "port.py").write_text(PORT)
        (folder / "portbench.toml").write_text(
            '[project]\nname = "decay"\nspec = "decay_twice"\n[check]\nsteps = { default = 20 }\n'
            '[ports.right]\nhost = "python"\nmodule = "port"\nsources = ["port.py"]\nthreads = false\n'
        )
        done = portbench("check", "--json", "--quiet", cwd=folder, PORTBENCH_CACHE=str(tmp_path / "cache"))
        (proof,) = json.loads(done.stdout)["certificates"]
        identities.append(proof["identity"]["specification"])
    assert identities[0] == identities[1] == identities[2]


@pytest.mark.parametrize("twin", [Twin(name, add=name) for name in ADDS], ids=lambda twin: twin.name)
def test_add_takes_an_axis_as_numpy_does(twin: Twin) -> None:
    """One, several or none, which are all."""
    add, terms = contract.as_numpy_does(adding(twin)), np.random.default_rng(3).uniform(0.5, 1, (3, 4, 5))
    for axis in (0, -1, (0, 2), (-1, 1), (), (0, 1, 2), None):
        np.testing.assert_allclose(add(terms, axis=axis), np.sum(terms, axis=axis), rtol=1e-12)
    assert np.isclose(add(terms), np.sum(terms)) and np.isclose(add([1.0, 2.0]), 3)


VALUES = [3, -0.0, 0.1, 1e300, "free-slip", (1, 2.5), ("a", 3), (), 2**70]
CHANGED = [
    (0.5,),
    "free slip",
    "2",
    "inf",
    "1e5",
    "",
    ((1, 2), (3, 4)),
    True,
    None,
    [1, 2],
    np.ones(3),
    float("nan"),
    {},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_parameter_arrives_as_what_it_is(tmp_path: Path, value: object) -> None:
    exchange.write_parameters(tmp_path, {"x": value})
    back = exchange.read_parameters(tmp_path)["x"]
    assert (type(back), repr(back)) == (type(value), repr(value))


@pytest.mark.parametrize("value", CHANGED, ids=repr)
def test_a_parameter_that_would_arrive_as_another_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(Refusal, match=r"parameter x = .* cannot be carried to a port: .*, so |one word"):
        exchange.write_parameters(tmp_path, {"x": value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("NAME =", "KIND = np.float\nNAME ="), "cannot be imported: AttributeError in {file}, line 4"),
        (("NAME =", "import no_such_thing\nNAME ="), "No module named 'no_such_thing' ({file}, line 4)"),
        (("NAME =", "1 +\nNAME ="), "cannot be imported: SyntaxError in {file}, line 4"),
        (("NAME =", "raise SystemExit(3)\nNAME ="), "cannot be imported: SystemExit in {file}, line 4"),
        (("int(n)", "int(np.float(n))"), "parameters() raises AttributeError in {file}, line 12"),
        (("u = s[\"u\"].copy()", "u = s[\"u\"][:, 0]"), "advance() raises IndexError in {file}, line 25"),
        (("u = s[\"u\"].copy()", "u = s[\"u\"] + np.ones(3)"), "advance() raises ValueError in {file}, line 25"),
        (("add(s[\"u\"], axis=0)", "s[\"u\"][99]"), "observe() raises IndexError in {file}, line 32"),
        (("add(s[\"u\"], axis=0)", "1 // 0"), "observe() raises ZeroDivisionError in {file}, line 32"),
        (("    u = s", "    raise ValueError('too hot')\n    u = s"), "is refused by its advance(): too hot"),
    ],
)  # fmt: skip
def test_whatever_it_raises_is_one_sentence(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    found = project(tmp_path, change)
    with pytest.raises(Refusal) as refusal:
        examined(found)
    said = str(refusal.value)
    assert words.format(file=f"{found.project.spec}.py") in said
    assert "\n" not in said


def test_on_the_command_line(portbench, tmp_path: Path) -> None:
    """Exit status 2, one line and no traceback; late errors too, which only the ladder's own states bring about."""
    project(tmp_path, ("np.array(add", "np.float(add"))
    early = portbench("check")
    project(tmp_path, more="def statistics(p, s):\n    return np.float(1)\n")
    late = portbench("check", "--level", "A6")
    for done in (early, late):
        assert done.returncode == 2, done.stdout + done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("portbench: The specification is refused: the specification's")
        assert "AttributeError in decay_" in last
        assert "Traceback" not in done.stderr


def test_sums_that_do_not_go_through_add_are_remarked(tmp_path: Path) -> None:
    _, remarks = examined(project(tmp_path, ('add(s["u"], axis=0)', 's["u"].sum()')))
    assert len(remarks) == 1
    assert "never calls add(), though its total" in remarks[0]
    assert examined(project(tmp_path))[1] == []


def test_the_unit_of_work(tmp_path: Path) -> None:
    assert contract.load(project(tmp_path)).work_name == "n"
    assert contract.load(project(tmp_path, more='UNIT = "cell"\n')).work_name == "cell"


# ---------------------------------------------------------------- what it is made of


def with_helper(folder: Path, name: str) -> manifest.Manifest:
    (folder / f"{name}.py").write_text('"""A constant."""\nRATE = 0.01\n')
    return project(
        folder, ('NAME = "decay"', f'from {name} import RATE\nNAME = "decay"'), ('"rate": 0.01', '"rate": RATE')
    )


def test_a_helper_is_part_of_its_identity_and_its_documentation_is_not(tmp_path: Path) -> None:
    specification = contract.load(with_helper(tmp_path, "helper_a"))
    before = specification.identity
    (tmp_path / "helper_a.py").write_text('"""The same constant, said\nanother way."""\n\nRATE = 0.01  # per step\n')
    assert specification.identity == before
    specification.source.write_text(
        "# a comment\n" + specification.source.read_text().replace("parameters(*,", "parameters( *,")
    )
    assert specification.identity == before
    (tmp_path / "port.py").write_text("# the port is no part of it\n")
    assert specification.identity == before
    (tmp_path / "helper_a.py").write_text("RATE = 0.02\n")
    assert specification.identity != before


@pytest.mark.parametrize("when", ["imported", "advanced"])
def test_files_that_it_reads_are_part_of_its_identity(tmp_path: Path, when: str) -> None:
    table = f"table_{when}.txt"
    (tmp_path / table).write_text("0.01")
    read = f"float(open('{tmp_path / table}').read())"
    changes = {
        "imported": [('NAME = "decay"', f'RATE = {read}\nNAME = "decay"')],
        "advanced": [("(1 - p", f"(1 - {read} + p")],
    }
    found = project(tmp_path, *changes[when])
    specification, _ = examined(found)
    assert tmp_path / table in specification.opened
    before = specification.identity
    again = contract.load(found)
    examination.examine(again, again.cases(["small"], {}))  # remembered: nothing is opened
    assert again.identity == before
    (tmp_path / table).write_text("0.02")
    assert specification.identity != before


def test_what_is_imported_inside_a_function_counts_before_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "late_helper.py").write_text("RATE = 0.01\n")
    specification = contract.load(project(tmp_path, ("    u = s", "    import late_helper\n    u = s")))
    before = specification.identity
    (tmp_path / "late_helper.py").write_text("RATE = 0.02\n")
    assert specification.identity != before


def test_an_examination_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = project(tmp_path)
    specification, _ = examined(found)
    calls: list[int] = []
    monkeypatch.setattr(specification.module, "advance", lambda *_, **__: calls.append(1))
    examined(found)
    assert calls == []
    specification.source.write_text(specification.source.read_text() + "EXTRA = 1\n")
    with pytest.raises(Refusal, match="not a dictionary"):
        examined(found)
    assert calls


def test_another_helper_is_another_question(portbench, tmp_path: Path) -> None:
    """The answers of the old one are not given to a port that still has its constant."""
    with_helper(tmp_path, "helper_b")
    assert portbench("check", "--quiet").returncode == 0
    (tmp_path / "helper_b.py").write_text("RATE = 0.02\n")
    (tmp_path / "port.py").write_text(PORT.replace('sim["rate"])', "0.01)"))
    assert portbench("check", "--quiet").returncode == 1
