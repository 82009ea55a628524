# The Lennard-Jones potential, a vector of pairs at a time.

"The force on each particle of a chunk: the sum of its pair forces."
Particles.forces!(system::TunedSystem{T}, chunk) where {T} = forces!(system, chunk, zero(T), Val(lanes(T)))

"The forces, and half a time step of acceleration by them, in one pass over memory."
Particles.forces_and_kick!(system::TunedSystem{T}, chunk) where {T} =
    forces!(system, chunk, system.parameters.dt / 2, Val(lanes(T)))

"""
A vector of neighbours of one particle; and acceleration by the force for some `time`.

The coordinates of two more are on their way, be they the next particle's, while the forces of those before them are found:
the processor has no room for so many operations that wait that it would come to them by itself.
"""
function forces!(system::TunedSystem{Float64}, chunk, time, ::Val{W}) where {W}
    (; position, velocity, force, ahead) = system
    (; particles, offset, neighbours) = chunk
    cutoff2 = Vec{W,Float64}(system.parameters.cutoff^2)
    GC.@preserve position begin
        rows = Ptr{Float64}(pointer(position))
        next, after = columns(rows, neighbours, 1, Val(W)), columns(rows, neighbours, 1 + W, Val(W))
        k = 1
        @inbounds for (m, i) in enumerate(particles)
            prefetch(pointer(position, i + ahead))
            here = map(Vec{W,Float64}, Tuple(xyz(position[i])))
            f = map(zero, here)
            last = offset[m+1]
            while k <= last
                there, next, after = next, after, columns(rows, neighbours, k + 2W, Val(W))
                prefetch(pointer(neighbours, k + 64W)) # the list is read once, from far away
                f = add_pairs(r2 -> r2 < cutoff2, f, here, there)
                k += W
            end
            force[i] = total = sums(f...)
            velocity[i] += time * total
        end
    end
end

"""
f(r)/r, rearranged to save two multiplications of the textbook's form, which `pair_force` has: with
s = 1/r² and u = k/r², 24 (2 s⁶ - s³) s = u⁴ (u³ - b), if k⁷ = 48 and b = k³ / 2.
"""
@inline function pair_forces(r2::Vec{W,T}) where {W,T}
    k, b = T(1.7385105064447572), T(2.6272534028385754)
    u = k / r2
    u2 = u * u
    return muladd(u2, u, -b) * (u2 * u2)
end

"The forces `f` on those who are `here` and, of those who are `there`, from the ones who are `near`."
@inline function add_pairs(near, f, here, there)
    d = map(-, here, there)
    r2 = norm2(d)
    f_over_r = vifelse(near(r2), pair_forces(r2), zero(r2))
    return map((sum, d) -> muladd(f_over_r, d, sum), f, d)
end
