// The list of neighbours, and how long it holds.
#pragma once

#include <algorithm>

#include "images.hpp"

namespace particles {

// Counting sort of the first so many, particles and images; cells that follow each other along z adjoin.
inline void sort_into_cells(System& s, std::size_t count) {
    s.cell.resize(count);
    s.inside.resize(count);
    s.sorted.resize(count);
    std::fill(s.first.begin(), s.first.end(), 0);
    for (std::size_t i = 0; i < count; ++i) {
        const Signed rim = i < s.n ? 1 : 0; // the outer cells are for images, also where a particle touches a wall
        std::size_t c = 0;
        for (std::size_t k = 0; k < axes; ++k) {
            const auto last = static_cast<Signed>(s.cells[k]) - 1 - rim;
            const auto place = static_cast<Signed>(std::floor(s.x[i][k] / s.side[k])) + 1;
            c = c * s.cells[k] + static_cast<std::size_t>(std::clamp(place, rim, last));
        }
        s.cell[i] = static_cast<Index>(c);
        ++s.first[c + 1];
    }
    for (std::size_t c = 1; c < s.first.size(); ++c) s.first[c] += s.first[c - 1];
    for (std::size_t i = 0; i < count; ++i) {
        const Index at = s.first[s.cell[i]]++; // ends as the beginning of the next cell
        s.inside[at] = static_cast<Index>(i);
        s.sorted[at] = s.x[i];
    }
    std::copy_backward(s.first.begin(), s.first.end() - 1, s.first.end());
    s.first[0] = 0;
}

// Put the particles themselves in the order of their cells: who is near in space is then near in memory.
inline void sort_particles(System& s) {
    sort_into_cells(s, s.n);
    std::copy_n(s.sorted.begin(), s.n, s.x.begin());
    for (std::size_t i = 0; i < s.n; ++i) s.sorted[i] = s.v[s.inside[i]];
    std::copy_n(s.sorted.begin(), s.n, s.v.begin());
    for (std::size_t i = 0; i < s.n; ++i) s.inside[i] = s.id[s.inside[i]];
    s.id = s.inside;
    for (std::size_t i = 0; i < s.n; ++i) s.place[s.id[i]] = static_cast<Index>(i);
}

// Copy to one place all that is within reach of the box around the particles of a cell, and count it.
inline std::size_t find_candidates(const System& s, std::size_t cell, Part& part) {
    Vector low = s.sorted[s.first[cell]], high = low;
    for (Index k = s.first[cell]; k < s.first[cell + 1]; ++k)
        for (std::size_t axis = 0; axis < axes; ++axis) {
            low[axis] = std::min(low[axis], s.sorted[k][axis]);
            high[axis] = std::max(high[axis], s.sorted[k][axis]);
        }
    std::size_t found = 0;
    const std::size_t columns = s.cells[2], rows = s.cells[1] * columns;
    for (std::size_t a = 0; a < 3; ++a)
        for (std::size_t b = 0; b < 3; ++b) {
            const std::size_t c = cell + a * rows + b * columns - rows - columns;
            const Index begin = s.first[c - 1], end = s.first[c + 2]; // three cells in a row along z
            if (const std::size_t room = found + (end - begin); room > part.near.size()) {
                for (auto& along : part.where) along.resize(2 * room);
                part.candidates.resize(2 * room);
                part.near.resize(2 * room);
            }
            for (Index k = begin; k < end; ++k) { // no branch: what is not near is overwritten by the next
                const Vector x = s.sorted[k];
                Vector beside;
                for (std::size_t axis = 0; axis < axes; ++axis) {
                    part.where[axis][found] = x[axis];
                    beside[axis] = x[axis] - std::clamp(x[axis], low[axis], high[axis]);
                }
                part.candidates[found] = s.inside[k];
                found += square(beside) < s.reach() * s.reach();
            }
        }
    return found;
}

// List all within reach of each particle, in whole vectors.
inline void list_neighbours(System& s) {
    in_parallel(s.parts, [&s](Part& part) {
        const Real reach2 = s.reach() * s.reach();
        const Index nobody = static_cast<Index>(s.total);
        std::size_t listed = 0, most = 0, found = 0, here = s.first.size();
        part.begin.assign(1, 0);
        for (std::size_t i = part.first; i < part.end; ++i) {
            if (here != s.cell[i]) { // the candidates of the last particle may do
                here = s.cell[i];
                found = find_candidates(s, here, part);
            }
            const std::size_t room = listed + found + most_lanes;
            if (room > part.neighbours.size()) part.neighbours.resize(2 * room);
            const Real *x = part.where[0].data(), *y = part.where[1].data(), *z = part.where[2].data();
            const auto [xi, yi, zi] = s.x[i];
            const Index* who = part.candidates.data();
            Index* near = part.near.data();
            // Two loops without a branch: one that runs in vectors, and one that keeps who is near.
            for (std::size_t k = 0; k < found; ++k) {
                const Real dx = xi - x[k], dy = yi - y[k], dz = zi - z[k];
                near[k] = (dx * dx + dy * dy + dz * dz < reach2) & (who[k] != Index(i));
            }
            Index* mine = part.neighbours.data();
            for (std::size_t k = 0; k < found; ++k) {
                mine[listed] = who[k];
                listed += near[k];
            }
            std::fill_n(mine + listed, most_lanes, nobody);
            listed = (listed + most_lanes - 1) / most_lanes * most_lanes;
            most = std::max(most, listed - part.begin.back());
            part.begin.push_back(listed);
        }
        if (3 * most >= part.copied.size()) part.copied.resize(3 * most + 1);
        std::copy(s.x.begin() + Signed(part.first), s.x.begin() + Signed(part.end), s.listed.begin() + Signed(part.first));
    });
}

// Particles sorted, and images, cells and neighbours anew.
inline void rebuild(System& s) {
    if (s.periodic) wrap(s);
    sort_particles(s);
    make_images(s);
    add_nobody(s);
    sort_into_cells(s, s.total);
    list_neighbours(s);
}

// Call act(j) for each j in the list of the particle i; nobody is not.
template <class Action>
void for_each_listed(const System& s, std::size_t i, const Action& act) {
    const Part& part = *std::find_if(s.parts.begin(), s.parts.end(), [i](const Part& p) { return i < p.end; });
    for (std::size_t m = part.begin[i - part.first]; m < part.begin[i - part.first + 1]; ++m)
        if (const std::size_t j = part.neighbours[m]; j < s.total) act(j);
}

// Error if two particles are at one point.
inline void check_distinct(const System& s) {
    for (std::size_t i = 0; i < s.n; ++i)
        for_each_listed(s, i, [&s, i](std::size_t j) {
            if (j >= s.n) j = s.source[j - s.n];
            bool same = i != j;
            for (std::size_t k = 0; same && k < axes; ++k)
                same = rounded(s.x[i][k], s.box[k], s.periodic) == rounded(s.x[j][k], s.box[k], s.periodic);
            if (same) refuse_one_point(s.id[i], s.id[j]);
        });
}

// Whether two particles can have come within the cutoff that are not in the list.
inline bool moved_too_far(System& s) {
    in_parallel(s.parts, [&s](Part& part) {
        Real most = 0;
        for (std::size_t i = part.first; i < part.end; ++i) most = std::max(most, square(s.x[i] - s.listed[i]));
        part.moved2 = most;
    });
    Real most = 0;
    for (const Part& part : s.parts) most = std::max(most, part.moved2);
    return !(most <= s.skin * s.skin / 4);
}

} // namespace particles
