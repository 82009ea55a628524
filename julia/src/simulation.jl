# What portbench, or anyone, calls.

"All the boxes of a case, each a `System` of its own."
struct Simulation{T<:AbstractFloat,B<:Boundary,S<:System{T,B}}
    parameters::Parameters{T,B}
    systems::Vector{S}
end

"""
    load(parameters, state, [T | V]) -> Simulation

Check a case and make it ready to run. `parameters` holds `boxes`, `particles`, `box` (three
sides), `boundary` (`"periodic"` or `"walls"`), `cutoff` and `dt`. `state` holds `position` and
`velocity`, arrays with the axes (3, particles, boxes), which are copied. All is computed in `T`,
and all of `state(simulation)` is of it: the type of the numbers in `position`, if none is given.
Inside, a point is laid out as `V`, by default `SVector{3,T}`; with SIMD loaded, `SVector{4,Float64}` and
`SVector{4,Float32}` too.

Throws an `ArgumentError`, in one sentence, if these do not describe a simulation.
"""
load(parameters::AbstractDict, state::AbstractDict) =
    load(parameters, state, float(eltype(field(state, "position"))))
load(parameters::AbstractDict, state::AbstractDict, ::Type{T}) where {T<:AbstractFloat} =
    load(parameters, state, SVector{3,T})
load(parameters::AbstractDict, state::AbstractDict, ::Type{V}) where {T<:AbstractFloat,V<:SVector{<:Any,T}} =
    load(Parameters{T}(parameters), state, V)

function load(parameters::Parameters, state, V)
    position = vectors(parameters, state, "position")
    velocity = vectors(parameters, state, "velocity")
    all(x -> all(0 .<= x .<= parameters.box), position) || throw(ArgumentError(
        "a particle lies outside the box: positions must be within 0 and the box sides"))
    # Many boxes are divided among the threads, or else the particles of the only one.
    worthwhile = parameters.boxes > 1 ? 1 : parameters.particles ÷ SMALLEST_CHUNK
    chunks = clamp(worthwhile, 1, Threads.nthreads())
    systems = map(axes(position, 2)) do b
        System(V, parameters, view(position, :, b), view(velocity, :, b), chunks)
    end
    foreach(check_distinct, systems)
    foreach(forces!, systems)
    return Simulation(parameters, systems)
end

const SMALLEST_CHUNK = 500      # particles; fewer are not worth sharing

"""
    run!(simulation, steps) -> simulation

Advance by `steps` time steps; 0 only evaluates the forces. Throws an `ArgumentError` if the
motion ran away: a particle that crossed many boxes at once, or a force that is not finite.
"""
function run!(simulation::Simulation, steps::Integer)
    steps >= 0 || throw(ArgumentError("steps = $steps must not be below 0"))
    (; systems) = simulation
    shares = collect(Iterators.partition(systems, cld(length(systems), Threads.nthreads())))
    in_parallel(shares) do share
        foreach(system -> steps == 0 ? forces!(system) : advance!(system, steps), share)
    end
    foreach(check_motion, systems)
    return simulation
end

"""
    state(simulation) -> Dict{String,Any}

The state and everything derived from it, in new arrays: vectors of particles have the axes
(3, particles, boxes), momentum (3, boxes), and the other observables (boxes,).
"""
function state(simulation::Simulation)
    foreach(check_motion, simulation.systems)
    seen = map(observe, simulation.systems)
    names = keys(first(seen))
    return Dict{String,Any}(string(name) => stack(getfield.(seen, name)) for name in names)
end

"""
    about() -> Dict{String,Any}

What a reader of timings should know: threads, version of Julia and device.
Products may be fused with sums, and sums over neighbours re-ordered (`@simd`, `muladd`).
"""
about() = Dict{String,Any}(
    "threads" => Threads.nthreads(),
    "version" => string(VERSION),
    "device" => "cpu",
)

"One of the arrays of a state, which must be there."
function field(state, name)
    haskey(state, name) || throw(ArgumentError("the field $name is missing"))
    return state[name]
end

"A field of the state as a matrix of vectors (particles, boxes), copied and checked."
function vectors(parameters::Parameters{T}, state, name) where {T}
    given = field(state, name)
    wanted = (3, parameters.particles, parameters.boxes)
    size(given) == wanted || throw(ArgumentError(
        "$name has the size $(size(given)) where the parameters ask for $wanted"))
    numbers = convert(Array{T,3}, given)::Array{T,3}
    bad = findfirst(!isfinite, numbers)
    bad === nothing || throw(ArgumentError(
        "$name of particle $(bad[2] - 1) in box $(bad[3] - 1), counted from 0, is not a finite number"))
    return collect(reinterpret(reshape, SVector{3,T}, numbers))
end

"Throw if two particles are at one point, where the force is infinite."
function check_distinct(system)
    (; position, images, id) = system
    n = length(system.velocity)
    for chunk in system.chunks, (m, i) in enumerate(chunk.particles)
        for j in neighbours_of(system, chunk, m)
            norm2(position[i] - position[j]) > 0 && continue
            other = j <= n ? j : images[j-n].source
            a, b = minmax(id[i], id[other]) .- 1
            throw(ArgumentError("particles $a and $b, counted from 0, are at the same point, " *
                                "where the force is infinite"))
        end
    end
end
