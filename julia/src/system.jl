# One box and everything that is known about it.

const SKIN = 0.29       # how far beyond the cutoff neighbours are listed, in sigma: found by trial

"A periodic copy of the particle `source`, shifted by whole box sides."
struct Image{T}
    source::Int32
    shift::SVector{3,T}
end

"""
A grid over the box with a border of `BORDER` cells on all sides, where the images lie.
The points of cell `c` are `order[k]` for `k` in `offset[c]+1:offset[c+1]`. The last axis is the
fastest, so that neighbouring cells along z hold one run of `k`.
"""
struct Cells{T}
    size::NTuple{3,Int}              # cells along each side, with the border
    per_length::SVector{3,T}         # cells in a unit of length
    offset::Vector{Int32}
    cell::Vector{Int32}              # of each point
    order::Vector{Int32}             # points, cell by cell
    position::Vector{SVector{3,T}}   # position[k] is that of point order[k]
end

"All particles and images that may be neighbours of those in one cell: `position[point[k]]`."
struct Candidates{T}
    point::Vector{Int32}
    x::Vector{T}
    y::Vector{T}
    z::Vector{T}
    near::Vector{Bool}               # whether within reach of the particle that is looked at
end

Candidates{T}() where {T} = Candidates{T}(Int32[], T[], T[], T[], Bool[])

"Make room for as many candidates."
function reserve!(candidates, count)
    (; point, x, y, z, near) = candidates
    resize!(point, count)
    resize!(x, count)
    resize!(y, count)
    resize!(z, count)
    resize!(near, count)
end

"""
A part of the particles, as much as one task works on, with their neighbours: those of the
particle `particles[m]` are `neighbours[offset[m]+1:offset[m+1]]`.
"""
mutable struct Chunk{T}
    const particles::UnitRange{Int}
    const offset::Vector{Int}
    const neighbours::Vector{Int32}
    const candidates::Candidates{T}
    moved::T                         # squared, the furthest that one moved since it was listed
    lost::Bool                       # whether one left the box so far that it cannot be right
end

"""
The particles of one box. They are kept in the order of their cells, so that what is near in
space is near in memory; `id` says who they are. In `position` their images follow.
"""
struct System{T<:AbstractFloat,B<:Boundary}
    parameters::Parameters{T,B}
    reach::T                         # neighbours are listed up to this distance
    id::Vector{Int32}
    rank::Vector{Int32}              # the number that each had before the last sort, to now
    position::Vector{SVector{3,T}}
    velocity::Vector{SVector{3,T}}
    force::Vector{SVector{3,T}}
    listed_at::Vector{SVector{3,T}}  # where the particles were when neighbours were listed
    images::Vector{Image{T}}
    cells::Cells{T}
    chunks::Vector{Chunk{T}}
end

function System(parameters::Parameters{T}, position, velocity, chunks) where {T}
    n = parameters.particles
    reach = parameters.cutoff + min(T(SKIN), parameters.cutoff)
    ends = [n * c ÷ chunks for c in 0:chunks]
    system = System(
        parameters, reach, collect(Int32, 1:n), zeros(Int32, n), collect(position), collect(velocity),
        zeros(SVector{3,T}, n), zeros(SVector{3,T}, n), Image{T}[],
        Cells(parameters, reach), [Chunk{T}(ends[c]+1:ends[c+1]) for c in 1:chunks],
    )
    rebuild!(system)
    return system
end

Chunk{T}(particles) where {T} =
    Chunk{T}(particles, zeros(Int, length(particles) + 1), Int32[], Candidates{T}(), zero(T), false)

const BORDER = 2            # a cell for images, and one because of rounding

function Cells(parameters::Parameters{T}, reach) where {T}
    box, n = parameters.box, parameters.particles
    # A cell is as long as the reach, or so long that not nearly all cells are empty.
    side = max(reach, cbrt(prod(box) / 4n))
    inner = floor.(Int, clamp.(box ./ side, 1, 4n))
    size = Tuple(inner .+ 2BORDER)
    return Cells{T}(size, inner ./ box, zeros(Int32, prod(size) + 2), Int32[], Int32[], SVector{3,T}[])
end
