// One box of particles: all that a simulation knows of it.
#pragma once

#include <cmath>

#include <omp.h>

#include "parallel.hpp"
#include "parameters.hpp"

namespace particles {

constexpr Real widest_skin = Real(0.3); // how far beyond the cutoff neighbours are listed; any value is right
constexpr std::size_t most_lanes = 16;  // of the vectors that any processor has

// A share of the particles, on which one thread works, and their lists: each begins where the one before it ends.
struct Part {
    std::size_t number;                  // of the part
    std::size_t first, end;              // which particles
    std::vector<Index> neighbours;       // particles and images
    std::vector<std::size_t> begin;      // where each list begins, and the last ends
    std::vector<Index> candidates;       // who may be a neighbour of the particles of one cell
    std::array<std::vector<Real>, axes> where; // they are
    std::vector<Index> near;             // whether they are neighbours of the particle that is looked at
    std::vector<Real> copied;            // positions of the neighbours of one particle, x y z x y z, and a number
    Real moved2;                         // squared, the furthest that one moved since it was listed
};

struct System {
    std::size_t n; // particles
    Vector box;
    bool periodic;
    Real cutoff, skin, dt;

    std::vector<Vector> x;        // positions, of the particles, after them of their images, and of nobody
    std::vector<Vector> v, force; // of the particles
    std::vector<Vector> listed;   // where they were when the neighbours were listed
    std::vector<Index> id;        // particles are sorted: which this one was when loaded
    std::vector<Index> place;     // where the one is that was the i-th then
    std::vector<Index> source;    // the particle of which each image is one
    std::vector<Vector> shift;    // by what
    std::size_t total;            // particles and images

    std::array<std::size_t, axes> cells; // along each axis, with one more on every side for the images
    Vector side;                         // of a cell
    std::vector<Index> cell;             // in which each lies
    std::vector<Index> first;            // where each cell begins in `inside`
    std::vector<Index> inside;           // particles and images in the order of their cells
    std::vector<Vector> sorted;          // their positions in that order

    std::vector<Part> parts;

    Real reach() const { return cutoff + skin; }

    System(const Parameters& p, const Real* position, const Real* velocity)
        : n(p.particles), box(p.box), periodic(p.periodic), cutoff(p.cutoff), skin(std::min(widest_skin, p.cutoff)),
          dt(p.dt), x(n), v(n), force(n), listed(n), id(n), place(n), total(n) {
        for (std::size_t i = 0; i < n; ++i) {
            std::copy_n(position + axes * i, axes, x[i].begin());
            std::copy_n(velocity + axes * i, axes, v[i].begin());
            id[i] = place[i] = static_cast<Index>(i);
        }
        // No more cells than particles, however thin the gas; none smaller than the reach.
        const Real most = std::max(Real(1), std::cbrt(Real(n)));
        std::size_t cubes = 1;
        for (std::size_t k = 0; k < axes; ++k) {
            const Real along = std::floor(std::clamp(box[k] / reach(), Real(1), most));
            cells[k] = static_cast<std::size_t>(along) + 2;
            side[k] = std::max(box[k] / along, reach());
            cubes *= cells[k];
        }
        first.resize(cubes + 1);
        const std::size_t of = p.boxes == 1 ? std::size_t(omp_get_max_threads()) : 1;
        for (std::size_t part = 0; part < of; ++part) {
            parts.emplace_back().number = part;
            parts.back().first = n * part / of;
            parts.back().end = n * (part + 1) / of;
        }
    }
};

// The numbers of a point or a vector, one after the other.
inline Vector operator-(const Vector& a, const Vector& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
inline Real square(const Vector& d) { return d[0] * d[0] + d[1] * d[1] + d[2] * d[2]; }

} // namespace particles
