"""The tuned Mojo port as a program: explicit vectors, and particles in order.

Build    mojo build -I mojo mojo/main_simd.mojo -o particles

Computes in float64; in float32, and in clusters, if given `-D precision=float32`.
"""

from particles import serve
from particles_simd import TunedBox


def main() raises:
    serve[TunedBox]("mojo-simd")
