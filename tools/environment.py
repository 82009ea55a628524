"""python3 tools/environment.py FOLDER REQUIREMENT: a virtual environment with portbench in it.

Uses uv where it is installed, pip otherwise; versions are pinned in constraints.txt.
"""

import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - the one place where an older Python can turn up
    sys.exit(f"portbench needs Python 3.11 or later and this is {sys.version.split()[0]}: run make PYTHON=python3.11")

folder, requirement = sys.argv[1:]
python = str(Path(folder, "bin", "python"))
uv = shutil.which("uv")
if not Path(python).exists():
    make = [uv, "venv", "-q", "--python", sys.executable, folder] if uv else [sys.executable, "-m", "venv", folder]
    subprocess.run(make, check=True)
pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
print(f"installing {requirement} into {folder} with {'uv' if uv else 'pip'} ...", file=sys.stderr, flush=True)
done = subprocess.run([*pip, "-q", "-c", "constraints.txt", "-e", requirement])
if done.returncode:
    sys.exit(f"the installation failed (exit status {done.returncode}): its reason is above")
