# Velocity Verlet, and what happens at the boundary.

"Advance by `steps` time steps; the forces must be those of the current positions, and are again."
function advance!(system, steps)
    (; chunks) = system
    for _ in 1:steps
        in_parallel(chunks) do chunk
            kick!(system, chunk)
            drift!(system, chunk)
            move_images!(system, chunk)     # its own, so that nobody need wait for others
        end
        any(chunk -> chunk.lost, chunks) && return system      # `check_motion` will say so
        moved_too_far(system) && rebuild!(system)
        in_parallel(forces_and_kick!, system)
    end
    return system
end

"The forces, and half a time step of acceleration by them."
forces_and_kick!(system, chunk) = (forces!(system, chunk); kick!(system, chunk))

"Half a time step of acceleration."
function kick!(system, chunk)
    (; velocity, force) = system
    half = system.parameters.dt / 2
    @inbounds @simd for i in chunk.particles
        velocity[i] += half * force[i]
    end
end

"Move by `v dt`, and bounce off the walls if there are any."
function drift!(system, chunk)
    (; position, velocity, listed_at) = system
    (; box) = system
    (; boundary, dt) = system.parameters
    moved, lost = zero(dt), false
    @inbounds for i in chunk.particles
        x, v = position[i] + dt * velocity[i], velocity[i]
        inside(x, box) || (lost = true; continue)
        x, velocity[i] = bounce(boundary, x, v, box)
        position[i] = x
        distance2 = norm2(x - listed_at[i])
        moved = ifelse(distance2 > moved, distance2, moved)
    end
    chunk.moved, chunk.lost = moved, lost
end

"Whether x is within 100 boxes. Nothing that makes sense moves further; a NaN does not either."
inside(x, box) = all(abs.(x) .< 100 .* box)

bounce(::Periodic, x, v, box) = x, v
"Elastic reflection, repeated until inside."
function bounce(::Walls, x, v, box)
    while true
        low, high = x .< 0, x .> box
        any(low .| high) || return x, v
        x = ifelse.(low, .-x, ifelse.(high, 2box .- x, x))
        v = ifelse.(low .| high, .-v, v)
    end
end

"Throw one clear sentence if the motion ran away."
function check_motion(system)
    any(chunk -> chunk.lost, system.chunks) && throw(ArgumentError(
        "a particle crossed the box many times in one step: the time step is too long"))
    finite(vectors) = all(v -> all(isfinite, v), vectors)
    finite(system.force) && finite(system.velocity) || throw(ArgumentError(
        "a force or a velocity is not finite: particles are too close to each other"))
end
