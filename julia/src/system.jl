# One box and everything that is known about it.

"A point, velocity or force as `V` lays it out: x, y and z, and behind them as many zeros as there is room for."
@inline point(::Type{V}, x, y, z, rest=zero(x)) where {V<:SVector} =
    V(ntuple(axis -> axis == 1 ? x : axis == 2 ? y : axis == 3 ? z : rest, Val(length(V))))
@inline xyz(v) = SVector(v[1], v[2], v[3])

# What a layout wants, found by trial. These are of the plain one, of three numbers.
skin(::Type{<:SVector}) = 0.29      # how far beyond the cutoff neighbours are listed, in sigma
span(::Type{<:SVector}) = 1         # how many cells away they may be
members(::Type{<:SVector}) = 1      # how many particles share a list
rough(::Type{<:SVector{N,T}}) where {N,T} = T   # in what candidates for a list are tested

"A periodic copy of the particle `source`, shifted by whole box sides."
struct Image{V}
    source::Int32
    shift::V
end

"""
A grid over the box with a border on all sides, where the images lie. The points of cell `c` are
`order[k]` for `k` in `offset[c]+1:offset[c+1]`. The last axis is the fastest, so that neighbouring
cells along z hold one run of `k`. Behind the last there is room for a vector that begins there.
"""
struct Cells{T,R}
    span::Int                        # neighbours are at most so many cells away
    size::NTuple{3,Int}              # cells along each side, with the border
    per_length::SVector{3,T}         # cells in a unit of length
    offset::Vector{Int32}
    cell::Vector{Int32}              # of each point
    order::Vector{Int32}             # points, cell by cell
    x::Vector{R}                     # of point order[k]
    y::Vector{R}
    z::Vector{R}
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
A part of the particles, the `number`-th of as many as there are `chunks`, as much as one task works on, with their
neighbours: those in the m-th list are `neighbours[offset[m]+1:offset[m+1]]`. It is that of `particles[m]`, but where
particles share one.
"""
mutable struct Chunk{T}
    const number::Int
    const chunks::Int
    const particles::UnitRange{Int}
    const offset::Vector{Int}
    const neighbours::Vector{Int32}
    const candidates::Candidates{T}
    const copied::Vector{T}          # positions of the neighbours of one particle, x y z x y z, and a number
    images::UnitRange{Int}           # those of its particles
    moved::T                         # squared, the furthest that one moved since it was listed
    lost::Bool                       # whether one left the box so far that it cannot be right
end

"""
The particles of one box. They are kept in the order of their cells, or in one of the layout's own,
so that what is near in space is near in memory; `id` says who they are. In `position` their images
follow. `V` is the layout of a point.
"""
struct System{T<:AbstractFloat,B<:Boundary,V<:SVector,C<:Cells,O}
    parameters::Parameters{T,B}
    box::V                           # its sides, and ones behind them
    reach::T                         # neighbours are listed up to this distance
    id::Vector{Int32}
    old_id::Vector{Int32}            # room to sort them in
    position::Vector{V}
    velocity::Vector{V}
    force::Vector{V}
    listed_at::Vector{V}             # where the particles were when neighbours were listed
    images::Vector{Image{V}}
    cells::C
    order::O                         # in which particles are: that of the cells, or of columns
    offset::Vector{Int32}            # where each of its places begins
    ahead::Int                       # how many further on, about, is who comes into sight next
    chunks::Vector{Chunk{T}}
end

function System(V, parameters::Parameters{T}, position, velocity, chunks) where {T}
    n = parameters.particles
    reach = parameters.cutoff + min(T(skin(V)), parameters.cutoff)
    share = members(V)
    ends = [min(n, share * (cld(n, share) * c ÷ chunks)) for c in 0:chunks]     # lists are whole
    cells = Cells(parameters, reach, span(V), rough(V))
    order = order_of(V, parameters, reach, cells)
    system = System(
        parameters, point(V, parameters.box..., one(T)), reach, collect(Int32, 1:n), zeros(Int32, n),
        V[point(V, x...) for x in position], V[point(V, v...) for v in velocity], zeros(V, n), zeros(V, n), Image{V}[],
        cells, order, zeros(Int32, prod(order.size) + 2), next_in_sight(order, n, reach),
        [Chunk{T}(c, chunks, ends[c]+1:ends[c+1], share) for c in 1:chunks],
    )
    rebuild!(system)
    return system
end

Chunk{T}(number, chunks, particles, share) where {T} =
    Chunk{T}(number, chunks, particles, zeros(Int, cld(length(particles), share) + 1), Int32[], Candidates{T}(),
        T[], 1:0, zero(T), false)

"Of so many others, those that this chunk works on."
share_of((; number, chunks)::Chunk, count) = count * (number - 1) ÷ chunks + 1:count * number ÷ chunks

"Particles are in the order of the cells, if the layout has none of its own."
order_of(V, parameters, reach, cells) = cells

border(span) = span + 1     # cells for images, and one because of rounding

function Cells(parameters::Parameters{T}, reach, span, ::Type{R}) where {T,R}
    box, n = parameters.box, parameters.particles
    # Cells reach as far as their span, or so far that not nearly all cells are empty.
    side = max(reach / span, cbrt(prod(box) / 4n))
    inner = floor.(Int, clamp.(box ./ side, 1, 4n))
    size = Tuple(inner .+ 2border(span))
    offset = zeros(Int32, prod(size) + 2)
    return Cells{T,R}(span, size, inner ./ box, offset, Int32[], Int32[], R[], R[], R[])
end

"The points in the list of `particles[m]`; neither it nor nobody is one."
neighbours_of(system::System, (; neighbours, offset), m) =
    Iterators.filter(<=(somebody(system)), view(neighbours, offset[m]+1:offset[m+1]))
