# The Lennard-Jones potential, summed over the lists of neighbours.

"The force on each particle of a chunk: the sum of its pair forces."
function forces!(system, chunk)
    (; position, force) = system
    (; particles, offset, neighbours, copied) = chunk
    cutoff2 = system.parameters.cutoff^2
    @inbounds for (m, i) in enumerate(particles)
        x = position[i]
        fx = fy = fz = zero(cutoff2)
        # Runs in vectors: the sums are plain numbers, and a pair beyond the cutoff adds zero.
        @simd for k in 1:copy_neighbours!(copied, position, neighbours, offset[m], offset[m+1])
            d = x - SVector(copied[3k-2], copied[3k-1], copied[3k])
            r2 = norm2(d)
            f_over_r = ifelse(r2 < cutoff2, pair_force(r2), zero(r2))
            fx += f_over_r * d[1]
            fy += f_over_r * d[2]
            fz += f_over_r * d[3]
        end
        force[i] = SVector(fx, fy, fz)
    end
end

"""
Copy to one place the positions of the neighbours in the list `first+1:last`, whole vectors; and count them. Vectors are
read faster from there than gathered from all over.
"""
@inline function copy_neighbours!(copied, position, neighbours, first, last)
    count = (last - first) ÷ MOST_LANES * MOST_LANES    # so that the compiler knows it too
    @inbounds for k in 1:count
        j = neighbours[first+k]
        # Four numbers are one load and one store, three are two. The fourth is overwritten by the next.
        (x, y, z), (behind,) = position[j], position[j+1]
        copied[3k-2], copied[3k-1], copied[3k], copied[3k+1] = x, y, z, behind
    end
    return count
end

forces!(system) = in_parallel(forces!, system)

"Sums over all pairs: of their energy, and of r . f."
function potential_and_virial(system::System{T}) where {T}
    energy, virial = zeros(T, length(system.velocity)), zeros(T, length(system.velocity))
    in_parallel(chunk -> potential_and_virial!(energy, virial, system, chunk), system.chunks)
    return sum(energy) / 2, sum(virial) / 2      # each pair was met twice, once from either side
end

function potential_and_virial!(energy, virial, system, chunk)
    (; position) = system
    cutoff2 = system.parameters.cutoff^2
    shift = pair_potential(cutoff2)
    @inbounds for (m, i) in enumerate(chunk.particles)
        u = w = zero(cutoff2)
        for j in neighbours_of(system, chunk, m)
            r2 = norm2(position[i] - position[j])
            near = r2 < cutoff2
            u += ifelse(near, pair_potential(r2) - shift, zero(r2))
            w += ifelse(near, pair_force(r2) * r2, zero(r2))
        end
        energy[i], virial[i] = u, w
    end
end

"Lennard-Jones energy at the squared distance `r2`, not shifted."
@inline function pair_potential(r2)
    s6 = 1 / (r2 * r2 * r2)
    return 4 * (s6 * s6 - s6)
end

"f(r)/r at the squared distance `r2`: times the vector between two particles, their force."
@inline function pair_force(r2)
    s2 = 1 / r2
    s6 = s2 * s2 * s2
    return 24 * muladd(2 * s6, s6, -s6) * s2
end

"The squared length of a vector."
@inline norm2(d) = muladd(d[3], d[3], muladd(d[2], d[2], d[1] * d[1]))
