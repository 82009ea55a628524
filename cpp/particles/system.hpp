// One box of particles: all that a simulation knows of it.
#pragma once

#include <cmath>

#include "parameters.hpp"

namespace particles {

constexpr Real widest_skin = Real(0.4); // how far beyond the cutoff neighbours are listed; any value is right

struct System {
    std::size_t n; // particles
    Vector box;
    bool periodic;
    Real cutoff, skin, dt;

    Coordinates x;             // positions, of the particles and after them of their images
    Coordinates v, force;      // of the particles
    Coordinates listed;        // where they were when the neighbours were listed
    std::vector<Index> source; // the particle of which each is an image; particles are their own
    Coordinates shift;         // of the images, from their particles
    std::size_t total;         // particles and images

    std::array<std::size_t, axes> cells; // along each axis, with two more on every side for the images
    Vector side;                         // of a cell
    std::vector<Index> cell;             // in which each lies
    std::vector<Index> first;            // where each cell begins in `inside`
    std::vector<Index> inside;           // particles and images in the order of their cells
    Coordinates sorted;                  // their positions in that order

    std::vector<Index> neighbours; // a row of `width` for each particle
    std::vector<Index> count;      // of neighbours
    std::size_t width;

    Real reach() const { return cutoff + skin; }

    System(const Parameters& p, const Real* position, const Real* velocity)
        : n(p.particles), box(p.box), periodic(p.periodic), cutoff(p.cutoff), skin(std::min(widest_skin, p.cutoff)),
          dt(p.dt), total(p.particles) {
        for (auto* rows : {&x, &v, &force, &listed, &shift}) resize(*rows, n);
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t k = 0; k < axes; ++k) {
                x[k][i] = position[axes * i + k];
                v[k][i] = velocity[axes * i + k];
            }
        // No more than a few cells for each particle, however thin the gas; none smaller than half the reach.
        const Real most = std::max(Real(1), 2 * std::cbrt(Real(n)));
        std::size_t cubes = 1;
        double density = double(n);
        for (std::size_t k = 0; k < axes; ++k) {
            const Real along = std::floor(std::clamp(box[k] / (reach() / 2), Real(1), most));
            cells[k] = static_cast<std::size_t>(along) + 4;
            side[k] = std::max(box[k] / along, reach() / 2);
            cubes *= cells[k];
            density /= box[k];
        }
        first.resize(cubes + 1);
        count.resize(n);
        width = std::min(n * 27, static_cast<std::size_t>(6 * density * std::pow(reach(), 3)) + 16);
        neighbours.resize(n * width);
    }
};

// Error unless all particles are finite and inside the box.
inline void check_state(const System& s) {
    for (std::size_t i = 0; i < s.n; ++i)
        for (std::size_t k = 0; k < axes; ++k) {
            if (!std::isfinite(s.x[k][i]) || !std::isfinite(s.v[k][i]))
                throw Error("the position or velocity of particle " + std::to_string(i) + " is not a finite number");
            if (s.x[k][i] < 0 || s.x[k][i] > s.box[k])
                throw Error("particle " + std::to_string(i) + " lies outside the box");
        }
}

// As precise as the box is large.
inline Real rounded(const System& s, std::size_t k, std::size_t i) {
    volatile Real large = s.x[k][i] + s.box[k]; // or a compiler that may re-order sums would leave it out
    const Real x = large - s.box[k];
    return s.periodic && x >= s.box[k] ? Real(0) : x;
}

// Error if two particles are at one point; what rounding cannot tell apart beside a side of the box is one.
inline void check_distinct(const System& s) {
    for (std::size_t i = 0; i < s.n; ++i)
        for (std::size_t m = 0; m < s.count[i]; ++m) {
            const std::size_t j = s.source[s.neighbours[i * s.width + m]];
            bool same = i != j;
            for (std::size_t k = 0; k < axes; ++k) same = same && rounded(s, k, i) == rounded(s, k, j);
            if (same)
                throw Error("particles " + std::to_string(i) + " and " + std::to_string(j) +
                            " are at the same point, where the force is infinite");
        }
}

} // namespace particles
