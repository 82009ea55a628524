"""
The tuned layouts: particles in a box with explicit vectors.

The steps are those of `Particles`, and all functions that are not here are its own. What differs:

  - A position is a row x y z 0, which is one load. In double precision the rows of as many
    neighbours as a vector has lanes are transposed in registers: three gathers take three times as long.
  - In single precision, where a vector is too wide for the neighbours of one particle, eight that
    are near each other share a list, and all look at each neighbour together.
  - Neighbours are listed by where their row begins.
  - Cells are half as long, each run of them is tested a vector at a time, in single precision, which
    has twice the lanes and reaches a little further than asked; and those within reach are packed in
    registers.
"""
module ParticlesSIMDExt

using Particles: Particles, System, Tuned, cell_at, cell_number, norm2, nowhere, place_at, somebody, xyz
using PrecompileTools: @compile_workload
using SIMD: Vec, shufflevector, vifelse, vload, vstore
using StaticArrays: SVector

const Row{T} = SVector{4,T}
const TunedSystem{T} = System{T,<:Particles.Boundary,Row{T}}

Particles.skin(::Type{<:Row}) = 0.4
Particles.span(::Type{<:Row}) = 2
Particles.rough(::Type{<:Row}) = Float32

"""
    Particles.Tuned.load(parameters, state) -> Simulation

As `Particles.load`, and to be run with explicit vectors: in single precision, if `position` is, and else in double.
"""
Tuned.load(parameters::AbstractDict, state::AbstractDict) =
    Particles.load(parameters, state, layout(eltype(Particles.field(state, "position"))))

layout(::Type{Float32}) = Row{Float32}
layout(::Type) = Row{Float64}

include("vectors.jl")
include("neighbours.jl")
include("forces.jl")
include("clusters.jl")
include("precompile.jl")

end
