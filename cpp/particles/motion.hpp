// Motion by velocity Verlet: half kick, drift, forces, half kick.
#pragma once

#include "forces.hpp"
#include "neighbours.hpp"

namespace particles {

// Half a time step of acceleration.
inline void kick(System& s) {
    const Real half = s.dt / 2;
    in_parallel(s.parts, [&s, half](const Part& part) {
        for (std::size_t i = part.first; i < part.end; ++i)
            for (std::size_t k = 0; k < axes; ++k) s.v[i][k] += half * s.force[i][k];
    });
}

// Move by v dt; between walls, bounce until inside. Error if a particle was too fast.
inline void drift(System& s) {
    in_parallel(s.parts, [&s](const Part& part) {
        bool astray = false;
        for (std::size_t i = part.first; i < part.end; ++i)
            for (std::size_t k = 0; k < axes; ++k) {
                const Real side = s.box[k];
                Real to = s.x[i][k] + s.dt * s.v[i][k];
                if (!(std::abs(to) < 100 * side)) { // what is not a number is astray too
                    astray = true;
                    continue;
                }
                while (!s.periodic && (to < 0 || to > side)) {
                    to = to < 0 ? -to : side + side - to;
                    s.v[i][k] = -s.v[i][k];
                }
                s.x[i][k] = to;
            }
        if (astray) throw Error("a particle crossed the box many times in one step: the time step is too long");
    });
}

// Error if a force is not finite.
inline void check_forces(const System& s) {
    for (const Vector& force : s.force)
        for (const Real f : force)
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

// Position, in the box, velocity and force of the particle that was the i-th when loaded.
inline std::array<Vector, 3> of_particle(const System& s, std::size_t i) {
    const std::size_t at = s.place[i];
    Vector x = s.x[at];
    for (std::size_t k = 0; s.periodic && k < axes; ++k) x[k] = wrapped(x[k], s.box[k]);
    return {x, s.v[at], s.force[at]};
}

} // namespace particles
