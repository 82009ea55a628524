"""python tests/benchmarks/beside_busy_loops.py [--sessions 200]: a busy machine accuses no right port.

Makes short sessions of the wave's ports at a lower priority than four programs that never rest, two for each processor,
and looks at what each session says: no port may be accused, none may lose its figure, the specification neither, and
that the machine was busy must be said. Written to results/beside-busy-loops.json.
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
from pathlib import Path

from contention import NEVER_RESTS

from portbench.timing.conditions import processors

HERE = Path(__file__).parents[1]
RESULT = HERE.parent / "results" / "beside-busy-loops.json"
SAID = ("Conditions were bad", "made again")  # in the remarks of a session on a busy machine


def session(folder: Path, nice: int, budget: float) -> dict:
    """What one session said, and its samples."""
    command = ["nice", "-n", str(nice), sys.executable, "-m", "portbench", "bench", "--json", "-q"]
    done = subprocess.run([*command, "--budget", str(budget)], cwd=folder, capture_output=True, text=True)
    written = list(folder.glob("results/*.json"))
    if not (done.stdout and len(written) == 1):
        return {"exit": done.returncode, "failures": [done.stderr.strip()], "figures": [], "again": 0, "said": ""}
    told, document = json.loads(done.stdout), json.loads(written[0].read_text())
    shutil.rmtree(folder / "results")
    return {
        "exit": done.returncode,
        "failures": [f["sentence"] for f in document["failures"]],
        "figures": sorted(row["port"] for row in told["rows"] if row["time"]["value"] is not None),
        "again": len(document["disturbed"]),
        "said": " | ".join(r for r in told["remarks"] if any(words in r for words in SAID)),
    }


def main() -> int:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--sessions", type=int, default=200)
    parse.add_argument("--nice", type=int, default=10, help="of portbench")
    parse.add_argument("--loops", type=int, default=2, help="for each of two processors, at a niceness of 5")
    parse.add_argument("--budget", type=float, default=1.0)
    given = parse.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "wave"
        shutil.copytree(HERE / "wave", folder, ignore=shutil.ignore_patterns("__pycache__", "results"))
        subprocess.run([sys.executable, "-m", "portbench", "check", "-q"], cwd=folder, check=True)
        quiet = session(folder, 0, given.budget)
        loops = [
            subprocess.Popen(["nice", "-n", "5", sys.executable, "-c", NEVER_RESTS, str(number)])
            for number in processors(2)
            for _ in range(given.loops)
        ]
        rows, begun = [], time.monotonic()
        try:
            for number in range(given.sessions):
                rows.append(session(folder, given.nice, given.budget))
                print(f"{number + 1}: {time.monotonic() - begun:.0f} s, {rows[-1]}", file=sys.stderr, flush=True)
        finally:
            for loop in loops:
                loop.kill()
    accused = [row for row in rows if row["failures"] or row["exit"]]
    lost = [row for row in rows if row["figures"] != quiet["figures"]]
    silent = [row for row in rows if not row["said"]]
    found = {
        "sessions": len(rows),
        "seconds": round(time.monotonic() - begun),
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
