"""The tuned Mojo port as a program: explicit vectors, particles sorted by cell.

Build    mojo build -I mojo mojo/main_simd.mojo -o particles
"""

from particles import serve
from particles_simd import TunedBox


def main() raises:
    serve[TunedBox]("mojo-simd")
