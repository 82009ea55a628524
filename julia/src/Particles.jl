"""
Particles in a box: the Lennard-Jones simulation of `python/particles/spec.py`, in plain Julia.

A box with N particles costs O(N) a step, because a particle looks only at its list of neighbours:

 1. `load` checks what it is given and makes one `System` for each box.
 2. `rebuild!` wraps the particles into the box, sorts them, adds their periodic images, sorts all of
    these into cells, and lists the neighbours of each particle: all that are within `cutoff + skin`.
 3. `advance!` is velocity Verlet: half kick, drift, forces, half kick. Images follow their
    particles. When some particle has moved by half the skin, the list is made anew.
 4. `state` observes: energies, virial, pressure, temperature and momentum.

Particles are divided among threads in chunks. Whoever does a chunk writes only to its
particles, and every sum has a fixed order, so the results do not depend on the number of threads.

A point is laid out as `SVector{3,T}`. The extension ParticlesSIMDExt, there if SIMD is loaded, adds
loops in explicit vectors for `SVector{4,Float64}` and `SVector{4,Float32}`, the fourth number zero.
"""
module Particles

using PrecompileTools: @compile_workload
using StaticArrays: SVector

export load, run!, state, about

include("parameters.jl")
include("system.jl")
include("parallel.jl")
include("neighbours.jl")
include("forces.jl")
include("motion.jl")
include("observe.jl")
include("simulation.jl")
include("tuned.jl")
include("precompile.jl")

end
