// The list of neighbours, and how long it holds.
#pragma once

#ifdef PARTICLES_FLOAT32
#include "clusters.hpp"
#else
#include "lists.hpp"
#endif

namespace particles {

// How many rows further on, about, is who comes into a particle's sight next: as many slabs and columns as it sees, even
// numbers of them, for who goes there and back again meets himself at every second; and a column, for memory takes time.
inline std::size_t next_in_sight(const System& s, const Order& order) {
    const auto seen = [&](std::size_t k) { // not quite a half, for what is seen of two is not to be rounded to four
        return 2 * static_cast<std::size_t>(std::ceil(Real(0.499) * s.reach() * order.per_side[k]));
    };
    const std::size_t slabs = order.count[0], columns = order.count[1];
    const std::size_t ahead = s.n * (seen(0) * columns + seen(1) + 1) / (slabs * columns);
    return ahead < s.n ? ahead : 0; // in few slabs all are in sight
}

// Put the particles themselves in an order in which neighbours are near in memory.
inline void sort_particles(System& s) {
    const Order order(s);
    s.ahead = next_in_sight(s, order);
    s.cell.resize(s.n);
    s.inside.resize(s.n);
    s.begin.resize(order.places() + 2);
    in_parallel(s, [&](const Part& part) {
        for (const std::size_t i : particles_of(s, part)) s.cell[i] = static_cast<Index>(order(s.x[i]));
    });
    counting_sort(s.cell, s.begin, s.inside);
    std::vector<Row>&x = s.listed, &v = s.force; // both are found anew after this
    in_parallel(s, [&](const Part& part) {
        for (const std::size_t at : particles_of(s, part)) {
            const Index i = s.inside[at], id = s.id[i];
            x[at] = s.x[i];
            v[at] = s.v[i];
            s.cell[at] = id;
            s.place[id] = static_cast<Index>(at);
        }
    });
    s.x.swap(x);
    s.v.swap(v);
    s.id.swap(s.cell);
}

// Particles sorted, and images, cells and neighbours anew.
inline void rebuild(System& s) {
    wrap(s);
    sort_particles(s);
    make_images(s);
    sort_into_cells(s);
    list_neighbours(s);
}

// Whether two particles can have come within the cutoff that are not in the list, where the largest squared
// displacement is `most`. A little sooner, so that rounding loses no pair: neither that of distances, nor of places.
inline bool moved_too_far(const System& s, Real most) {
    const Real places = *std::max_element(s.box.begin(), s.box.end()) + 2 * s.reach();
    const Real may = std::max(Real(0.499999) * s.skin - 4 * std::numeric_limits<Real>::epsilon() * places, Real(0));
    return !(most <= may * may);
}

// Call act(number of a neighbour or image) for all in the list of particle i, itself perhaps among them.
template <class Action>
void for_each_listed(const System& s, std::size_t i, const Action& act) {
    const std::size_t list = i / members;
    const Part& part = *std::find_if(s.parts.begin(), s.parts.end(), [=](const Part& p) { return list < p.end; });
    for (std::size_t m = part.begin[list - part.first]; m < part.begin[list - part.first + 1]; ++m)
        if (const std::size_t j = part.neighbours[m] / 4; j != i && j < s.total) act(j);
}

// Error if two particles are at one point.
inline void check_distinct(const System& s) {
    for (std::size_t i = 0; i < s.n; ++i)
        for_each_listed(s, i, [&](std::size_t listed) {
            const std::size_t j = listed < s.n ? listed : s.source[listed - s.n];
            bool same = i != j;
            for (std::size_t k = 0; same && k < axes; ++k)
                same = rounded(s.x[i][k], s.box[k], s.periodic) == rounded(s.x[j][k], s.box[k], s.periodic);
            if (same) refuse_one_point(s.id[i], s.id[j]);
        });
}

} // namespace particles
