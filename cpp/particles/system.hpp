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
        width = static_cast<std::size_t>(std::min(27.0 * n, 6 * density * std::pow(reach(), 3))) + 16;
        neighbours.resize(n * width);
    }
};

} // namespace particles
