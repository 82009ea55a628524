"""python -m portbench"""

from portbench.cli import main

main()
