"""python tests/benchmarks/no_false_alarms.py [--seeds 20] [--ports ...]: right ports must pass, whatever the seed.

Climbs the ladder with every port that is here, in the periodic box and between walls, on one thread and on two,
from as many initial states as asked for, and writes one row for each to results/no-false-alarms.json. All of it takes
most of an hour; with --keep the rows of the other ports that the file holds already stay.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

RESULT = Path(__file__).parents[2] / "results" / "no-false-alarms.json"
parse = argparse.ArgumentParser()
parse.add_argument("--seeds", type=int, default=20)
parse.add_argument("--ports", default="numpy,numba,julia,mojo,numba-f32,julia-f32,mojo-f32")
parse.add_argument("--cases", default="tiny,tiny-walls")
parse.add_argument("--threads", default="1,2")
parse.add_argument("--keep", action="store_true", help="the rows of ports that are not asked for now")
given = parse.parse_args()

command = [sys.executable, "-m", "portbench", "check", "--json", "--seeds", str(given.seeds)]
command += ["--ports", given.ports, "--cases", given.cases, "--threads", given.threads]
done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
if done.returncode not in (0, 1):
    sys.exit(done.returncode)
said = json.loads(done.stdout)
rows = [
    {name: c[name] for name in ("port", "case", "threads", "precision", "level", "holds", "determinism", "horizon")}
    | {"ratios": {v["level"]: v["ratio"] for v in c["verdicts"]}, "finding": c["finding"]}
    for c in said["certificates"]
]
commands = [command[2:]]
if given.keep and RESULT.exists():
    before = json.loads(RESULT.read_text())
    rows = [row for row in before["rows"] if row["port"] not in given.ports.split(",")] + rows
    commands = before.get("commands", []) + commands
alarms = [row for row in rows if not row["holds"]]
RESULT.write_text(
    json.dumps({"commands": commands, "climbs": len(rows), "false_alarms": len(alarms), "rows": rows}, indent=0)
)
print(f"{len(alarms)} false alarms in {len(rows)} climbs of the ladder")
for row in alarms:
    print(f"  {row['port']} on {row['case']}, {row['threads']} threads: {row['finding']}")
sys.exit(1 if alarms else 0)
