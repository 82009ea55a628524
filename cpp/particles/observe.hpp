// What is observed: every derived field of the specification, in sums of doubles.
#pragma once

#include <algorithm>

#include "numbers.hpp"

namespace particles {

struct Observation {
    double kinetic_energy, potential_energy, virial, pressure, temperature;
    std::array<double, axes> momentum;
};

// Of a System whose forces are those of its positions.
template <class System>
Observation observe(const System& s) {
    Observation seen{};
    double volume = 1;
    for (const Real side : s.box) volume *= double(side);
    for (std::size_t i = 0; i < s.n; ++i) {
        const Vector v = of_particle(s, i)[1];
        for (std::size_t k = 0; k < axes; ++k) {
            seen.kinetic_energy += double(v[k]) * double(v[k]) / 2;
            seen.momentum[k] += double(v[k]);
        }
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
