// Particles and images in the order of cells.
#pragma once

#include <span>
#include <utility>

#include "images.hpp"

namespace particles {

// Along each axis, the cell in which the point x is, or that as far from the edge as the rim is wide.
inline std::array<std::size_t, axes> place_of(const System& s, Row x, Signed rim) {
    const Row scaled = x * s.per_side + Real(2); // nothing is asked that is so far below 0 that this rounds up
    std::array<std::size_t, axes> place;
    for (std::size_t k = 0; k < axes; ++k)
        place[k] = static_cast<std::size_t>(
            std::clamp(static_cast<Signed>(scaled[k]), rim, static_cast<Signed>(s.cells[k]) - 1 - rim));
    return place;
}

inline Index cell_of(const System& s, Row x, Signed rim) {
    const auto place = place_of(s, x, rim);
    return static_cast<Index>((place[0] * s.cells[1] + place[1]) * s.cells[2] + place[2]);
}

// Counting sort: in `inside` the numbers of all, in the order of their `place`; in `first`, with room for two places more,
// where there each place begins.
inline void counting_sort(std::span<const Index> place, std::vector<Index>& first, std::vector<Index>& inside) {
    std::fill(first.begin(), first.end(), 0);
    for (const Index p : place) ++first[p + 2];
    for (std::size_t p = 1; p < first.size(); ++p) first[p] += first[p - 1];
    Index i = 0;
    for (const Index p : place) inside[first[p + 1]++] = i++; // so the end of one place becomes the next one's beginning
}

constexpr std::size_t at_a_time = 16; // are read of `sorted`

// Sort particles and images; cells that follow each other along z adjoin.
inline void sort_into_cells(System& s) {
    s.cell.resize(s.total);
    s.inside.resize(s.total + at_a_time); // a vector may begin at the last
    for (auto& along : s.sorted) along.resize(s.total + at_a_time);
    in_parallel(s, [&](const Part& part) {
        for (const std::size_t i : share_of(s, part, s.total)) s.cell[i] = cell_of(s, s.x[i], i < s.n ? 2 : 0);
    });
    counting_sort(s.cell, s.first, s.inside);
    in_parallel(s, [&](const Part& part) {
        for (const std::size_t at : share_of(s, part, s.total)) {
            const Index i = std::exchange(s.inside[at], 4 * s.inside[at]);
            for (std::size_t k = 0; k < axes; ++k) s.sorted[k][at] = static_cast<float>(s.x[i][k]);
        }
    });
}

} // namespace particles
