"""Particles in a box with explicit vectors: the tuned port.

The steps are those of the package `particles`, of which this one uses files,
protocol, threads, parameters and observables. What differs:

* As many neighbours as a vector has lanes are looked at together. Their rows x y z 0,
  a load each, are transposed in registers: three gathers take three times as long.
* Particles are sorted whenever neighbours are listed, so that neighbours are near
  in memory.
* Neighbours are numbered by where their row begins, and each list is filled up to
  whole vectors with nobody, who is out of reach: no loop has a remainder.
* Each run of cells is tested a vector at a time, and those within reach are packed
  in registers.
* In single precision, where a vector is too wide for the neighbours of one
  particle, eight share a list: `clusters` in place of `lists`.
"""

from .box import TunedBox
