// Forces and motion: half kick, drift, forces, half kick, in two passes over memory for each step.
#pragma once

#include "../particles/pairs.hpp"
#include <span>

#include "neighbours.hpp"

namespace particles {

// Half a kick, and the move by v dt; between walls, bounce until inside; and images follow. Whether two particles can have
// come within the cutoff that are not in the list. Error if a particle was too fast.
inline bool kick_and_drift(System& s) {
    const Real half = s.dt / 2, dt = s.dt;
    const bool walls = !s.periodic;
    const Row box{s.box[0], s.box[1], s.box[2], 0};
    in_parallel(s, [&](Part& part) {
        Real most = 0;
        bool astray = false;
        for (const std::size_t i : particles_of(s, part)) {
            Row v = s.v[i] + half * s.force[i];
            Row to = s.x[i] + dt * v;
            const auto kept = (to > -100 * box) & (to < 100 * box); // what is not a number is astray too
            if (!(kept[0] & kept[1] & kept[2])) {
                astray = true;
                continue;
            }
            for (auto out = (to < 0) | (to > box); walls && (out[0] | out[1] | out[2]); out = (to < 0) | (to > box)) {
                to = to < 0 ? -to : to > box ? box + box - to : to;
                v = out ? -v : v;
            }
            s.v[i] = v;
            s.x[i] = to;
            most = std::max(most, square(to - s.listed[i]));
        }
        move_images(s, part); // of its own particles, so that it need not wait for others
        part.most = most;
        part.astray = astray;
    });
    Real most = 0;
    for (const Part& part : s.parts) {
        if (part.astray) throw Error("a particle crossed the box many times in one step: the time step is too long");
        most = std::max(most, part.most);
    }
    return moved_too_far(s, most);
}

// Error if a force is not finite.
inline void check_forces(const System& s) {
    for (const Row f : std::span(s.force).first(s.n))
        if (!std::isfinite(f[0] + f[1] + f[2]))
            throw Error("a force is not finite: two particles are at one point, or the time step is too long");
}

// Go on by so many time steps; with none, only compute the forces.
inline void advance(System& s, std::size_t steps) {
    with_team(s, [&] {
        if (steps == 0) forces(s, false);
        for (std::size_t step = 0; step < steps; ++step) {
            if (kick_and_drift(s)) rebuild(s);
            forces(s, true);
        }
    });
    check_forces(s);
}

// Complain of particles at one point, and find the forces.
inline void begin(System& s) {
    with_team(s, [&] { rebuild(s); });
    check_distinct(s);
    advance(s, 0);
}

// Sums over the pairs: of their energy, and of r . f.
inline std::array<double, 2> potential_and_virial(const System& s) {
    const Real cutoff2 = s.cutoff * s.cutoff, shift = pair_potential(cutoff2);
    double potential = 0, virial = 0;
    for (std::size_t i = 0; i < s.n; ++i) {
        double u = 0, w = 0;
        for_each_listed(s, i, [&](std::size_t j) {
            const Real r2 = square(s.x[i] - s.x[j]);
            if (r2 < cutoff2) {
                u += pair_potential(r2) - shift;
                w += pair_force(r2) * r2;
            }
        });
        potential += u;
        virial += w;
    }
    return {potential / 2, virial / 2}; // each pair was met from both sides
}

// Position, in the box, velocity and force of the particle that was the i-th when loaded.
inline std::array<Vector, 3> of_particle(const System& s, std::size_t i) {
    const std::size_t at = s.place[i];
    std::array<Vector, 3> rows;
    for (std::size_t k = 0; k < axes; ++k) {
        rows[0][k] = s.periodic ? wrapped(s.x[at][k], s.box[k]) : s.x[at][k];
        rows[1][k] = s.v[at][k];
        rows[2][k] = s.force[at][k];
    }
    return rows;
}

} // namespace particles
