// The list of neighbours, and how long it holds.
#pragma once

#include "images.hpp"

namespace particles {

// Counting sort of particles and images; cells that follow each other along z adjoin.
inline void sort_into_cells(System& s) {
    s.cell.resize(s.total);
    s.inside.resize(s.total);
    resize(s.sorted, s.total);
    std::fill(s.first.begin(), s.first.end(), 0);
    for (std::size_t i = 0; i < s.total; ++i) {
        const Signed rim = i < s.n ? 2 : 0; // the outer cells are for images, also where a particle touches a wall
        std::size_t c = 0;
        for (std::size_t k = 0; k < axes; ++k) {
            const auto last = static_cast<Signed>(s.cells[k]) - 1 - rim;
            const auto place = static_cast<Signed>(std::floor(s.x[k][i] / s.side[k])) + 2;
            c = c * s.cells[k] + static_cast<std::size_t>(std::clamp(place, rim, last));
        }
        s.cell[i] = static_cast<Index>(c);
        ++s.first[c + 1];
    }
    for (std::size_t c = 1; c < s.first.size(); ++c) s.first[c] += s.first[c - 1];
    for (std::size_t i = 0; i < s.total; ++i) {
        const Index at = s.first[s.cell[i]]++; // ends as the beginning of the next cell
        s.inside[at] = static_cast<Index>(i);
        for (std::size_t k = 0; k < axes; ++k) s.sorted[k][at] = s.x[k][i];
    }
    std::copy_backward(s.first.begin(), s.first.end() - 1, s.first.end());
    s.first[0] = 0;
}

// List all within reach of each particle; the room that the fullest row needs.
inline std::size_t list_neighbours(System& s) {
    const Real reach2 = s.reach() * s.reach();
    const std::size_t columns = s.cells[2], rows = s.cells[1] * columns;
    std::size_t needed = 0;
#pragma omp parallel for schedule(static) reduction(max : needed)
    for (Signed i = 0; i < Signed(s.n); ++i) {
        const Real xi = s.x[0][i], yi = s.x[1][i], zi = s.x[2][i];
        Index* mine = s.neighbours.data() + std::size_t(i) * s.width;
        std::size_t found = 0;
        for (std::size_t a = 0; a < 5; ++a)
            for (std::size_t b = 0; b < 5; ++b) {
                const std::size_t c = s.cell[i] + a * rows + b * columns - 2 * rows - 2 * columns;
                const Index begin = s.first[c - 2], end = s.first[c + 3]; // five cells in a row along z
                needed = std::max(needed, found + (end - begin));
                if (found + (end - begin) > s.width) continue;
                for (Index k = begin; k < end; ++k) { // no branch: what is not near is overwritten by the next
                    const Real dx = xi - s.sorted[0][k], dy = yi - s.sorted[1][k], dz = zi - s.sorted[2][k];
                    mine[found] = s.inside[k];
                    found += (dx * dx + dy * dy + dz * dz < reach2) & (s.inside[k] != Index(i));
                }
            }
        s.count[i] = static_cast<Index>(found);
    }
    return needed;
}

// Images, cells and neighbours anew, in more room if need be.
inline void rebuild(System& s) {
    if (s.periodic) wrap(s);
    make_images(s);
    sort_into_cells(s);
    for (std::size_t needed; (needed = list_neighbours(s)) > s.width;) {
        s.width = needed + needed / 2;
        s.neighbours.resize(s.n * s.width);
    }
    for (std::size_t k = 0; k < axes; ++k) std::copy_n(s.x[k].begin(), s.n, s.listed[k].begin());
}

// Error if two particles are at one point.
inline void check_distinct(const System& s) {
    for (std::size_t i = 0; i < s.n; ++i)
        for (std::size_t m = 0; m < s.count[i]; ++m) {
            const std::size_t j = s.source[s.neighbours[i * s.width + m]];
            bool same = i != j;
            for (std::size_t k = 0; same && k < axes; ++k)
                same = rounded(s.x[k][i], s.box[k], s.periodic) == rounded(s.x[k][j], s.box[k], s.periodic);
            if (same) refuse_one_point(i, j);
        }
}

// Whether two particles can have come within the cutoff that are not in the list.
inline bool moved_too_far(const System& s) {
    Real most = 0;
#pragma omp parallel for schedule(static) reduction(max : most)
    for (Signed i = 0; i < Signed(s.n); ++i) {
        const Real dx = s.x[0][i] - s.listed[0][i], dy = s.x[1][i] - s.listed[1][i], dz = s.x[2][i] - s.listed[2][i];
        most = std::max(most, dx * dx + dy * dy + dz * dz);
    }
    return !(most <= s.skin * s.skin / 4);
}

} // namespace particles
