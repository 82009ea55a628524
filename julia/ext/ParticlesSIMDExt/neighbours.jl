# Who is near whom, a vector of candidates at a time.

const FAR = 1e150       # where nobody is: the square is finite

"Nobody's row is the last one."
function Particles.add_nobody!(system::TunedSystem)
    length(system.position) < typemax(Int32) ÷ sizeof(Row) ||
        throw(ArgumentError("particles and images are too many to be listed in 32 bits"))
    push!(system.position, Row(FAR, FAR, FAR, 0))
end

"List the neighbours of the particles of a chunk, in whole vectors."
Particles.list_neighbours!(system::TunedSystem, chunk) = list_neighbours!(system, chunk, Val(LANES))

function list_neighbours!(system, chunk, ::Val{W}) where {W}
    (; position, cells) = system
    (; particles, offset, neighbours) = chunk
    (; size, span) = cells
    nobody = Vec{W,Int32}(start_of(length(position)))
    reach2 = system.reach^2
    listed = 0
    @inbounds for (m, i) in enumerate(particles)
        here = position[i]
        cell = cell_at(cells, here)
        for a in -span:span, b in -span:span
            first, last = run_of_cells(cells, cell + (a * size[2] + b) * size[3])
            room = listed + last - first + 2W       # as whole vectors, and to fill up
            room <= length(neighbours) || resize!(neighbours, 2room)
            listed += list_run!(neighbours, listed + 1, cells, first, last, Int32(i), here, reach2, Val(W))
        end
        vstore(nobody, neighbours, listed + 1)
        offset[m+1] = listed = W * cld(listed, W)
    end
end

"Write those from `first` to `last` that are within reach of the particle `i`, which is at `here`; how many they are."
@inline function list_run!(neighbours, k, cells, first, last, i, here, reach2, ::Val{W}) where {W}
    (; order, x, y, z) = cells
    xi, yi, zi = Vec{W,Float64}(here[1]), Vec{W,Float64}(here[2]), Vec{W,Float64}(here[3])
    counted = Vec{W,Int32}(ntuple(lane -> Int32(lane - 1), Val(W)))
    found = 0
    # By pointers: those of the arrays would be read anew after each store.
    GC.@preserve order x y z begin
        to_x, to_y, to_z, to_order = pointer(x), pointer(y), pointer(z), pointer(order)
        while first <= last
            dx = xi - load(Vec{W,Float64}, to_x, first)
            dy = yi - load(Vec{W,Float64}, to_y, first)
            dz = zi - load(Vec{W,Float64}, to_z, first)
            some = load(Vec{W,Int32}, to_order, first)
            near = (muladd(dx, dx, muladd(dy, dy, dz * dz)) < reach2) & (some != i)
            near &= counted <= (last - first) % Int32
            found += pack!(neighbours, k + found, (some - Int32(1)) << Int32(5), near)      # 32 bytes each
            first += W
        end
    end
    return found
end

"A vector of elements from the k-th on, counted from 1."
@inline load(V, p::Ptr{T}, k) where {T} = vload(V, p + sizeof(T) * (k - 1))

"The points in a list; nobody is not one."
function Particles.neighbours_of(system::TunedSystem, chunk, m)
    points = (Int(start) ÷ sizeof(Row) + 1 for start in view(chunk.neighbours, chunk.offset[m]+1:chunk.offset[m+1]))
    return Iterators.filter(<(length(system.position)), points)
end
