# A list for each cluster of eight particles, all of which look at each neighbour together: what one
# of them sees most others see too, so that a vector of single precision is filled.
#
# After S. Páll and B. Hess, Comput. Phys. Commun. 184, 2641 (2013), with particles in place of
# clusters as neighbours.

const MEMBERS = 8
Particles.members(::Type{Row{Float32}}) = MEMBERS

"The first of each cluster in a chunk."
clusters(chunk) = first(chunk.particles):MEMBERS:last(chunk.particles)

"""
Columns along z as wide as a cluster is long, there and back again, and in them layers of less than
a particle each: so that eight in a row are near each other.
"""
struct Columns
    size::NTuple{3,Int}              # slabs, columns in each, and layers
    per_length::SVector{3,Float32}
end

function Particles.order_of(::Type{Row{Float32}}, (; particles, box), reach, cells)
    wide = cbrt(MEMBERS * prod(box) / particles)
    a, b, _ = round.(Int, clamp.(box ./ wide, 1, cbrt(Float32(particles))))
    size = (a, b, 1 + 2particles ÷ (a * b))
    return Columns(size, size ./ box)
end

"The number of the layer in which x is."
@inline function Particles.place_in((; size, per_length)::Columns, x)
    a, b, c = min.(unsafe_trunc.(Int, xyz(x) .* per_length), size .- 1)
    column = a * size[2] + (isodd(a) ? size[2] - 1 - b : b)
    return column * size[3] + (isodd(column) ? size[3] - 1 - c : c) + 1
end

Particles.inner_size(columns::Columns) = columns.size

# In a vector, all members look at its first neighbour, and then all of them at its second.
member(lane) = (lane - 1) % MEMBERS
neighbour(lane) = (lane - 1) ÷ MEMBERS

"The x, y and z of the members of a cluster, once for each neighbour in a vector."
@inline function members_from(rows, first, ::Val{W}) where {W}
    low, high = load(Vec{16,Float32}, rows, 4first - 3), load(Vec{16,Float32}, rows, 4first + 13)
    return shuffled(lane -> 4member(lane), (low, high), Val(W))
end

"The x, y and z of neighbours whose rows begin where `starts` says, from the k-th on, each as often as there are members."
@inline function neighbours_from(rows, starts, k, ::Val{W}) where {W}
    some = W == MEMBERS ? row(rows, starts, k) : two_rows(rows, starts, k, k + 1)
    # In two steps: the second, which is done thrice, stays within four lanes, and so is fast.
    twice = shufflevector(some, Val(ntuple(lane -> 4neighbour(lane) + (lane - 1) % 4, Val(W))))
    return shuffled(lane -> (lane - 1) ÷ 4 * 4, (twice,), Val(W))
end

"For each lane the x, for each the y, and for each the z of the row that begins at `start(lane)` in `rows`."
@inline shuffled(start, rows, width) = map(axis -> shuffled(start, rows, width, axis), (Val(0), Val(1), Val(2)))
@inline shuffled(start, rows, width, ::Val{axis}) where {axis} =
    shufflevector(rows..., Val(ntuple(lane -> start(lane) + axis, width)))

"Have the rows of a cluster fetched, which are two lines of memory."
@inline prefetch_cluster(position, i) = (prefetch(pointer(position, i)); prefetch(pointer(position, i + MEMBERS ÷ 2)))

"A list for each cluster: its members, and after them all others within reach of any."
function list_neighbours!(system::TunedSystem{Float32}, chunk, ::Val{W}) where {W}
    (; position, cells, reach, ahead) = system
    (; particles, offset, neighbours) = chunk
    nobody = Vec{W,Int32}(start_of(Row{Float32}, somebody(system) + 1))
    number = Vec{W,Int32}(ntuple(Int32 ∘ member, Val(W)))
    reach2 = reach^2
    listed = 0
    GC.@preserve position cells neighbours begin
        rows, candidates = Ptr{Float32}(pointer(position)), pointers_to(cells)
        @inbounds for (c, i) in enumerate(clusters(chunk))
            prefetch_cluster(position, i + ahead)
            others = number > (last(particles) - i) % Int32
            here = map(x -> vifelse(others, x[1], x), members_from(rows, i, Val(W)))
            low, high = map(minimum, here), map(maximum, here)
            from, to = place_at(cells, low .- reach), place_at(cells, high .+ reach)
            make_room!(neighbours, listed, MEMBERS)
            for m in i:i+MEMBERS-1
                neighbours[listed+=1] = start_of(Row{Float32}, m)
            end
            found = listed
            for a in from[1]:to[1], b in from[2]:to[2]
                low_cell, high_cell = cell_number(cells, a, b, from[3]), cell_number(cells, a, b, to[3])
                make_room!(neighbours, found, cells.offset[high_cell+1] - cells.offset[low_cell])
                list = pointer(neighbours)
                found += list_run!(list, found + 1, Row{Float32}, candidates, low_cell, high_cell) do there, some
                    outside = (some < Int32(i)) | (some >= Int32(i + MEMBERS))
                    (norm2(map(beyond, there, low, high)) < reach2) & outside
                end
            end
            vstore(nobody, neighbours, found + 1)
            listed += keep_near!(neighbours, listed + 1, found, rows, here, reach2)
            vstore(nobody, neighbours, listed + 1)
            offset[c+1] = listed = (W ÷ MEMBERS) * cld(listed, W ÷ MEMBERS)
        end
    end
    make_room!(neighbours, listed, 0)
    vstore(nobody, neighbours, listed + 1) # forces! looks so far ahead
end

"How far x lies outside of what is between `low` and `high`."
@inline function beyond(x, low, high)
    above = vifelse(x < low, low, x)
    return x - vifelse(above > high, high, above)
end

"Of those listed from the k-th to the last, keep the ones within reach of a member; how many."
@inline function keep_near!(neighbours, k, last, rows, here::NTuple{3,Vec{W}}, reach2) where {W}
    kept = 0
    @inbounds for l in k:W÷MEMBERS:last
        near = bits(norm2(map(-, here, neighbours_from(rows, neighbours, l, Val(W)))) < reach2)
        for m in 0:W÷MEMBERS-1      # no branch: what is not near is overwritten by the next
            neighbours[k+kept] = neighbours[l+m]
            kept += (near >> (MEMBERS * m)) % UInt8 != 0
        end
    end
    return kept
end

"""
A vector of neighbours of eight particles; and acceleration by the forces for some `time`.

The coordinates of the next are on their way meanwhile, be they the next cluster's: see forces.jl, for one particle.
"""
function forces!(system::TunedSystem{Float32}, chunk, time, ::Val{W}) where {W}
    (; position, velocity, force, ahead) = system
    (; particles, offset, neighbours) = chunk
    cutoff2 = Vec{W,Float32}(system.parameters.cutoff^2)
    # Of the member that each lane sees in the first vector, where it is itself a neighbour.
    number = Vec{W,Int32}(ntuple(lane -> Int32(member(lane) - neighbour(lane)), Val(W)))
    GC.@preserve position begin
        rows = Ptr{Float32}(pointer(position))
        next = neighbours_from(rows, neighbours, 1, Val(W))
        @inbounds for (c, i) in enumerate(clusters(chunk))
            prefetch_cluster(position, i + ahead)
            here = members_from(rows, i, Val(W))
            f = map(zero, here)
            own = offset[c] + 1
            for k in own:W÷MEMBERS:own+MEMBERS-1
                there, next = next, neighbours_from(rows, neighbours, k + W ÷ MEMBERS, Val(W))
                f = add_pairs(r2 -> (r2 < cutoff2) & (number != (k - own) % Int32), f, here, there)
            end
            for k in own+MEMBERS:W÷MEMBERS:offset[c+1]
                there, next = next, neighbours_from(rows, neighbours, k + W ÷ MEMBERS, Val(W))
                f = add_pairs(r2 -> r2 < cutoff2, f, here, there)
            end
            fx, fy, fz = map(lanes -> halves_added(lanes, Val(MEMBERS)), f)
            for m in i:min(i + MEMBERS - 1, last(particles))
                force[m] = Row{Float32}(fx[m-i+1], fy[m-i+1], fz[m-i+1], 0)
                velocity[m] += time * force[m]
            end
        end
    end
end
