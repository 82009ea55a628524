"""python tests/benchmarks/killed_and_resumed.py [--tries 50]: a session killed at random moments loses no sample.

Needs portbench and pytest installed. The short form is in tests/test_scheduler.py.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_misbehaviour import project
from test_scheduler import kill_and_resume

parse = argparse.ArgumentParser()
parse.add_argument("--tries", type=int, default=50)
parse.add_argument("--seed", type=int, default=1)
given = parse.parse_args()
with tempfile.TemporaryDirectory() as folder:
    kill_and_resume(project(Path(folder), ""), given.tries, random.Random(given.seed))
print(f"killed {given.tries} times at random moments, and resumed: no sample was lost, and none counted twice")
