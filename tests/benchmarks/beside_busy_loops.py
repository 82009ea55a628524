"""python tests/benchmarks/beside_busy_loops.py [--sessions 200]: a busy machine accuses no right port.

Makes short sessions of the wave's ports beside four niced programs that never rest, two on each of two processors:
every other one at their priority, the rest at the usual one, two at a time, each kept on one of the processors. No port
may be accused, none may lose its figure, the specification neither, and that the machine was busy must be said.
Written to results/beside-busy-loops.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contention import NEVER_RESTS

from portbench.timing.conditions import processors

HERE = Path(__file__).parents[1]
RESULT = HERE.parent / "results" / "beside-busy-loops.json"
LOOPS, NICE = 2, 5  # for each processor, and how nice they are
SAID = ("Conditions were bad", "made again")  # in the remarks of a session on a busy machine


def session(folder: Path, processor: int, nice: int, budget: float) -> dict:
    """What one session said."""
    kept = ["nice", "-n", str(nice), "taskset", "-c", str(processor)]
    command = [*kept, sys.executable, "-m", "portbench", "bench", "--json", "-q"]
    done = subprocess.run([*command, "--budget", str(budget)], cwd=folder, capture_output=True, text=True)
    written = list(folder.glob("results/*.json"))
    if not (done.stdout and len(written) == 1):
        failures = [done.stderr.strip()]
        return {"nice": nice, "exit": done.returncode, "failures": failures, "figures": [], "again": 0, "said": ""}
    told, document = json.loads(done.stdout), json.loads(written[0].read_text())
    shutil.rmtree(folder / "results")
    return {
        "nice": nice,
        "exit": done.returncode,
        "failures": [f["sentence"] for f in document["failures"]],
        "figures": sorted(row["port"] for row in told["rows"] if row["time"]["value"] is not None),
        "again": len(document["disturbed"]),
        "said": " | ".join(r for r in told["remarks"] if any(words in r for words in SAID)),
    }


def main() -> int:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--sessions", type=int, default=200)
    parse.add_argument("--budget", type=float, default=1.0)
    given = parse.parse_args()
    both = processors(2)
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / f"wave-{processor}" for processor in both]
        for folder in folders:
            shutil.copytree(HERE / "wave", folder, ignore=shutil.ignore_patterns("__pycache__", "results"))
            subprocess.run([sys.executable, "-m", "portbench", "check", "-q"], cwd=folder, check=True)
        quiet = session(folders[0], both[0], 0, given.budget)
        loops = [
            subprocess.Popen(["nice", "-n", str(NICE), sys.executable, "-c", NEVER_RESTS, str(processor)])
            for processor in both
            for _ in range(LOOPS)
        ]
        rows, begun = list[dict](), time.monotonic()

        def stream(folder: Path, processor: int, numbers: range) -> None:
            for number in numbers:
                rows.append(session(folder, processor, number // len(both) % 2 * NICE, given.budget))
                print(f"{len(rows)}: {time.monotonic() - begun:.0f} s, {rows[-1]}", file=sys.stderr, flush=True)

        try:
            with ThreadPoolExecutor(len(both)) as pool:
                streams = [range(first, given.sessions, len(both)) for first in range(len(both))]
                list(pool.map(stream, folders, both, streams))
        finally:
            for loop in loops:
                loop.kill()
    accused = [row for row in rows if row["failures"] or row["exit"]]
    lost = [row for row in rows if row["figures"] != quiet["figures"]]
    silent = [row for row in rows if not row["said"]]
    found = {
        "sessions": len(rows),
        "seconds": round(time.monotonic() - begun),
        "at_the_priority_of_the_loops": sum(row["nice"] > 0 for row in rows),
        "processors": os.cpu_count(),
        "figures": quiet["figures"],
        "accused": len(accused),
        "lost_a_figure": len(lost),
        "busy_and_not_said": len(silent),
        "samples_made_again": sum(row["again"] for row in rows),
        "sentences": Counter(sentence for row in rows for sentence in row["failures"]),
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 1 if accused or lost or silent else 0


if __name__ == "__main__":
    sys.exit(main())
