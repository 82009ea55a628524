# What defines a case, and whether it makes sense.

abstract type Boundary end

"Who leaves through a face comes back through the opposite one."
struct Periodic <: Boundary end

"The faces reflect particles."
struct Walls <: Boundary end

"The numbers that define a case, in the names and units of the specification."
struct Parameters{T<:AbstractFloat,B<:Boundary}
    boxes::Int           # independent copies of the system
    particles::Int       # in each box
    box::SVector{3,T}    # sides
    boundary::B
    cutoff::T            # particles at this distance or further do not interact
    dt::T                # time step
end

"Read the parameters from a dictionary; an `ArgumentError` says what is wrong with them."
function Parameters{T}(given::AbstractDict) where {T}
    boxes = whole(given, "boxes")
    particles = whole(given, "particles")
    box = sides(T, given, "box")
    cutoff = positive(T, given, "cutoff")
    dt = positive(T, given, "dt")
    boundary = parameter(given, "boundary")
    boundary in ("periodic", "walls") || throw(ArgumentError(
        "boundary = \"$boundary\" must be \"periodic\" or \"walls\""))
    boundary == "walls" && return Parameters(boxes, particles, box, Walls(), cutoff, dt)
    cutoff <= minimum(box) / 2 || throw(ArgumentError(
        "cutoff = $cutoff is over half the shortest side of the periodic box " *
        "($(minimum(box) / 2)): a particle would meet two images of another"))
    return Parameters(boxes, particles, box, Periodic(), cutoff, dt)
end

function parameter(given, name)
    haskey(given, name) || throw(ArgumentError("the parameter $name is missing"))
    return given[name]
end

function whole(given, name)
    value = parameter(given, name)
    value isa Integer && 1 <= value <= typemax(Int32) || throw(ArgumentError(
        "$name = $value must be a whole number of at least 1"))
    return Int(value)
end

"Whether a value is still finite and above 0 when it is rounded to `T`."
isabovezero(T, value) = value isa Real && 0 < T(value) < Inf

function positive(T, given, name)
    value = parameter(given, name)
    isabovezero(T, value) || throw(ArgumentError(
        "$name = $value must be a finite number above 0, as a $T"))
    return T(value)
end

function sides(T, given, name)
    value = parameter(given, name)
    value isa Union{Tuple,AbstractVector} && length(value) == 3 &&
        all(side -> isabovezero(T, side), value) || throw(ArgumentError(
        "$name = $value must be three finite numbers above 0, each as a $T"))
    return SVector{3,T}(value...)
end
