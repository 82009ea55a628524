"""The measuring engine's measurement of itself: planted differences are planted, and counted rightly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import LONG
from test_misbehaviour import project, wave_on_the_path  # noqa: F401 (a fixture)

from portbench import contract, hosts, manifest, run
from portbench.cli import DEFAULT_PRECISION
from portbench.progress import Progress
from portbench.timing import selfcheck
from portbench.timing.scheduler import Plan
from portbench.timing.selfcheck import Try
from portbench.timing.statistics import Estimate

pytestmark = pytest.mark.alone


@LONG
def test_a_large_slowdown_is_always_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By half, in the stream of a port that knows nothing of it."""
    monkeypatch.setattr(selfcheck, "PLANTED", (0.5,))
    found = manifest.read(project(tmp_path, "") / "portbench.toml")
    specification = contract.load(found)
    (case,) = specification.cases(["short"], {})
    ready = hosts.prepare(found, found.ports["right"])
    tries: list[Try] = []
    plan = Plan(budget=0, precision=0.02, seed=1)
    selfcheck.check(ready, specification, case, plan, range(2), tries.append)
    none, half = selfcheck.rates(tries)
    assert (none.planted, half.planted) == (0.0, 0.5)
    assert (half.tries, half.seen, half.rate) == (2, 2, 1.0)
    assert half.low == pytest.approx(0.025**0.5)  # the exact interval of two in two
    assert none.tries == 2
    assert all(one.found[0.5].value == pytest.approx(1 / 1.5, rel=0.15) for one in tries)


def test_it_says_how_long_it_will_take(tmp_path: Path, portbench) -> None:
    """By the budget, or by three rounds where these take longer."""
    plan = Plan(budget=45, precision=0.01, seed=1)
    assert selfcheck.forecast(200, plan).startswith("200 tries of up to 45 s")
    assert "about 2.5 hours" in selfcheck.forecast(200, plan)
    assert "about 7.5 minutes" in selfcheck.forecast(10, plan)
    assert "about 0.0" not in selfcheck.forecast(1, Plan(budget=0, precision=0.01, seed=1))
    project(tmp_path, "")
    done = portbench("selfcheck", "--tries", "1", "--budget", "1")
    assert done.returncode == 0, done.stderr
    assert "One try of up to" in done.stderr.split("measuring right beside itself")[0]


def test_rates_count_what_is_seen_and_nothing_of_ports_that_failed() -> None:
    def one(none: Estimate | None, large: Estimate) -> Try:
        return Try(0, 1.0, {0.0: none, **dict.fromkeys(selfcheck.PLANTED, large)})

    tie, alarm = Estimate(1.0, 0.99, 1.01), Estimate(1.02, 1.01, 1.03)
    seen, wrong_way = Estimate(0.95, 0.94, 0.96), Estimate(1.05, 1.04, 1.06)
    rates = selfcheck.rates([one(tie, seen), one(alarm, seen), one(None, wrong_way), one(tie, tie)])
    assert (rates[0].tries, rates[0].seen) == (3, 1)
    assert [(r.tries, r.seen) for r in rates[1:]] == [(4, 2)] * 3


@LONG
def test_it_goes_on_where_it_was(tmp_path: Path, portbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that is in the journal is not made again; a journal of something else is refused, and kept."""
    project(tmp_path, "")
    arguments = ("selfcheck", "--tries", "1", "--budget", "0", "--json", "--quiet")
    journal = tmp_path / "some" / "tries.jsonl"
    done = portbench(*arguments, "--journal", str(journal))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [r["planted"] for r in said["rates"]] == [0.0, 0.01, 0.02, 0.05]
    assert said["port"] == "right"
    assert len(said["tries"]) == 1
    assert not journal.exists()
    found = manifest.read(tmp_path / "portbench.toml")
    job = run.plan(found, ["right"], [], [1])
    monkeypatch.setattr(selfcheck, "check", lambda *_: None)
    plan = Plan(0.0, DEFAULT_PRECISION, 1, sample=0.03)
    run.check_itself(job, plan, 1, journal, Progress(quiet=True)).close()  # what is asked is in it now
    made = [{**said["tries"][0], "number": number, "seconds": 123.0} for number in (0, 5)]
    with journal.open("a") as file:
        file.write("".join(json.dumps(one) + "\n" for one in made) + '{"number": 1, "sec')
    again = portbench(*arguments, "--journal", str(journal))
    assert json.loads(again.stdout)["tries"] == made[:1]  # no more than are asked for
    for other in (json.dumps({"port": "left"}) + "\n", "nothing of the kind\n", "nor this"):
        journal.write_text(other)
        refused = portbench(*arguments, "--journal", str(journal))
        assert refused.returncode == 2
        assert "give another --journal" in refused.stderr
        assert journal.read_text() == other
