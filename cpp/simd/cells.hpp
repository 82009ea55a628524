// Particles and images in the order of cells.
#pragma once

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

// From how many are in the place before, where each begins.
inline void count_up(std::vector<Index>& first) {
    for (std::size_t c = 1; c < first.size(); ++c) first[c] += first[c - 1];
}

constexpr std::size_t at_a_time = 16; // are read of `sorted`

// Counting sort of particles and images; cells that follow each other along z adjoin.
inline void sort_into_cells(System& s) {
    s.cell.resize(s.total);
    s.inside.resize(s.total + at_a_time); // a vector may begin at the last
    for (auto& along : s.sorted) along.resize(s.total + at_a_time);
    std::fill(s.first.begin(), s.first.end(), 0);
    for (std::size_t i = 0; i < s.total; ++i) ++s.first[(s.cell[i] = cell_of(s, s.x[i], i < s.n ? 2 : 0)) + 1];
    count_up(s.first);
    for (std::size_t i = 0; i < s.total; ++i) {
        const Index at = s.first[s.cell[i]]++;
        s.inside[at] = static_cast<Index>(4 * i);
        for (std::size_t k = 0; k < axes; ++k) s.sorted[k][at] = static_cast<float>(s.x[i][k]);
    }
    std::copy_backward(s.first.begin(), s.first.end() - 1, s.first.end());
    s.first[0] = 0;
}

} // namespace particles
