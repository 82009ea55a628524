// The forces between the particles, and their energy and virial.
#pragma once

#include <cstring>

#include "neighbours.hpp"
#include "pairs.hpp"

namespace particles {

// Force on each particle from its neighbours within the cutoff.
inline void forces(System& s) {
    in_parallel(s.parts, [&s](Part& part) {
        const Real cutoff2 = s.cutoff * s.cutoff;
        const Vector* x = s.x.data();
        Real* there = part.copied.data();
        for (std::size_t i = part.first; i < part.end; ++i) {
            const Index* mine = part.neighbours.data() + part.begin[i - part.first];
            const std::size_t listed = part.begin[i - part.first + 1] - part.begin[i - part.first];
            const std::size_t count = listed / most_lanes * most_lanes; // so that the compiler knows it too
            // Copied to one place they are read in vectors, and faster than gathered from their own. Four numbers are one
            // load and one store, three are two; the fourth is overwritten by the next.
            for (std::size_t k = 0; k < count; ++k) std::memcpy(there + 3 * k, x + mine[k], 4 * sizeof(Real));
            const Vector here = x[i];
            Real fx = 0, fy = 0, fz = 0;
            for (std::size_t k = 0; k < count; ++k) {
                const Vector d = here - Vector{there[3 * k], there[3 * k + 1], there[3 * k + 2]};
                const Real r2 = square(d), within = pair_force(r2);
                const Real f_over_r = r2 < cutoff2 ? within : Real(0); // no branch: one in four is beyond the cutoff
                fx += f_over_r * d[0];
                fy += f_over_r * d[1];
                fz += f_over_r * d[2];
            }
            s.force[i] = {fx, fy, fz};
        }
    });
}

// Sums over the pairs, in double: of their energy, and of r . f.
inline std::array<double, 2> potential_and_virial(const System& s) {
    const Real cutoff2 = s.cutoff * s.cutoff;
    const double shift = pair_potential(double(cutoff2));
    double potential = 0, virial = 0;
    for (std::size_t i = 0; i < s.n; ++i) {
        double u = 0, w = 0; // its own first: sums of fewer are rounded less
        for_each_listed(s, i, [&](std::size_t j) {
            double r2 = 0;
            for (const Real d : s.x[i] - s.x[j]) r2 += double(d) * double(d);
            if (r2 < double(cutoff2)) {
                u += pair_potential(r2) - shift;
                w += pair_force(r2) * r2;
            }
        });
        potential += u;
        virial += w;
    }
    return {potential / 2, virial / 2}; // each pair was met from both sides
}

} // namespace particles
