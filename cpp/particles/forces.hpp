// The forces between the particles, and their energy and virial.
#pragma once

#include "pairs.hpp"
#include "system.hpp"

namespace particles {

// Force on each particle from its neighbours within the cutoff.
inline void forces(System& s) {
    const Real cutoff2 = s.cutoff * s.cutoff;
    const Real *x = s.x[0].data(), *y = s.x[1].data(), *z = s.x[2].data();
#pragma omp parallel for schedule(static)
    for (Signed i = 0; i < Signed(s.n); ++i) {
        const Real xi = x[i], yi = y[i], zi = z[i];
        const Index* mine = s.neighbours.data() + std::size_t(i) * s.width;
        const Index count = s.count[i];
        Real fx = 0, fy = 0, fz = 0;
        for (Index k = 0; k < count; ++k) {
            const Index j = mine[k];
            const Real dx = xi - x[j], dy = yi - y[j], dz = zi - z[j];
            const Real r2 = dx * dx + dy * dy + dz * dz;
            const Real within = pair_force(r2); // no branch: one neighbour in four is beyond the cutoff
            const Real f_over_r = r2 < cutoff2 ? within : Real(0);
            fx += f_over_r * dx;
            fy += f_over_r * dy;
            fz += f_over_r * dz;
        }
        s.force[0][i] = fx;
        s.force[1][i] = fy;
        s.force[2][i] = fz;
    }
}

// Sums over the pairs, in double: of their energy, and of r . f.
inline std::array<double, 2> potential_and_virial(const System& s) {
    const Real cutoff2 = s.cutoff * s.cutoff;
    const double shift = pair_potential(double(cutoff2));
    double potential = 0, virial = 0;
    for (std::size_t i = 0; i < s.n; ++i) {
        double u = 0, w = 0;
        for (std::size_t m = 0; m < s.count[i]; ++m) {
            const Index j = s.neighbours[i * s.width + m];
            double r2 = 0;
            for (std::size_t k = 0; k < axes; ++k) {
                const Real d = s.x[k][i] - s.x[k][j];
                r2 += double(d) * double(d);
            }
            if (r2 < double(cutoff2)) {
                u += pair_potential(r2) - shift;
                w += pair_force(r2) * r2;
            }
        }
        potential += u;
        virial += w;
    }
    return {potential / 2, virial / 2}; // each pair was met from both sides
}

} // namespace particles
