// Motion by velocity Verlet: half kick, drift, forces, half kick.
#pragma once

#include "forces.hpp"
#include "neighbours.hpp"

namespace particles {

// Half a time step of acceleration.
inline void kick(System& s) {
    const Real half = s.dt / 2;
    for (std::size_t k = 0; k < axes; ++k) {
        Real* v = s.v[k].data();
        const Real* force = s.force[k].data();
#pragma omp parallel for schedule(static)
        for (Signed i = 0; i < Signed(s.n); ++i) v[i] += half * force[i];
    }
}

// Move by v dt; between walls, bounce until inside. Error if a particle was too fast.
inline void drift(System& s) {
    int astray = 0;
    for (std::size_t k = 0; k < axes; ++k) {
        const Real side = s.box[k], far = 100 * side, dt = s.dt;
        Real *x = s.x[k].data(), *v = s.v[k].data();
        const bool walls = !s.periodic;
#pragma omp parallel for schedule(static) reduction(+ : astray)
        for (Signed i = 0; i < Signed(s.n); ++i) {
            Real to = x[i] + dt * v[i];
            if (!(std::abs(to) < far)) { // what is not a number is astray too
                ++astray;
                continue;
            }
            while (walls && (to < 0 || to > side)) {
                to = to < 0 ? -to : side + side - to;
                v[i] = -v[i];
            }
            x[i] = to;
        }
    }
    if (astray) throw Error("a particle crossed the box many times in one step: the time step is too long");
}

// Error if a force is not finite.
inline void check_forces(const System& s) {
    for (const auto& row : s.force)
        for (const Real f : row)
            if (!std::isfinite(f))
                throw Error("a force is not finite: two particles are at one point, or the time step is too long");
}

// Go on by so many time steps; with none, only compute the forces.
inline void advance(System& s, std::size_t steps) {
    if (steps == 0) forces(s);
    for (std::size_t step = 0; step < steps; ++step) {
        kick(s);
        drift(s);
        if (moved_too_far(s))
            rebuild(s);
        else
            move_images(s);
        forces(s);
        kick(s);
    }
    check_forces(s);
}

// Complain of particles at one point, and find the forces.
inline void begin(System& s) {
    rebuild(s);
    check_distinct(s);
    advance(s, 0);
}

// Position, in the box, velocity and force of a particle.
inline std::array<Vector, 3> of_particle(const System& s, std::size_t i) {
    std::array<Vector, 3> rows;
    for (std::size_t k = 0; k < axes; ++k) {
        rows[0][k] = s.periodic ? wrapped(s.x[k][i], s.box[k]) : s.x[k][i];
        rows[1][k] = s.v[k][i];
        rows[2][k] = s.force[k][i];
    }
    return rows;
}

} // namespace particles
