# Who is near whom: periodic images, cells, and lists that stay valid for several steps.

"Wrap and sort the particles, make images, and list the neighbours of every particle."
function rebuild!(system)
    wrap!(system)
    sort_particles!(system)
    make_images!(system)
    add_nobody!(system)
    sort_into_cells!(system)
    in_parallel(list_neighbours!, system)
    in_parallel(note_places!, system)
    return system
end

"Bring the particles back into the box, to [0, L), if it is periodic."
wrap!(system::System{<:Any,Walls}) = system
wrap!(system::System{<:Any,Periodic}) = in_parallel(wrap!, system)

"Those of a chunk."
function wrap!((; position, box), chunk)
    for i in chunk.particles
        position[i] = wrap.(position[i], box)
    end
end

function wrap(q, side)
    q -= side * floor(q / side)
    return q < 0 || q >= side ? zero(q) : q     # rounding takes -1e-17 to L, and 3L to just below 0
end

"Put the particles in their order: those near in space become near in memory."
function sort_particles!(system)
    (; velocity, cells, offset) = system
    particles = length(velocity)
    resize!(cells.cell, particles)
    resize!(cells.order, particles)
    in_parallel(find_places!, system)
    counting_sort!(cells.order, offset, cells.cell)
    in_parallel(set_aside!, system)
    in_parallel(move_to_places!, system)
end

"Where in their order the particles of a chunk are."
function find_places!((; position, cells, order), chunk)
    @inbounds for i in chunk.particles
        cells.cell[i] = place_in(order, position[i])
    end
end

place_in(cells::Cells, x) = cell_at(cells, x)

"""
How many particles further on, about, is who comes into one's sight next: as many slabs and columns as it sees, even numbers
of them, for who goes there and back again meets himself at every second; and a column, for memory takes time.
"""
function next_in_sight(order, particles, reach)
    slabs, columns = inner_size(order)
    # Not quite a half: what is seen of two is not to be rounded to four.
    seen = 2 .* ceil.(Int, 0.499f0 * reach .* order.per_length)
    ahead = particles * (seen[1] * columns + seen[2] + 1) ÷ (slabs * columns)
    return ahead < particles ? ahead : 0    # in few slabs all are in sight
end

inner_size(cells::Cells) = cells.size .- 2border(cells.span)

"Copy what is known of the particles of a chunk to where there will be something else after this."
function set_aside!((; id, old_id, position, velocity, force, listed_at), chunk)
    @inbounds for i in chunk.particles
        old_id[i], listed_at[i], force[i] = id[i], position[i], velocity[i]
    end
end

"And from there to their places what is known of those who will be in this chunk."
function move_to_places!((; id, old_id, position, velocity, force, listed_at, cells), chunk)
    @inbounds for new in chunk.particles
        old = cells.order[new]
        id[new], position[new], velocity[new] = old_id[old], listed_at[old], force[old]
    end
end

"""
Put the numbers of all into `order`, by where each is in `place`. After this, those in the place `c` are
`order[offset[c]+1:offset[c+1]]`.
"""
function counting_sort!(order, offset, place)
    fill!(offset, 0)
    @inbounds for c in place
        offset[c+2] += 1
    end
    cumsum!(offset, offset)
    @inbounds for (i, c) in enumerate(place)
        order[offset[c+1] += 1] = i
    end
end

"Find all the images that lie within reach of the box; a particle near several faces has several."
make_images!((; position, velocity)::System{<:Any,Walls}) = resize!(position, length(velocity))
function make_images!(system::System{<:Any,Periodic})
    (; velocity, position, images, chunks) = system
    in_parallel(count_images!, system)
    total = 0
    for chunk in chunks
        chunk.images = chunk.images .+ total
        total = last(chunk.images)
    end
    resize!(images, total)
    resize!(position, length(velocity) + total)
    in_parallel(place_images!, system)
end

"By how many sides of the box the particle at x and its images are moved along each axis."
@inline sides_moved((; parameters, reach), x) =
    CartesianIndices(map((q, side) -> -(q >= side - reach):Int(q < reach), Tuple(xyz(x)), Tuple(parameters.box)))

"Those of the particles of a chunk."
function count_images!(system, chunk)
    (; position) = system
    chunk.images = 1:sum(i -> length(sides_moved(system, position[i])) - 1, chunk.particles; init = 0)
end

"Those of the particles of a chunk: of whom they are, and where."
function place_images!(system::System{<:Any,<:Any,V}, chunk) where {V}
    (; position, velocity, images) = system
    box = xyz(system.box)
    image = first(chunk.images) - 1
    @inbounds for i in chunk.particles, sides in sides_moved(system, position[i])
        all(iszero, Tuple(sides)) && continue
        shift = point(V, (Tuple(sides) .* box)...)
        image += 1
        images[image] = Image{V}(i, shift)
        position[length(velocity)+image] = position[i] + shift
    end
end

"Put the images of the particles of a chunk where these now are, some sides of the box further."
function move_images!((; position, velocity, images), chunk)
    n = length(velocity)
    @inbounds for g in chunk.images
        position[n+g] = position[images[g].source] + images[g].shift
    end
end

"Sort the particles and images into cells."
function sort_into_cells!(system)
    (; offset, cell, order, x, y, z) = system.cells
    points = somebody(system)
    resize!(cell, points)
    foreach(coordinates -> resize!(coordinates, points + MOST_LANES), (order, x, y, z))
    in_parallel(find_cells!, system)
    counting_sort!(order, offset, cell)
    in_parallel(copy_to_cells!, system)
end

const MOST_LANES = 16       # of the vectors that any layout reads coordinates in

"In which cells a chunk of the points are."
function find_cells!((; position, cells), chunk)
    @inbounds for p in share_of(chunk, length(cells.cell))
        cells.cell[p] = cell_at(cells, position[p])
    end
end

"Where a chunk of the points are, cell by cell."
function copy_to_cells!((; position, cells), chunk)
    (; order, x, y, z) = cells
    @inbounds for k in share_of(chunk, length(cells.cell))
        x[k], y[k], z[k] = position[order[k]]
    end
end

"In which cell a point is, along each side, counted from 0 and with the border."
@inline place_at(cells, x) = unsafe_trunc.(Int, floor.(xyz(x) .* cells.per_length)) .+ border(cells.span)
@inline cell_number(cells, a, b, c) = (a * cells.size[2] + b) * cells.size[3] + c + 1
@inline cell_at(cells, x) = cell_number(cells, place_at(cells, x)...)

"""
Nobody comes after the images. He fills lists up to whole vectors, so that no neighbour is left over for a slower loop.
And another behind him: who copies a row may copy a number of the next.
"""
add_nobody!(system) = push!(system.position, nowhere(system), nowhere(system))

"""
Where nobody is: out of reach of all, but no farther. A force so small that it underflows would take a processor a
hundred cycles.
"""
nowhere((; reach)::System{<:Any,<:Any,V}) where {V} = point(V, -2reach, -2reach, -2reach)

"The particles and their images; behind them is nobody."
somebody(system) = length(system.velocity) + length(system.images)

"List the neighbours of the particles of a chunk, in whole vectors: all other particles and images within reach."
function list_neighbours!(system, chunk)
    (; position, cells) = system
    (; neighbours, offset, candidates, copied) = chunk
    (; point, x, y, z, near) = candidates
    reach2, nobody = system.reach^2, somebody(system) + 1
    listed = found = cell = most = 0
    @inbounds for (m, i) in enumerate(chunk.particles)
        here = position[i]
        if cell != (cell = cell_at(cells, here))      # the candidates of the last particle may do
            found = find_candidates!(candidates, cells, cell, reach2)
        end
        if listed + found + MOST_LANES > length(neighbours)
            resize!(neighbours, 2 * (listed + found + MOST_LANES))
        end
        # Two loops without a branch: one that runs in vectors, and one that keeps who is near.
        @simd ivdep for k in 1:found
            d = here - SVector(x[k], y[k], z[k])
            near[k] = (norm2(d) < reach2) & (point[k] != i)
        end
        for k in 1:found
            neighbours[listed+1] = point[k]
            listed += near[k]
        end
        for k in 1:MOST_LANES
            neighbours[listed+k] = nobody
        end
        offset[m+1] = listed = cld(listed, MOST_LANES) * MOST_LANES
        most = max(most, listed - offset[m])
    end
    3most < length(copied) || resize!(copied, 3most + 1)
end

"Copy to one place all that is within reach of the box around the particles of a cell, and count it."
function find_candidates!(candidates, cells, cell, reach2)
    (; point, x, y, z) = candidates
    low, high = bounds(cells, cell)
    found = 0
    for a in -cells.span:cells.span, b in -cells.span:cells.span
        first, last = run_of_cells(cells, cell + (a * cells.size[2] + b) * cells.size[3])
        room = found + last - first + 1
        room <= length(point) || reserve!(candidates, 2room)
        @inbounds for k in first:last
            there = place(cells, k)
            point[found+1] = cells.order[k]
            x[found+1], y[found+1], z[found+1] = there
            found += norm2(there - clamp.(there, low, high)) < reach2
        end
    end
    return found
end

"The corners of the box around the points of a cell."
function bounds(cells, cell)
    first, last = run_of_cells(cells, cell, cell)
    low = high = place(cells, first)
    for k in first+1:last
        low, high = min.(low, place(cells, k)), max.(high, place(cells, k))
    end
    return low, high
end

@inline place((; x, y, z), k) = @inbounds SVector(x[k], y[k], z[k])

"First and last `k` of the points in cells that follow each other along z: in one and those up to the span around it."
@inline run_of_cells(cells, cell) = run_of_cells(cells, cell - cells.span, cell + cells.span)
@inline run_of_cells(cells, from, to) = @inbounds cells.offset[from] + 1, Int(cells.offset[to+1])

"Whether a pair that was not listed may have come within the cutoff."
moved_too_far(system) = maximum(chunk -> chunk.moved, system.chunks) > may_move(system)^2

"Note where the particles of a chunk are listed."
function note_places!((; position, listed_at), chunk)
    @inbounds for i in chunk.particles
        listed_at[i] = position[i]
    end
end

"How far a particle may move before the list has to be made anew."
function may_move(system::System{T}) where {T}
    (; reach, parameters) = system
    skin = reach - parameters.cutoff
    # Two particles can approach by twice this. The margin is for rounding, here and in the list:
    # some units in the last place of the largest coordinate, which are few but in a huge box.
    last_place = eps(maximum(parameters.box) + reach)
    return max(zero(T), min(T(0.499) * skin, skin / 2 - 8last_place))
end
