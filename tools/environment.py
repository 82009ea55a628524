"""python3 tools/environment.py FOLDER REQUIREMENT: a virtual environment with portbench in it.

Uses uv where it is installed, pip otherwise; versions are pinned in constraints.txt.
"""

import os
import shutil
import subprocess
import sys

if sys.version_info < (3, 11):
    sys.exit(f"portbench needs Python 3.11 or later and this is {sys.version.split()[0]}: run make PYTHON=python3.11")

folder, requirement = sys.argv[1:]
python = os.path.join(folder, "bin", "python")
uv = shutil.which("uv")
if not os.path.exists(python):
    subprocess.run(
        [uv, "venv", "-q", "--python", sys.executable, folder] if uv else [sys.executable, "-m", "venv", folder],
        check=True,
    )
install = (
    [uv, "pip", "install", "--python", python]
    if uv
    else [python, "-m", "pip", "install", "--disable-pip-version-check"]
)
print(f"installing {requirement} into {folder} with {'uv' if uv else 'pip'} ...", file=sys.stderr, flush=True)
done = subprocess.run([*install, "-q", "-c", "constraints.txt", "-e", requirement])
if done.returncode:
    sys.exit(f"the installation failed (exit status {done.returncode}): its reason is above")
