"""
The tuned layout: particles in a box with explicit vectors.

The steps are those of `Particles`, and all functions that are not here are its own. What differs:

  - A position is a row x y z 0 of 32 bytes, which is one load; the rows of as many neighbours as a
    vector has lanes are transposed in registers. Three gathers take three times as long.
  - Neighbours are listed by where their row begins, and each list is filled up to whole vectors
    with nobody, who is far away: no loop has a remainder.
  - Cells are half as long, each run of them is tested a vector at a time, and those within reach
    are packed in registers.
"""
module ParticlesSIMDExt

using Particles: Particles, System, Tuned, cell_at, pair_force, run_of_cells
using PrecompileTools: @compile_workload
using SIMD: Vec, shufflevector, vifelse, vload, vstore
using StaticArrays: SVector

const Row = SVector{4,Float64}
const TunedSystem = System{Float64,<:Particles.Boundary,Row}

Particles.skin(::Type{Row}) = 0.4
Particles.span(::Type{Row}) = 2

"""
    Particles.Tuned.load(parameters, state) -> Simulation

As `Particles.load`, in double precision, and to be run with explicit vectors.
"""
Tuned.load(parameters::AbstractDict, state::AbstractDict) = Particles.load(parameters, state, Row)

include("vectors.jl")
include("neighbours.jl")
include("forces.jl")
include("precompile.jl")

end
