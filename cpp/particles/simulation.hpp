// All the boxes of a case: loaded from a folder, advanced, and saved.
#pragma once

#include <chrono>

#include "parallel.hpp"
#include "parameters.hpp"

namespace particles {

// Error unless all particles are finite and inside the box.
inline void check_state(const Parameters& p, const std::vector<Real>& position, const std::vector<Real>& velocity) {
    for (std::size_t m = 0; m < position.size(); ++m) {
        const auto particle = std::to_string(m / axes % p.particles);
        if (!std::isfinite(position[m]) || !std::isfinite(velocity[m]))
            throw Error("the position or velocity of particle " + particle + " is not a finite number");
        if (position[m] < 0 || position[m] > p.box[m % axes])
            throw Error("particle " + particle + " lies outside the box");
    }
}

// What a System is, its port says; beside its members there are
//     begin(system)           complains of particles at one point, and finds the forces
//     advance(system, steps)
//     observe(system)
//     of_particle(system, i)  position, velocity and force
template <class System>
class SimulationOf {
    Parameters parameters;
    std::vector<System> systems;

public:
    explicit SimulationOf(const std::filesystem::path& folder) : parameters(read_text(folder / "parameters.txt")) {
        const std::size_t each = axes * parameters.particles, count = each * parameters.boxes;
        const auto position = read_numbers(folder, "position", count);
        const auto velocity = read_numbers(folder, "velocity", count);
        check_state(parameters, position, velocity);
        systems.reserve(parameters.boxes);
        for (std::size_t b = 0; b < parameters.boxes; ++b)
            systems.emplace_back(parameters, &position[b * each], &velocity[b * each]);
        in_parallel(systems, [](System& s) { begin(s); }); // or, if there is one, its particles are divided
    }

    // Advance all boxes, and say how many nanoseconds it took.
    long long run(std::size_t steps) {
        const auto start = std::chrono::steady_clock::now();
        in_parallel(systems, [steps](System& s) { advance(s, steps); });
        const auto end = std::chrono::steady_clock::now();
        return std::chrono::duration_cast<std::chrono::nanoseconds>(end - start).count();
    }

    // Write the state and all that is derived from it to the folder.
    void save(const std::filesystem::path& folder) const {
        std::vector<Real> position, velocity, force, kinetic, potential, virial, pressure, temperature, momentum;
        for (const auto& s : systems) {
            for (std::size_t i = 0; i < s.n; ++i) {
                const auto rows = of_particle(s, i);
                position.insert(position.end(), rows[0].begin(), rows[0].end());
                velocity.insert(velocity.end(), rows[1].begin(), rows[1].end());
                force.insert(force.end(), rows[2].begin(), rows[2].end());
            }
            const auto seen = observe(s);
            kinetic.push_back(Real(seen.kinetic_energy));
            potential.push_back(Real(seen.potential_energy));
            virial.push_back(Real(seen.virial));
            pressure.push_back(Real(seen.pressure));
            temperature.push_back(Real(seen.temperature));
            for (const double p : seen.momentum) momentum.push_back(Real(p));
        }
        std::ofstream(folder / "parameters.txt") << parameters.text();
        write_numbers(folder, "position", position);
        write_numbers(folder, "velocity", velocity);
        write_numbers(folder, "force", force);
        write_numbers(folder, "kinetic_energy", kinetic);
        write_numbers(folder, "potential_energy", potential);
        write_numbers(folder, "virial", virial);
        write_numbers(folder, "pressure", pressure);
        write_numbers(folder, "temperature", temperature);
        write_numbers(folder, "momentum", momentum);
    }
};

} // namespace particles
