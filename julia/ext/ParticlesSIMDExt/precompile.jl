@compile_workload begin
    for boundary in ("periodic", "walls")
        Particles.state(Particles.run!(Tuned.load(Particles.small_case(Float64, boundary)...), 2))
    end
end
