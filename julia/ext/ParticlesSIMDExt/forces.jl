# The Lennard-Jones potential, a vector of neighbours at a time.

"The force on each particle of a chunk: the sum of its pair forces."
Particles.forces!(system::TunedSystem, chunk) = forces!(system, chunk, Val(LANES))

function forces!(system, chunk, ::Val{W}) where {W}
    (; position, force) = system
    (; particles, offset, neighbours) = chunk
    cutoff2 = Vec{W,Float64}(system.parameters.cutoff^2)
    GC.@preserve position begin
        rows = Ptr{Float64}(pointer(position))
        @inbounds for (m, i) in enumerate(particles)
            xi, yi, zi = (Vec{W,Float64}(position[i][axis]) for axis in (1, 2, 3))
            fx = fy = fz = zero(cutoff2)
            for k in offset[m]+1:W:offset[m+1]
                xj, yj, zj = columns(rows, neighbours, k, Val(W))
                dx, dy, dz = xi - xj, yi - yj, zi - zj
                r2 = muladd(dz, dz, muladd(dy, dy, dx * dx))
                f_over_r = vifelse(r2 < cutoff2, pair_force(r2), zero(r2))
                fx = muladd(f_over_r, dx, fx)
                fy = muladd(f_over_r, dy, fy)
                fz = muladd(f_over_r, dz, fz)
            end
            force[i] = sums(fx, fy, fz)
        end
    end
end
