@compile_workload begin
    for T in (Float64, Float32), boundary in ("periodic", "walls")
        Particles.state(Particles.run!(Tuned.load(Particles.small_case(T, boundary)...), 2))
    end
end
