# Who is near whom: periodic images, cells, and lists that stay valid for several steps.

"Wrap, make images, sort, and list the neighbours of every particle."
function rebuild!(system)
    wrap!(system)
    make_images!(system)
    sort_into_cells!(system)
    renumber!(system)
    add_nobody!(system)
    in_parallel(chunk -> list_neighbours!(system, chunk), system.chunks)
    copyto!(system.listed_at, 1, system.position, 1, length(system.listed_at))
    return system
end

"Bring the particles back into the box, to [0, L), if it is periodic."
wrap!(::System{<:Any,Walls}) = nothing
function wrap!(system::System{<:Any,Periodic})
    for i in eachindex(system.velocity)
        system.position[i] = wrap.(system.position[i], system.box)
    end
end

function wrap(q, side)
    q -= side * floor(q / side)
    return q < 0 || q >= side ? zero(q) : q     # rounding takes -1e-17 to L, and 3L to just below 0
end

"Find all the images that lie within reach of the box; a particle near several faces has several."
make_images!(system::System{<:Any,Walls}) = resize!(system.position, length(system.velocity))
function make_images!(system::System{T,Periodic,V}) where {T,V}
    (; box) = system.parameters
    (; reach, position, images) = system
    empty!(images)
    for i in eachindex(system.velocity)
        x = xyz(position[i])
        low, high = x .< reach, x .>= box .- reach
        any(low) || any(high) || continue
        for a in -high[1]:low[1], b in -high[2]:low[2], c in -high[3]:low[3]
            a == b == c == 0 || push!(images, Image{V}(i, point(V, a * box[1], b * box[2], c * box[3])))
        end
    end
    resize!(position, length(system.velocity) + length(images))
    move_images!(system)
end

"Put the images where their particles now are, some sides of the box further."
function move_images!(system)
    (; position, images) = system
    n = length(system.velocity)
    @inbounds for (g, image) in enumerate(images)
        position[n+g] = position[image.source] + image.shift
    end
end

"Sort the particles and images into cells."
function sort_into_cells!(system)
    (; position, cells) = system
    (; offset, cell, order, x, y, z) = cells
    resize!(cell, length(position))
    foreach(coordinates -> resize!(coordinates, length(position) + MOST_LANES), (order, x, y, z))
    counting_sort!(offset, cell, eachindex(position), p -> @inbounds cell_at(cells, position[p])) do p, k
        @inbounds order[k] = p
        @inbounds x[k], y[k], z[k] = position[p]
    end
end

const MOST_LANES = 16       # of the vectors that any layout reads coordinates in

"""
Call `put(p, k)` for each of the `points`, where `p` is the k-th in the order of `place(p)`. After this, those in
the place `c` are the k-th for `k` in `offset[c]+1:offset[c+1]`. There is room to note the place of each.
"""
@inline function counting_sort!(put, offset, noted, points, place)
    fill!(offset, 0)
    @inbounds for p in points
        c = place(p)
        noted[p] = c
        offset[c+2] += 1
    end
    cumsum!(offset, offset)
    @inbounds for p in points
        c = noted[p]
        put(p, offset[c+1] += 1)
    end
end

"In which cell a point is, along each side, counted from 0 and with the border."
@inline place_at(cells, x) = unsafe_trunc.(Int, floor.(xyz(x) .* cells.per_length)) .+ border(cells.span)
@inline cell_number(cells, a, b, c) = (a * cells.size[2] + b) * cells.size[3] + c + 1
@inline cell_at(cells, x) = cell_number(cells, place_at(cells, x)...)

"Number the particles anew, and with them all that names them."
function renumber!(system)
    (; id, rank, position, velocity, images, cells) = system
    rank!(system)
    particles = length(velocity)
    old_id = copyto!(cells.cell, id)
    # These two are found anew after this.
    old_position, old_velocity = copyto!(system.listed_at, 1, position, 1, particles), copyto!(system.force, velocity)
    @inbounds for (old, new) in enumerate(rank)
        id[new], position[new], velocity[new] = old_id[old], old_position[old], old_velocity[old]
    end
    @inbounds for (g, image) in enumerate(images)
        images[g] = Image(rank[image.source], image.shift)
    end
    @inbounds for k in eachindex(position)
        old = cells.order[k]
        old <= particles && (cells.order[k] = rank[old])
    end
end

"Rank the particles in the order of their cells: those near in space become near in memory."
function rank!(system)
    (; rank, position, cells) = system
    ranked = 0
    @inbounds for k in eachindex(position)
        old = cells.order[k]
        old <= length(rank) && (rank[old] = ranked += 1)
    end
end

"Nobody comes after the images. He fills lists up to whole vectors, so that no neighbour is left over for a slower loop."
add_nobody!(system) = push!(system.position, nowhere(system))

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
    most <= length(copied) || resize!(copied, most)
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

"How far a particle may move before the list has to be made anew."
function may_move(system::System{T}) where {T}
    (; reach, parameters) = system
    skin = reach - parameters.cutoff
    # Two particles can approach by twice this. The margin is for rounding, here and in the list:
    # some units in the last place of the largest coordinate, which are few but in a huge box.
    last_place = eps(maximum(parameters.box) + reach)
    return max(zero(T), min(T(0.499) * skin, skin / 2 - 8last_place))
end
