# What is run here while the package is installed need not be compiled when it is first used.

function small_case(T, boundary)
    lattice = T[2place[d] - 1 for d in 1:3, place in vec(CartesianIndices((3, 3, 3))), box in 1:1]
    fields = Dict{String,Any}("position" => lattice, "velocity" => zero(lattice))
    parameters = Dict{String,Any}("boxes" => 1, "particles" => 27, "box" => (6.0, 6.0, 6.0),
        "boundary" => boundary, "cutoff" => 2.5, "dt" => 0.005)
    return parameters, fields
end

@compile_workload begin
    for T in (Float64, Float32), boundary in ("periodic", "walls")
        state(run!(load(small_case(T, boundary)...), 2))
    end
    about()
end
