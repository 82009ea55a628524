# What is seen of a box from outside.

"All the fields of one box, with its particles in the order in which they came."
function observe(system::System{T}) where {T}
    (; parameters, velocity, force) = system
    potential, virial = potential_and_virial(system)
    kinetic = kinetic_energy(velocity)
    return (
        position=in_given_order(system, wrapped(system)),
        velocity=in_given_order(system, velocity),
        force=in_given_order(system, force),
        kinetic_energy=kinetic,
        potential_energy=potential,
        virial=virial,
        pressure=(2kinetic + virial) / (3 * prod(parameters.box)),
        temperature=2kinetic / degrees_of_freedom(parameters),
        momentum=xyz(sum(velocity)),
    )
end

kinetic_energy(velocity) = sum(norm2, velocity) / 2

"Three for each particle, without the three of the total momentum where that is conserved."
degrees_of_freedom(p::Parameters{<:Any,Periodic}) = 3 * max(p.particles - 1, 1)
degrees_of_freedom(p::Parameters{<:Any,Walls}) = 3 * p.particles

"A copy of the positions of the particles, inside the box."
wrapped(system::System{<:Any,Walls}) = system.position[eachindex(system.velocity)]
wrapped(system::System{<:Any,Periodic}) = [wrap.(system.position[i], system.box) for i in eachindex(system.velocity)]

"The vectors as the columns of a matrix, in the order in which the particles came."
function in_given_order(system::System{T}, vectors) where {T}
    columns = similar(vectors)
    columns[system.id] = vectors
    return reinterpret(reshape, T, columns)[1:3, :]
end
