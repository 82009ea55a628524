// What is observed: every derived field of the specification, in sums of doubles.
#pragma once

#include "forces.hpp"

namespace particles {

struct Observation {
    double kinetic_energy, potential_energy, virial, pressure, temperature;
    std::array<double, axes> momentum;
};

inline Observation observe(const System& s) {
    Observation seen{};
    double volume = 1;
    for (std::size_t k = 0; k < axes; ++k) {
        for (const Real v : s.v[k]) {
            seen.kinetic_energy += double(v) * double(v) / 2;
            seen.momentum[k] += double(v);
        }
        volume *= double(s.box[k]);
    }
    const auto [potential, virial] = potential_and_virial(s);
    seen.potential_energy = potential;
    seen.virial = virial;
    seen.pressure = (2 * seen.kinetic_energy + virial) / (3 * volume);
    // the total momentum of a periodic box is no degree of freedom
    const double free = double(s.periodic ? std::max<std::size_t>(s.n - 1, 1) : s.n);
    seen.temperature = 2 * seen.kinetic_energy / (3 * free);
    return seen;
}

} // namespace particles
