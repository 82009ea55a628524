// All the boxes of a case: loaded from a folder, advanced, and saved.
#pragma once

#include <chrono>
#include <exception>

#include "motion.hpp"
#include "observe.hpp"

namespace particles {

class Simulation {
    Parameters parameters;
    std::vector<System> systems;

    // The boxes are divided over the threads; or, if there is one, its particles. Not by an `if` clause: a parallel loop
    // within another, even of one thread, starts its threads anew each time.
    template <class Action>
    void for_each_box(const Action& act) {
        if (systems.size() == 1) return act(systems[0]);
        std::exception_ptr trouble;
#pragma omp parallel for schedule(static)
        for (Signed b = 0; b < Signed(systems.size()); ++b) {
            try {
                act(systems[std::size_t(b)]);
            } catch (...) { // none may leave a parallel loop
#pragma omp critical
                trouble = std::current_exception();
            }
        }
        if (trouble) std::rethrow_exception(trouble);
    }

public:
    explicit Simulation(const std::filesystem::path& folder) : parameters(read_text(folder / "parameters.txt")) {
        const std::size_t each = axes * parameters.particles, count = each * parameters.boxes;
        const auto position = read_numbers(folder, "position", count);
        const auto velocity = read_numbers(folder, "velocity", count);
        systems.reserve(parameters.boxes);
        for (std::size_t b = 0; b < parameters.boxes; ++b) {
            systems.emplace_back(parameters, &position[b * each], &velocity[b * each]);
            check_state(systems.back());
        }
        for_each_box([](System& s) {
            rebuild(s);
            check_distinct(s);
            forces(s);
            check_forces(s);
        });
    }

    // Advance all boxes, and say how many nanoseconds it took.
    long long run(std::size_t steps) {
        const auto start = std::chrono::steady_clock::now();
        for_each_box([steps](System& s) { advance(s, steps); });
        const auto end = std::chrono::steady_clock::now();
        return std::chrono::duration_cast<std::chrono::nanoseconds>(end - start).count();
    }

    // Write the state and all that is derived from it to the folder.
    void save(const std::filesystem::path& folder) const {
        std::vector<Real> position, velocity, force, kinetic, potential, virial, pressure, temperature, momentum;
        for (const auto& s : systems) {
            for (std::size_t i = 0; i < s.n; ++i)
                for (std::size_t k = 0; k < axes; ++k) {
                    position.push_back(s.periodic ? wrapped(s.x[k][i], s.box[k]) : s.x[k][i]);
                    velocity.push_back(s.v[k][i]);
                    force.push_back(s.force[k][i]);
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
