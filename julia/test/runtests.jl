using Particles
using Particles: Parameters, Periodic, Walls, SVector
using SIMD     # with which there are other layouts of points, SVector{4}
using Test

# ---------------------------------------------------------------- cases to test with

case(; particles, box=(8.0, 8.0, 8.0), boundary="periodic", cutoff=2.5, dt=0.005, boxes=1) =
    Dict{String,Any}("boxes" => boxes, "particles" => particles, "box" => box,
        "boundary" => boundary, "cutoff" => cutoff, "dt" => dt)

"Load particles at the given points of one box, laid out as `V`."
function at(V, points; velocity=zero.(points), options...)
    columns(v) = reshape(Float64.(reduce(hcat, v)), 3, :, 1)
    parameters = case(; particles=length(points), options...)
    return load(parameters, Dict("position" => columns(points), "velocity" => columns(velocity)), V)
end

"A cubic lattice with `side`^3 particles, shaken; every number follows from the indices."
function shaken(side, T=Float64; spacing=1.2, boxes=1, options...)
    position, velocity = zeros(T, 3, side^3, boxes), zeros(T, 3, side^3, boxes)
    for b in 1:boxes, (i, place) in enumerate(CartesianIndices((side, side, side))), d in 1:3
        position[d, i, b] = spacing * (place[d] - 0.5 + 0.1 * sin(i * d + b))
        velocity[d, i, b] = cos(2i + 3d + 5b)
    end
    box = Tuple(fill(side * spacing, 3))
    parameters = case(; particles=side^3, box, boxes, options...)
    return parameters, Dict("position" => position, "velocity" => velocity)
end

only_system(simulation) = only(simulation.systems)

"Forces, potential energy and virial by looking at all pairs, as the definition says."
function brute_force(parameters, position)
    box, cutoff2 = SVector(parameters["box"]), parameters["cutoff"]^2
    n = size(position, 2)
    force, potential, virial = zeros(3, n), 0.0, 0.0
    for i in 1:n, j in 1:n
        d = SVector{3}(position[:, i] - position[:, j])
        parameters["boundary"] == "periodic" && (d -= box .* round.(d ./ box))
        r2 = sum(abs2, d)
        (i == j || r2 >= cutoff2) && continue
        force[:, i] += Particles.pair_force(r2) * d
        potential += (Particles.pair_potential(r2) - Particles.pair_potential(cutoff2)) / 2
        virial += Particles.pair_force(r2) * r2 / 2
    end
    return force, potential, virial
end

"""
What rounding to Float32 may do to each component of the forces: a part of each pair force, what the
force changes where a coordinate does in its last place, and all of it at the cutoff.
"""
function rounding(parameters, position)
    box, cutoff = SVector(parameters["box"]), parameters["cutoff"]
    unit = eps(Float32)
    may = zero(position)
    for i in axes(position, 2), j in axes(position, 2)
        d = SVector{3}(position[:, i] - position[:, j])
        parameters["boundary"] == "periodic" && (d -= box .* round.(d ./ box))
        r = sqrt(sum(abs2, d))
        beyond, touches = r - cutoff, 4unit * maximum(box)
        (i == j || beyond > touches) && continue
        pair = abs.(Particles.pair_force(r^2) * d)
        stiffness = 24 * (26 / r^14 + 7 / r^8)
        may[:, i] += abs(beyond) <= touches ? pair : unit * (20pair .+ stiffness * box)
    end
    return may
end

"All (i, j) within the cutoff, by the original numbers, as the neighbour lists have them."
function listed_pairs(system)
    n, cutoff2 = length(system.velocity), system.parameters.cutoff^2
    pairs = Tuple{Int,Int}[]
    for chunk in system.chunks, (m, i) in enumerate(chunk.particles)
        for j in Particles.neighbours_of(system, chunk, m)
            sum(abs2, system.position[i] - system.position[j]) < cutoff2 || continue
            push!(pairs, (system.id[i], system.id[j <= n ? j : system.images[j-n].source]))
        end
    end
    return sort!(pairs)
end

function close_pairs(parameters, position)
    box = SVector(parameters["box"])
    periodic = parameters["boundary"] == "periodic"
    return [(i, j) for i in axes(position, 2) for j in axes(position, 2) if i != j && begin
        d = SVector{3}(position[:, i] - position[:, j])
        sum(abs2, periodic ? d - box .* round.(d ./ box) : d) < parameters["cutoff"]^2
    end]
end

message(work) =
    try
        work()
        "nothing was thrown"
    catch problem
        problem isa ArgumentError ? problem.msg : rethrow()
    end

function check_chunks(V, boundary)
    T = eltype(V)
    parameters, start = shaken(10, T; boundary)
    x, v = (vec(reinterpret(SVector{3,T}, start[name])) for name in ("position", "velocity"))
    results = map((1, 2, 3)) do chunks
        system = Particles.System(V, Parameters{T}(parameters), x, v, chunks)
        Particles.forces!(system)
        Particles.observe(Particles.advance!(system, 30))
    end
    @test results[1] == results[2] == results[3]
end

function check_inference(V, boundary)
    parameters, start = shaken(5, eltype(V); boundary)
    simulation = load(parameters, start, V)
    system = only_system(simulation)
    chunk = only(system.chunks)
    @inferred run!(simulation, 1)
    @inferred Particles.advance!(system, 1)
    @inferred Particles.rebuild!(system)
    @inferred Particles.moved_too_far(system)
    @inferred Particles.kick!(system, chunk)
    @inferred Particles.drift!(system, chunk)
    @inferred Particles.forces!(system, chunk)
    @inferred Particles.forces_and_kick!(system, chunk)
    @inferred Particles.potential_and_virial(system)
    @inferred Particles.observe(system)
end

function check_allocations(V, boundary)
    parameters, start = shaken(7, eltype(V); boundary)
    system = only_system(load(parameters, start, V))         # 343 particles: one chunk
    Particles.advance!(system, 300)                          # lists have found their size
    listed_at = copy(system.listed_at)
    @test 0 == @allocated Particles.advance!(system, 10)
    @test 0 == @allocated Particles.rebuild!(system)
    @test listed_at != system.listed_at
end

# ---------------------------------------------------------------- tests

const LAYOUTS = (SVector{3,Float64}, SVector{3,Float32}, SVector{4,Float64}, SVector{4,Float32})

@testset "Particles laid out as $V" for V in LAYOUTS
    T = eltype(V)

    @testset "two particles have the closed form" begin
        r = 1.25
        seen = state(at(V, [[1, 1, 1], [1 + r, 1, 1]]))
        f = 24 * (2r^-13 - r^-7)
        @test seen["force"][:, :, 1] ≈ [-f f; 0 0; 0 0]
        @test seen["potential_energy"] ≈ [4 * (r^-12 - r^-6) - 4 * (2.5^-12 - 2.5^-6)]
        @test seen["virial"] ≈ [f * r]
        @test seen["pressure"] ≈ [f * r / (3 * 8^3)]
        @test seen["temperature"] == [0]
    end

    @testset "the cutoff itself is outside" begin
        for (x, touches) in ((3.5, false), (prevfloat(T(3.5)), true), (nextfloat(T(3.5)), false))
            force = state(at(V, [[1, 1, 1], [x, 1, 1]]))["force"]
            @test any(!iszero, force) == touches
        end
    end

    @testset "across faces, edges and corners: $boundary" for boundary in ("periodic", "walls")
        low, high = 0.5, 7.5
        for point in Iterators.product((low, 4), (low, 4), (low, 4))
            opposite = map(q -> q == low ? high : 5.0, point)
            seen = state(at(V, [collect(point), collect(opposite)]; boundary))
            parameters = case(; particles=2, boundary)
            force, potential, virial = brute_force(parameters, seen["position"])
            @test seen["force"][:, :, 1] ≈ force
            @test seen["potential_energy"] ≈ [potential]
            @test seen["virial"] ≈ [virial]
        end
    end

    @testset "a box so small that particles are near both faces" begin
        parameters, start = shaken(4; spacing=1.25, cutoff=2.5)
        simulation = load(parameters, start, V)
        seen = state(simulation)
        force, potential, virial = brute_force(parameters, seen["position"])
        @test seen["force"][:, :, 1] ≈ force
        @test seen["potential_energy"] ≈ [potential]
        @test seen["virial"] ≈ [virial]
    end

    @testset "walls reflect, twice if need be" begin
        seen = state(run!(at(V, [[1, 1, 1], [6, 6, 6]];
                velocity=[[1900, 0, -700], [0, -20, 0]], boundary="walls"), 1))
        # 1 + 9.5 = 10.5 -> 5.5;  1 - 3.5 = -2.5 -> 2.5
        @test seen["position"][:, 1, 1] ≈ [5.5, 1, 2.5] atol = 1e-3
        @test seen["velocity"][:, 1, 1] ≈ [-1900, 0, 700] atol = 1e-1
        twice = state(run!(at(V, [[1, 4, 4]]; velocity=[[3500, 0, 0]], boundary="walls"), 1))
        @test twice["position"][:, 1, 1] ≈ [2.5, 4, 4]     # 18.5 -> -2.5 -> 2.5
        @test twice["velocity"][:, 1, 1] == [3500, 0, 0]
    end

    @testset "a periodic box is left and entered" begin
        seen = state(run!(at(V, [[7.9, 0.1, 0]]; velocity=[[40, -40, 0]]), 1))
        @test seen["position"][:, 1, 1] ≈ [0.1, 7.9, 0]
        below = state(run!(at(V, [[0, 1, 1]]; velocity=[[-1e-15, 0, 0]]), 1))
        @test 0 <= below["position"][1] < 8
    end

    @testset "what is wrapped lies in [0, L): $T" for T in (Float64, Float32)
        for side in T[1, 5, 8.39, 33.58]
            for q in (-nextfloat(zero(T)), -eps(side) / 4, prevfloat(side), side, prevfloat(3side), 3side)
                @test 0 <= Particles.wrap(q, side) < side
            end
        end
        sides = T.(1:0.01:9)
        @test all(side -> 0 <= Particles.wrap(prevfloat(3side), side) < side, sides)
    end

    @testset "lists hold all close pairs: $boundary, $side^3 in steps of $spacing" for boundary in ("periodic", "walls"),
        (side, spacing) in ((5, 1), (5, 1.001), (5, 1.2), (6, 1.1), (7, 1.2), (9, 1.2))

        parameters, start = shaken(side, T; boundary, spacing)
        simulation = load(parameters, start, V)
        slack = T == Float64 ? 0 : 8eps(T(first(parameters["box"])))    # at the cutoff, rounding says who is close
        for steps in (0, 1, 40)
            position = Float64.(state(run!(simulation, steps))["position"][:, :, 1])
            within(cutoff) = close_pairs(merge(parameters, Dict("cutoff" => cutoff)), position)
            listed = listed_pairs(only_system(simulation))
            @test allunique(listed)
            @test within(2.5 - slack) ⊆ listed ⊆ within(2.5 + slack)
        end
    end

    @testset "few particles: $count, $boundary" for boundary in ("periodic", "walls"), count in (1, 2, 3, 7, 8, 9, 17)
        points = [[mod(2.1i, 5), mod(1.3i, 4.9), mod(3.7i, 5)] for i in 1:count]
        parameters = case(; particles=count, box=(5.0, 5.2, 6.0), boundary)
        seen = state(run!(at(V, points; box=parameters["box"], boundary), 3))
        force, potential, virial = brute_force(parameters, Float64.(seen["position"][:, :, 1]))
        @test seen["force"][:, :, 1] ≈ force
        @test seen["potential_energy"] ≈ [potential]
        @test seen["virial"] ≈ [virial]
    end

    @testset "two particles at one point are refused: $boundary" for boundary in ("periodic", "walls")
        for count in (2, 3, 8, 9, 20), other in (2, count)
            points = [[mod(2.1i, 5), mod(1.3i, 4.9), mod(3.7i, 5)] for i in 1:count]
            points[other] = points[1]
            @test occursin("particles 0 and $(other - 1)", message(() -> at(V, points; boundary)))
        end
    end

    @testset "boxes of odd shapes and sizes" begin
        shapes = ((5.0, 7.0, 12.0) => 33, (5.0, 5.0, 40.0) => 17, (1e3, 6.0, 1e5) => 3,
            ntuple(_ -> T == Float64 ? 1e80 : 1e30, 3) => 2)
        for (box, count) in shapes
            points = [[mod(2.1i, 5), mod(1.3i, 4.9), mod(3.7i, 5)] for i in 1:count]
            parameters = case(; particles=count, box)
            seen = state(at(V, points; box))
            @test seen["force"][:, :, 1] ≈ brute_force(parameters, seen["position"])[1]
        end
        @test all(iszero, state(run!(at(V, [[1, 2, 3]]), 10))["force"])
    end

    @testset "two particles keep their energy, and time runs backwards" begin
        simulation = at(V, [[3, 4, 4], [4.5, 4, 4]]; dt=0.001)
        energy(s) = s["kinetic_energy"] + s["potential_energy"]
        before, after = state(simulation), state(run!(simulation, 1000))
        @test energy(before) ≈ energy(after) atol = 1e-4
        back = load(case(; particles=2, dt=0.001),
            Dict("position" => after["position"], "velocity" => -after["velocity"]), V)
        @test state(run!(back, 1000))["position"] ≈ before["position"] atol = T == Float64 ? 1e-9 : 1e-4
    end

    @testset "runs add up, and looking changes nothing" begin
        parameters, start = shaken(6)
        whole = state(run!(load(parameters, start, V), 30))
        simulation = load(parameters, start, V)
        for steps in (11, 0, 19)
            run!(simulation, steps)
            state(simulation)
        end
        @test state(simulation) == whole
        @test start == shaken(6)[2]       # what was lent is untouched
    end

    @testset "boxes do not meet, and are those they would be alone" begin
        parameters, start = shaken(5; boxes=3)
        together = state(run!(load(parameters, start, V), 20))
        for b in 1:3
            one = Dict(name => field[:, :, b:b] for (name, field) in start)
            alone = state(run!(load(merge(parameters, Dict("boxes" => 1)), one, V), 20))
            for (name, field) in alone
                @test selectdim(together[name], ndims(field), b:b) == field
            end
        end
    end

    @testset "the number of chunks changes no bit: $boundary" for boundary in ("periodic", "walls")
        check_chunks(V, boundary)
    end

    @testset "types are inferred, and a step allocates nothing: $boundary" for boundary in ("periodic", "walls")
        check_inference(V, boundary)
        check_allocations(V, boundary)
    end

    @testset "as many neighbours as there are: $boundary" for boundary in ("periodic", "walls")
        parameters, start = shaken(7; spacing=1.0, boundary)            # all in a corner of a large box
        crowd = merge(parameters, Dict("box" => (30.0, 40.0, 50.0)))
        seen = state(load(crowd, start, V))
        force, potential, _ = brute_force(crowd, seen["position"])
        @test seen["force"][:, :, 1] ≈ force
        @test seen["potential_energy"] ≈ [potential]
    end
end

const vectors = Base.get_extension(Particles, :ParticlesSIMDExt)

"That vectors of `W` lanes, which may be others than the processor has, do what was done with those."
function check_vectors(V, W, boundary)
    parameters, start = shaken(6, eltype(V); boundary)
    system = only_system(load(parameters, start, V))
    wanted, listed = copy(system.force), listed_pairs(system)
    fill!(system.force, zero(V))
    for chunk in system.chunks
        vectors.list_neighbours!(system, chunk, Val(W))
        vectors.forces!(system, chunk, zero(eltype(V)), Val(W))
    end
    @test system.force ≈ wanted
    @test listed_pairs(system) == listed
end

@testset "packing in vectors of $W lanes" for W in (4, 8, 16)
    for mask in 0:(W == 16 ? 41 : 1):2^W-1
        wanted = ntuple(lane -> isodd(mask >> (lane - 1)), W)
        packed = fill(Int32(-1), W + 2)
        found = GC.@preserve packed vectors.pack!(
            pointer(packed), 2, Vec{W,Int32}(ntuple(lane -> Int32(7lane), W)), Vec{W,Bool}(wanted))
        @test packed[2:1+found] == [7lane for lane in 1:W if wanted[lane]]
        @test packed[1] == packed[W+2] == -1       # nothing was written beyond a vector
        @test W == 4 || vectors.bits(Vec{W,Bool}(wanted)) == mask
    end
end

@testset "vectors of $W lanes: a list for each particle" for W in (4, 8)
    table = [SVector{4,Float64}(i, 10i, 100i, 0) for i in 1:W]
    starts = [vectors.start_of(SVector{4,Float64}, i) for i in W:-1:1]
    x, y, z = GC.@preserve table vectors.columns(Ptr{Float64}(pointer(table)), starts, 1, Val(W))
    @test Tuple(x) == Tuple(W:-1.0:1) && Tuple(y) == 10 .* Tuple(x) && Tuple(z) == 100 .* Tuple(x)
    @test vectors.sums(x, y, z) == SVector(1, 10, 100, 0) * sum(1:W)
    foreach(boundary -> check_vectors(SVector{4,Float64}, W, boundary), ("periodic", "walls"))
end

@testset "vectors of $W lanes: a list for each cluster" for W in (8, 16)
    table = [SVector{4,Float32}(i, 10i, 100i, 0) for i in 1:12]
    starts = [vectors.start_of(SVector{4,Float32}, i) for i in 12:-1:1]
    GC.@preserve table begin
        rows = Ptr{Float32}(pointer(table))
        members, neighbours = vectors.members_from(rows, 3, Val(W)), vectors.neighbours_from(rows, starts, 5, Val(W))
    end
    for (axis, scale) in enumerate((1, 10, 100)), lane in 1:W
        @test members[axis][lane] == scale * (3 + (lane - 1) % 8)
        @test neighbours[axis][lane] == scale * (lane <= 8 ? 8 : 7)
    end
    foreach(boundary -> check_vectors(SVector{4,Float32}, W, boundary), ("periodic", "walls"))
end

@testset "clusters are small, and name each neighbour once: $boundary" for boundary in ("periodic", "walls")
    parameters, start = shaken(11, Float32; spacing=1.0, boundary)      # 1331 = 8 * 166 + 3
    (; position, chunks, velocity, images) = system = only_system(load(parameters, start, SVector{4,Float32}))
    sides = Float32[]
    for chunk in chunks, (c, i) in enumerate(vectors.clusters(chunk))
        members = position[i:min(i + 7, 1331)]
        append!(sides, maximum(stack(members); dims=2) - minimum(stack(members); dims=2))
        listed = chunk.neighbours[chunk.offset[c]+1:chunk.offset[c+1]] .÷ 16 .+ 1
        others = filter(<=(length(velocity) + length(images)), listed[9:end])
        @test listed[1:8] == i:i+7
        @test allunique(others) && isdisjoint(others, listed[1:8])
        @test length(listed) - length(others) - 8 < 2      # nobody fills the last vector
    end
    @test sum(sides) / length(sides) < 1.5      # three of four are its sides, of 2 if it is a cube; one is 0
end

@testset "nobody is out of reach, and his force does not underflow: $V, $boundary" for
        V in (SVector{3,Float64}, SVector{3,Float32}, SVector{4,Float64}, SVector{4,Float32}), boundary in ("periodic", "walls")
    T = eltype(V)
    parameters, start = shaken(10, T; boundary)
    system = only_system(load(parameters, start, V))
    points = length(system.position)
    @test length(Particles.rebuild!(system).position) == points     # he comes once, however often neighbours are listed
    nobody = Particles.xyz(system.position[Particles.somebody(system)+1])
    for corner in (zero(system.parameters.box), system.parameters.box)
        r2 = sum(abs2, nobody - corner)
        @test r2 > system.reach^2
        @test (T(1.7) / r2)^7 > floatmin(T)     # else it takes all lanes of his vector a hundred cycles
    end
end

@testset "who is fetched ahead is about the farthest in sight: $T" for T in (Float64, Float32)
    # A liquid with more slabs than columns in each, and slabs that are not whole layers of the lattice.
    points = vec([1.06 .* (Tuple(place) .- 0.5) .+ 0.1 .* sin.((i, 2i, 3i))
                  for (i, place) in enumerate(CartesianIndices((21, 13, 10)))])
    position = T.(reshape(stack(points), 3, :, 1))
    parameters = case(; particles=length(points), box=1.06 .* (21, 13, 10))
    start = Dict("position" => position, "velocity" => zero(position))
    system = only_system(load(parameters, start, SVector{4,T}))
    farthest = maximum(system.chunks) do chunk
        seen(m) = Iterators.filter(<=(length(points)), Particles.neighbours_of(system, chunk, m))
        maximum(maximum(seen(m); init = i) - i for (m, i) in enumerate(chunk.particles))
    end
    @test system.ahead ≈ farthest atol = 100
end

@testset "Particles" begin
    @testset "shapes and names" begin
        parameters, start = shaken(3; boxes=2, cutoff=1.5)
        seen = state(load(parameters, start))
        @test size.(getindex.(Ref(seen), ["position", "velocity", "force"])) == fill((3, 27, 2), 3)
        @test size(seen["momentum"]) == (3, 2)
        scalars = ["kinetic_energy", "potential_energy", "virial", "pressure", "temperature"]
        @test all(name -> size(seen[name]) == (2,), scalars)
        @test length(seen) == 9
        @test seen["position"] == start["position"] && seen["velocity"] == start["velocity"]
        @test about()["threads"] == Threads.nthreads()
        @test !haskey(about(), "precision")
    end

    @testset "work is shared: $n items" for n in (2, 5)
        done = zeros(Int, n)
        for _ in 1:1000
            Particles.in_parallel(k -> done[k] += 1, 1:n)
        end
        @test all(==(1000), done)
        # What one of them throws is thrown, and the next work is not disturbed.
        @test_throws ArgumentError Particles.in_parallel(k -> k == n && throw(ArgumentError("no")), 1:n)
        # From several tasks at once, one within another, and with garbage to collect.
        count = Threads.Atomic{Int}(0)
        tasks = map(1:4) do _
            Threads.@spawn for _ in 1:200
                Particles.in_parallel(1:n) do k
                    Particles.in_parallel(l -> Threads.atomic_add!(count, sum([k, l]) - k), 1:2)
                end
            end
        end
        GC.gc()
        foreach(wait, tasks)
        @test count[] == 4 * 200 * n * 3
    end

    @testset "the numbers keep their type, or get the one that was asked for" begin
        numbers(seen) = only(unique(eltype.(values(seen))))
        for T in (Float32, Float64), boxes in (1, 2)
            parameters, start = shaken(3, T; boxes, cutoff=1.5)
            seen = state(run!(load(parameters, start), 3))
            @test numbers(seen) == T
            @test all(field -> field isa Array, values(seen))
            @test numbers(state(load(parameters, start, Float32))) == Float32
            @test numbers(state(load(parameters, start, Float64))) == Float64
            tuned = Particles.Tuned.load(parameters, start)
            @test numbers(state(tuned)) == T
            @test eltype(first(tuned.systems).position) == SVector{4,T}
        end
        whole = Dict("position" => reshape([1, 1, 1, 3, 1, 1], 3, 2, 1), "velocity" => zeros(Int, 3, 2, 1))
        @test numbers(state(load(case(; particles=2), whole))) == Float64
    end

    @testset "$V differs by rounding alone: $boundary, $side^3" for V in LAYOUTS[[2, 4]],
        boundary in ("periodic", "walls"), side in (5, 8)

        parameters, start = shaken(side, Float32; spacing=1.1, boundary)
        single, double = load(parameters, start, V), load(parameters, start, Float64)
        seen, wanted = state(single), state(double)
        before = rounding(parameters, wanted["position"][:, :, 1])
        @test all(abs.(seen["force"] - wanted["force"]) .<= before)
        for name in ("kinetic_energy", "potential_energy", "virial", "temperature", "pressure")
            @test seen[name] ≈ wanted[name] rtol = 20eps(Float32)
        end
        seen, wanted = state(run!(single, 1)), state(run!(double, 1))
        after = rounding(parameters, wanted["position"][:, :, 1])
        box, dt = first(parameters["box"]), parameters["dt"]
        moved = seen["position"] - wanted["position"]
        boundary == "periodic" && (moved -= box * round.(moved / box))
        @test all(abs.(moved) .<= eps(Float32) * box)
        @test all(abs.(seen["velocity"] - wanted["velocity"]) .<=
                  eps(Float32) * abs.(wanted["velocity"]) + dt * (before + after))
    end

    @testset "on the faces of the box: $V" for V in LAYOUTS
        T = eltype(V)
        side = T(7.3)
        points = [[0, 1, 2], [side, 2, 4], [prevfloat(side), 4, 1], [3, side, side], [4, 0, 0]]
        still = Dict("position" => reshape(reduce(hcat, points), 3, :, 1), "velocity" => zeros(T, 3, 5, 1))
        for boundary in ("periodic", "walls")
            parameters = case(; particles=5, box=(7.3, 7.3, 7.3), boundary)
            seen = state(load(parameters, still, V))
            x = Float64.(seen["position"][:, :, 1])
            @test all(abs.(seen["force"][:, :, 1] - brute_force(parameters, x)[1]) .<= rounding(parameters, x))
            @test (side in seen["position"]) == (boundary == "walls")
        end
    end

    @testset "in a huge box the list is made anew before rounding can spoil it: $V" for V in LAYOUTS
        T = eltype(V)
        may_move(box) = Particles.may_move(only_system(load(case(; particles=1, box=fill(box, 3)),
            Dict("position" => ones(T, 3, 1, 1), "velocity" => zeros(T, 3, 1, 1)), V)))
        skin = T(2.5) + T(Particles.skin(V)) - T(2.5)
        @test may_move(30) == T(0.499) * skin
        @test 0 < may_move(T(1e-3) / eps(T)) < T(0.499) * skin
        @test may_move(1 / eps(T)) == 0
    end

    @testset "no other type creeps into the loops: $V, $boundary" for V in LAYOUTS[[2, 4]], boundary in (Periodic, Walls)
        system, chunk = Particles.System{Float32,boundary,V}, Particles.Chunk{Float32}
        sums = Vector{Float32}
        for (work, arguments) in (
            Particles.kick! => (system, chunk), Particles.drift! => (system, chunk),
            Particles.forces! => (system, chunk), Particles.forces_and_kick! => (system, chunk),
            Particles.wrap! => (system, chunk), Particles.find_places! => (system, chunk),
            Particles.set_aside! => (system, chunk), Particles.move_to_places! => (system, chunk),
            Particles.count_images! => (system, chunk),
            Particles.place_images! => (system, chunk), Particles.move_images! => (system, chunk),
            Particles.find_cells! => (system, chunk), Particles.copy_to_cells! => (system, chunk),
            Particles.list_neighbours! => (system, chunk),
            Particles.potential_and_virial! => (sums, sums, system, chunk),
            Particles.find_candidates! => (Particles.Candidates{Float32}, Particles.Cells{Float32}, Int, Float32),
            Particles.moved_too_far => (system,), Particles.observe => (system,),
        )
            compiled, _ = only(code_typed(work, arguments))
            @test !occursin("Float64", string(compiled))
        end
    end

    @testset "bad input is one sentence" begin
        good, start = shaken(3; cutoff=1.5)
        with(name, value) = message(() -> load(merge(good, Dict(name => value)), start))
        @test occursin("half the shortest side", with("cutoff", 2.0))
        @test occursin("\"periodic\" or \"walls\"", with("boundary", "open"))
        @test occursin("dt = 0.0 must be", with("dt", 0.0))
        @test occursin("dt = NaN must be", with("dt", NaN))
        @test occursin("cutoff = x must be", with("cutoff", "x"))
        small = Dict(name => Float32.(field) for (name, field) in start)
        @test occursin("as a Float32", message(() -> load(merge(good, Dict("dt" => 1e-60)), small)))
        @test occursin("as a Float32", message(() -> load(merge(good, Dict("box" => (1e60, 3, 3))), small)))
        @test occursin("three finite numbers", with("box", (3.0, 3.0)))
        @test occursin("three finite numbers", with("box", (3.0, 3.0, Inf)))
        @test occursin("three finite numbers", with("box", 3.0))
        @test occursin("whole number", with("boxes", 0))
        @test occursin("whole number", with("particles", 27.0))
        @test occursin("size", with("particles", 26))
        @test occursin("dt is missing", message(() -> load(delete!(copy(good), "dt"), start)))

        function changed(name, i, value)
            new = deepcopy(start)
            new[name][i] = value
            return message(() -> load(good, new))
        end
        @test occursin("position of particle 1 in box 0", changed("position", 5, NaN))
        @test occursin("velocity of particle 0 in box 0", changed("velocity", 1, Inf))
        @test occursin("outside the box", changed("position", 1, -0.1))
        @test occursin("outside the box", changed("position", 1, 3.7))
        for name in ("position", "velocity")
            lacking = delete!(copy(start), name)
            @test occursin("the field $name is missing", message(() -> load(good, lacking)))
        end

        @test occursin("particles 0 and 2", message(() -> at(SVector{3,Float64}, [[1, 1, 1], [2, 2, 2], [1, 1, 1]])))
        @test occursin("particles 0 and 1", message(() -> at(SVector{3,Float64}, [[0, 1, 1], [8, 1, 1]])))
        @test at(SVector{3,Float64}, [[0, 1, 1], [8, 1, 1]]; boundary="walls") isa Particles.Simulation
        @test occursin("steps = -1", message(() -> run!(load(good, start), -1)))
    end

    @testset "motion that runs away is an error: $boundary" for boundary in ("periodic", "walls")
        fast = at(SVector{3,Float64}, [[1, 1, 1], [6, 6, 6]]; velocity=[[1e6, 0, 0], [0, 0, 0]], boundary)
        @test occursin("time step is too long", message(() -> run!(fast, 3)))
        @test occursin("time step is too long", message(() -> run!(fast, 1)))
        @test occursin("time step is too long", message(() -> state(fast)))
        near = at(SVector{3,Float64}, [[1, 1, 1], [1 + 1e-14, 1, 1]]; boundary)
        @test occursin("time step is too long", message(() -> run!(near, 1)))
        touching = at(SVector{3,Float64}, [[0, 1, 1], [1e-60, 1, 1]]; boundary)
        @test occursin("not finite", message(() -> run!(touching, 0)))
    end
end
