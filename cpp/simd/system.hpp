// One box of particles, laid out for vector registers.
#pragma once

#include <cmath>
#include <ranges>

#include <omp.h>

#include "../particles/parameters.hpp"
#include "team.hpp"
#include "vectors.hpp"

namespace particles {

#ifdef PARTICLES_FLOAT32
constexpr std::size_t members = 8; // particles that share a list
#else
constexpr std::size_t members = 1;
#endif
constexpr Real widest_skin = Real(0.4); // how far beyond the cutoff neighbours are listed; any value is right

// A share of the particles, on which one thread at a time works, and their lists: each begins where the one before it ends.
struct Part {
    std::size_t number;             // of the part
    std::size_t first, end;         // which lists
    std::vector<Index> neighbours;  // four times the number of each, where its row begins; lists are filled up with nobody
    std::vector<std::size_t> begin; // where each list begins, and the last ends
    Real most = 0;                  // of its particles' squared displacements since they were listed
    bool astray = false;            // whether one of them was too fast
    std::size_t first_image = 0, end_image = 0; // of its particles
};

struct System {
    std::size_t n; // particles
    Vector box;
    bool periodic;
    Real cutoff, skin, dt;

    std::vector<Row> x;        // positions: of the particles, their images, and of nobody
    std::vector<Row> v, force; // of the particles, in whole lists
    std::vector<Row> listed;   // where they were when the neighbours were listed
    std::vector<Index> id;     // particles are sorted: which this one was when loaded
    std::vector<Index> place;  // where the one is that was the i-th then
    std::vector<Index> source; // the particle of which each is an image, from the n-th on
    std::vector<Row> shift;    // by what
    std::size_t total;         // particles and images

    std::array<std::size_t, axes> cells; // along each axis, with two more on every side for the images
    Row per_side;                        // cells for a length
    std::vector<Index> cell;             // in which each lies
    std::vector<Index> first;            // where each cell begins in `inside`, and the last ends, twice
    std::vector<Index> inside;           // four times the number of each particle and image, in the order of cells
    std::array<std::vector<float>, axes> sorted; // their positions in that order, roughly
    float rough_reach2; // what single precision may find for the square of the reach
    std::vector<Index> begin;            // likewise, where particles of each place in their order begin
    std::size_t ahead = 0;               // how many rows further on, about, is who comes into sight next

    std::vector<Part> parts;
    Team* team = nullptr; // the threads, within with_team

    std::size_t lists() const { return (n + members - 1) / members; }

    Real reach() const { return cutoff + skin; }

    // Have them fetched from memory who come into sight next of those who share the i-th particle's list, of whom it is the
    // first: as many, in lines of memory of four rows at most. What is beyond the end is not read.
    void fetch_ahead(std::size_t i) const {
        for (std::size_t k = 0; k < members; k += 4) __builtin_prefetch(x.data() + i + ahead + k);
    }

    System(const Parameters& p, const Real* position, const Real* velocity)
        : n(p.particles), box(p.box), periodic(p.periodic), cutoff(p.cutoff), skin(std::min(widest_skin, p.cutoff)),
          dt(p.dt), total(p.particles) {
        for (auto* rows : {&x, &v, &force, &listed}) rows->resize(members * lists(), Row{});
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t k = 0; k < axes; ++k) {
                x[i][k] = position[axes * i + k];
                v[i][k] = velocity[axes * i + k];
            }
        for (std::size_t i = 0; i < n; ++i) id.push_back(static_cast<Index>(i));
        place = id;
        // No more than a few cells for each particle, however thin the gas; none smaller than half the reach.
        const Real most = std::max(Real(1), 2 * std::cbrt(Real(n)));
        std::size_t cubes = 1;
        per_side = Row{};
        for (std::size_t k = 0; k < axes; ++k) {
            const Real along = std::floor(std::clamp(box[k] / (reach() / 2), Real(1), most));
            cells[k] = static_cast<std::size_t>(along) + 4;
            per_side[k] = 1 / std::max(box[k] / along, reach() / 2);
            cubes *= cells[k];
        }
        first.resize(cubes + 2);
        // Coordinates are rounded, and so are their differences.
        const float places = float(*std::max_element(box.begin(), box.end()) + reach());
        const float farthest = float(reach()) + 4 * std::numeric_limits<float>::epsilon() * places;
        rough_reach2 = farthest * farthest;
        const std::size_t of = p.boxes == 1 ? std::size_t(omp_get_max_threads()) : 1;
        for (std::size_t part = 0; part < of; ++part) {
            const std::size_t from = lists() * part / of, end = lists() * (part + 1) / of;
            parts.push_back({part, from, end, {}, std::vector<std::size_t>(end - from + 1)});
        }
    }
};

// Call act() while a team of threads is there to share what is in it.
template <class Action>
void with_team(System& s, const Action& act) {
    Team::gather(s.parts.size(), [&](Team& team) {
        s.team = &team;
        act();
        s.team = nullptr;
    });
}

// Call act(part) for each part, at the same time.
template <class Action>
void in_parallel(System& s, const Action& act) {
    s.team->share([&](std::size_t number) { act(s.parts[number]); });
}

// The numbers of the particles of a part.
inline auto particles_of(const System& s, const Part& part) {
    return std::views::iota(members * part.first, std::min(members * part.end, s.n));
}

// The numbers of a part of so many others.
inline auto share_of(const System& s, const Part& part, std::size_t count) {
    const std::size_t of = s.parts.size();
    return std::views::iota(count * part.number / of, count * (part.number + 1) / of);
}

} // namespace particles
