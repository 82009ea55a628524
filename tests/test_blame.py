"""An error in a person's own files is said with the file and the line that they can mend."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import WAVE

from portbench import blame, contract, hosts, manifest
from portbench.errors import PortFailure, lacking
from portbench.manifest import Manifest
from portbench.protocol import Exchange

PORT = """
import wave_port


def load(parameters, state):
    return wave_port.load(parameters, state)


def run(wave, steps):
    wave_port.run(wave, steps)


def state(wave):
    return wave_port.state(wave)
"""


def project(folder: Path, text: str, module: str = "mine") -> Manifest:
    """A wave's port of these words in mine.py."""
    (folder / "mine.py").write_text(text)
    (folder / "portbench.toml").write_text(
        f'[project]\nname = "w"\nspec = "wave"\npython-path = [".", "{WAVE}"]\n'
        f'[ports.mine]\nhost = "python"\nmodule = "{module}"\nsources = ["mine.py"]\nthreads = false\n'
    )
    return manifest.read(folder / "portbench.toml")


def refusal(found: Manifest) -> str:
    """What the port's process says when it is loaded, run and asked for its state."""
    specification = contract.load(found)
    case = specification.cases(["short"], {})[0]
    start = specification.initial_state(case.parameters)
    with Exchange(hosts.start(hosts.prepare(found, found.ports["mine"]), 1, 60), specification) as x:
        with pytest.raises(PortFailure) as failure:
            list(x.follow(case.parameters, start, [2]))
        return failure.value.sentence


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("return wave_port.load(", "return n(", "mine refused 'load': mine.py, line 6: NameError: name 'n' is not def"),
        (
            "wave_port.run(wave, steps)",
            "wave.u.reshape(7)",
            "refused 'run 2': mine.py, line 10: ValueError: cannot res",
        ),
        ("return wave_port.state(wave)", "raise KeyError('u')", "refused 'save': mine.py, line 14: KeyError: 'u'"),
        ("return wave_port.load(", "raise ValueError('no ends')\n    (", "mine refused 'load': no ends"),
        (
            "return wave_port.state(wave)",
            "return None",
            "state() gives what is of Python's type NoneType, and not a dict",
        ),
        (
            "return wave_port.state(wave)",
            "return {n.replace('velo', 'veol'): a for n, a in wave_port.state(wave).items()}",
            "no velocity: it gives displacement, veolcity, acceleration, energy; is 'veolcity' meant for 'velocity'?",
        ),
        (
            "return wave_port.state(wave)",
            "return {n: a.tolist() for n, a in wave_port.state(wave).items()}",
            "the port's displacement is of Python's type list, which the contract does not carry: make it an array of",
        ),
        ("import wave_port\n", "import no_such_thing\n", "its module mine cannot be imported: mine.py, line 2: Module"),
        (
            "import wave_port\n",
            "import wave_port)\n",
            "its module mine cannot be imported: mine.py, line 2: SyntaxError: un",
        ),
        ("def state", "def sate", "the module mine has no function state()"),
    ],
)
def test_an_error_of_a_python_port_is_said_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert PORT.count(old) == 1
    said = refusal(project(tmp_path, PORT.replace(old, new)))
    assert words in said
    assert "\n" not in said


def test_what_numba_says_is_said_with_the_line_of_the_kernel(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    (tmp_path / "kernels.py").write_text(
        "from numba import njit\n@njit\ndef text(u):\n    u[0] = 's'\n@njit\ndef lost(u):\n    return u.nothing\n"
        "@njit\ndef calls(u):\n    return lost(u)\n@njit\ndef same(u, o):\n    return u\n"
        "@njit\ndef option(u):\n    return u.sum(axis=0, keepdims=True)\n"
    )
    for call, words in (
        (
            "text(u)",
            "kernels.py, line 4: TypingError: No implementation of function Function(<built-in function setitem>",
        ),
        ("text(u)", "for signature: setitem(array(float64, 1d, C), Literal[int](0), Literal[str](s)): `u[0] = 's'`"),
        (
            "calls(u)",
            "line 7: TypingError: Unknown attribute 'nothing' of type array(float64, 1d, C): `return u.nothing`",
        ),
        ("same(u, {})", "argument 1: Cannot determine Numba type of <class 'dict'>"),
        ("option(u)", "(TypingError: got an unexpected keyword argument 'keepdims'): `return u.sum(axis=0, keepdims"),
    ):
        text = PORT.replace("wave_port.run(wave, steps)", f"kernels.{call.replace('(u', '(wave.u')}")
        said = refusal(project(tmp_path, f"import kernels{text}"))
        assert words in said
        assert "\n" not in said and "Failed in nopython" not in said


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("mnie", "there is no module mnie in {0}, {1}: did you mean 'mine'? (its `module` in the manifest)"),
        ("wave_prot:x", "did you mean 'wave_port'?"),
        ("sub.mnie", "did you mean 'sub.mine'?"),
        ("sub.nothing_like_it", "there is no module sub.nothing_like_it in {0}, {1} (its"),
    ],
)
def test_a_module_that_is_not_there_is_said_before_it_is_started(tmp_path: Path, module: str, words: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.py").write_text(PORT)
    found = project(tmp_path, PORT, module)
    with pytest.raises(PortFailure) as failure:
        hosts.prepare(found, found.ports["mine"])
    assert failure.value.kind == "broken"
    assert words.format(tmp_path, WAVE) in failure.value.sentence


def test_what_can_be_imported_is_there(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.py").write_text("raise SystemExit('it was imported')")
    for module in ("sub", "sub.mine", "numpy", "numpy.linalg", "json", "os.path", "__future__"):
        assert blame.no_module(module, [tmp_path]) == ""
    assert "sub" not in sys.modules


def test_what_is_lacking_is_said_with_what_may_be_meant() -> None:
    assert lacking(["rate"], {"rate": 1, "more": 2}) == ""
    assert lacking(["rate", "u"], ["raet"]) == "gives no rate, u: it gives raet; is 'raet' meant for 'rate'?"
    assert lacking(["rate"], []) == "gives no rate: it gives nothing"
