"""The Mojo port as a program: it answers the line protocol of docs/protocol.md.

Build    mojo build -I mojo mojo/main.mojo -o particles
Test     for each of mojo/test/test_*.mojo: mojo run -I mojo FILE

Both compute in float64; in float32 if given `-D precision=float32`.
"""

from particles import PlainBox, serve


def main() raises:
    serve[PlainBox]("mojo")
