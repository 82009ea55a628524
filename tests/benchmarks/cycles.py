"""python tests/benchmarks/cycles.py: cycles of the processor for a vector of pairs, in the force loops of tuned C++.

In a liquid, and where lists are long and all lies in the cache, which is what the processor's units allow; for both
precisions, by cycles.cpp beside this file; written to results/cycles.json.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from portbench import session

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results" / "cycles.json"
COMMAND = ["c++", "-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp"]
PRECISIONS = {"float64-fast": [], "float32": ["-DPARTICLES_FLOAT32"]}


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "cycles"
        for precision, flags in PRECISIONS.items():
            subprocess.run([*COMMAND, *flags, "-o", program, Path(__file__).with_suffix(".cpp")], check=True)
            one = subprocess.run([program], check=True, capture_output=True, text=True, env={"OMP_NUM_THREADS": "1"})
            rows.append({"precision": precision, **json.loads(one.stdout)})
    RESULT.write_text(json.dumps({"machine": session.machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
