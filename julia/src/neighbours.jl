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

"Counting sort of the particles and images into cells."
function sort_into_cells!(system)
    (; position, cells) = system
    (; offset, cell, order) = cells
    resize!(cell, length(position))
    foreach(coordinates -> resize!(coordinates, length(position) + MOST_LANES), (order, cells.x, cells.y, cells.z))
    fill!(offset, 0)
    @inbounds for p in eachindex(position)
        c = cell_at(cells, position[p])
        cell[p] = c
        offset[c+2] += 1
    end
    cumsum!(offset, offset)
    @inbounds for p in eachindex(position)
        c = cell[p]
        k = offset[c+1] += 1
        order[k] = p
        cells.x[k], cells.y[k], cells.z[k] = position[p]
    end
end

const MOST_LANES = 8        # of the vectors that any layout reads coordinates in

@inline function cell_at(cells, x)
    a, b, c = unsafe_trunc.(Int, floor.(xyz(x) .* cells.per_length)) .+ border(cells.span)
    return (a * cells.size[2] + b) * cells.size[3] + c + 1
end

"Number the particles in the order of their cells: those near in space become near in memory."
function renumber!(system::System{T,B,V}) where {T,B,V}
    (; id, position, velocity, images, cells) = system
    old_velocity = copyto!(system.force, velocity)     # forces are found anew after this
    old_id = copyto!(cells.cell, id)
    particles = length(velocity)
    new = 0
    @inbounds for k in eachindex(position)
        old = cells.order[k]
        old <= particles || continue
        new += 1
        cells.order[k] = new
        system.rank[old] = new
        id[new] = old_id[old]
        position[new] = point(V, cells.x[k], cells.y[k], cells.z[k])
        velocity[new] = old_velocity[old]
    end
    @inbounds for (g, image) in enumerate(images)
        images[g] = Image(system.rank[image.source], image.shift)
    end
end

"Where a layout fills lists up: somebody who is nobody's neighbour, behind the images."
add_nobody!(::System) = nothing

"List the neighbours of the particles of a chunk: all other particles and images within reach."
function list_neighbours!(system, chunk)
    (; position, cells) = system
    (; neighbours, offset, candidates) = chunk
    (; point, x, y, z, near) = candidates
    reach2 = system.reach^2
    listed = found = cell = 0
    @inbounds for (m, i) in enumerate(chunk.particles)
        here = position[i]
        if cell != (cell = cell_at(cells, here))      # the candidates of the last particle may do
            found = find_candidates!(candidates, cells, cell)
        end
        if listed + found > length(neighbours)
            resize!(neighbours, 2 * (listed + found))
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
        offset[m+1] = listed
    end
end

"Copy to one place all that lies in a cell and in the 26 around it, and count it."
function find_candidates!(candidates, cells, cell)
    (; point, x, y, z, near) = candidates
    found = 0
    for a in -cells.span:cells.span, b in -cells.span:cells.span
        first, last = run_of_cells(cells, cell + (a * cells.size[2] + b) * cells.size[3])
        room = found + last - first + 1
        room <= length(point) || reserve!(candidates, 2room)
        @inbounds for k in first:last
            found += 1
            point[found] = cells.order[k]
            x[found], y[found], z[found] = cells.x[k], cells.y[k], cells.z[k]
        end
    end
    return found
end

"First and last `k` of the points in a cell and in those up to the span before and behind it along z."
@inline run_of_cells(cells, cell) = @inbounds cells.offset[cell-cells.span] + 1, Int(cells.offset[cell+cells.span+1])

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
