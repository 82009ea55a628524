# Who is near whom, a vector of candidates at a time.

"Nobody comes after the images, and until those who share the last list are as many as in any."
function Particles.add_nobody!(system::TunedSystem{T}) where {T}
    (; position, velocity) = system
    share = Particles.members(Row{T})
    push!(position, nowhere(system))
    while length(position) < share * cld(length(velocity), share)
        push!(position, nowhere(system))
    end
    length(position) <= typemax(Int32) ÷ sizeof(Row{T}) ||
        throw(ArgumentError("particles and images are too many to be listed in 32 bits"))
end

"List the neighbours of the particles of a chunk, in whole vectors."
Particles.list_neighbours!(system::TunedSystem{T}, chunk) where {T} = list_neighbours!(system, chunk, Val(lanes(T)))

"What single precision may find for the square of the reach: coordinates and their differences are rounded."
function rough_reach2((; reach, parameters))
    places = Float32(maximum(parameters.box) + reach)
    return (Float32(reach) + 4eps(Float32) * places)^2
end

"A list for each particle."
function list_neighbours!(system::TunedSystem{Float64}, chunk, ::Val{W}) where {W}
    (; position, cells) = system
    (; particles, offset, neighbours) = chunk
    nobody = Vec{W,Int32}(start_of(Row{Float64}, somebody(system) + 1))
    reach2 = rough_reach2(system)
    span = Particles.span(Row{Float64})
    across = 2span + 1
    most = maximum(c -> cells.offset[c] - cells.offset[c-across], 1+across:length(cells.offset); init = Int32(0)) # in a run
    column = cells.size[3]
    slab = cells.size[2] * column
    listed = 0
    GC.@preserve cells neighbours begin
        candidates = pointers_to(cells)
        @inbounds for (m, i) in enumerate(particles)
            cell = cell_at(cells, position[i])
            here = map(x -> Rough(Float32(x)), Tuple(xyz(position[i])))
            make_room!(neighbours, listed, across^2 * most)
            list, mine = pointer(neighbours), Int32(i)
            for a in -span:span, b in -span:span
                along = cell + a * slab + b * column
                listed += list_run!(list, listed + 1, Row{Float64}, candidates, along - span, along + span) do there, some
                    (norm2(map(-, here, there)) < reach2) & (some != mine)
                end
            end
            vstore(nobody, neighbours, listed + 1)
            offset[m+1] = listed = W * cld(listed, W)
        end
    end
    make_room!(neighbours, listed, 0)
    for k in (1, 1 + W) # forces! looks so far ahead
        vstore(nobody, neighbours, listed + k)
    end
end

"Behind those that are `listed` there is room for so many, as whole vectors, and to fill up."
@inline function make_room!(neighbours, listed, count)
    room = listed + count + 2CANDIDATES
    room <= length(neighbours) || resize!(neighbours, 2room)
end

"Where cells begin, where their points are and who they are. By pointers: those of arrays would be read anew after each store."
pointers_to((; offset, x, y, z, order)::Particles.Cells) = pointer(offset), map(pointer, (x, y, z)), pointer(order)

"Write those in a run of cells that are `near(there, some)`, a vector of them, from the k-th on; how many they are."
@inline function list_run!(near, list, k, ::Type{V}, (offset, (x, y, z), order), from, to) where {V}
    counted = Vec{CANDIDATES,Int32}(ntuple(lane -> Int32(lane - 1), Val(CANDIDATES)))
    first, last = Int(unsafe_load(offset, from)) + 1, Int(unsafe_load(offset, to + 1))
    found = 0
    while first <= last
        there = load(Rough, x, first), load(Rough, y, first), load(Rough, z, first)
        some = load(Vec{CANDIDATES,Int32}, order, first)
        wanted = @inline(near(there, some)) & (counted <= (last - first) % Int32)
        found += pack!(list, k + found, (some - Int32(1)) * Int32(sizeof(V)), wanted)
        first += CANDIDATES
    end
    return found
end

"A vector of elements from the k-th on, counted from 1."
@inline load(V, p::Ptr{T}, k) where {T} = vload(V, p + sizeof(T) * (k - 1))

"The points in the list of a particle; neither it nor nobody is one."
function Particles.neighbours_of(system::TunedSystem{T}, chunk, m) where {T}
    (; particles, offset, neighbours) = chunk
    list = cld(m, Particles.members(Row{T}))
    points = (Int(start) ÷ sizeof(Row{T}) + 1 for start in view(neighbours, offset[list]+1:offset[list+1]))
    return Iterators.filter(j -> j != particles[m] && j <= somebody(system), points)
end
