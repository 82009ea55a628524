// A list for each particle, whose neighbours are looked at as many at a time as a vector has lanes.
#pragma once

#include "candidates.hpp"
#include "columns.hpp"
#include "pull.hpp"

namespace particles {

// The order of the cells.
struct Order {
    const System& s;
    std::array<std::size_t, 2> count{s.cells[0] - 4, s.cells[1] - 4}; // slabs, and columns in each; the rim is for images
    Row per_side = s.per_side;
    std::size_t places() const { return s.first.size() - 2; }
    std::size_t operator()(Row x) const { return cell_of(s, x, 2); }
};

// List all within reach of each particle.
inline void list_neighbours(System& s) {
    const std::size_t columns = s.cells[2], rows = s.cells[1] * columns;
    const auto nobody = static_cast<Index>(4 * s.total);
    std::size_t most = 0; // in a run of five cells
    for (std::size_t c = 5; c < s.first.size(); ++c) most = std::max<std::size_t>(most, s.first[c] - s.first[c - 5]);
    in_parallel(s, [=, &s](Part& part) {
        const Candidates all(s);
        std::size_t listed = 0;
        for (std::size_t i = part.first; i < part.end; ++i) {
            part.begin[i - part.first] = listed;
            s.listed[i] = s.x[i];
            const float x = float(s.x[i][0]), y = float(s.x[i][1]), z = float(s.x[i][2]);
            const std::size_t cell = s.cell[i];
            Index *const mine = room_for(part, listed, 25 * most), *out = mine;
            for (std::size_t a = 0; a < 5; ++a)
                for (std::size_t b = 0; b < 5; ++b) {
                    const std::size_t c = cell + a * rows + b * columns - 2 * rows - 2 * columns;
                    const Index begin = all.first[c - 2], end = all.first[c + 3]; // five cells in a row along z
                    out += list_run(all, begin, end, Index(4 * i), out, [=](auto xs, auto ys, auto zs) {
                        const auto dx = x - xs, dy = y - ys, dz = z - zs;
                        return dx * dx + dy * dy + dz * dz;
                    });
                }
            std::fill_n(out, lanes, nobody);
            listed += whole(static_cast<std::size_t>(out - mine), lanes);
        }
        part.begin[part.end - part.first] = listed;
        std::fill_n(room_for(part, listed, 0), 2 * lanes, nobody); // forces() looks so far ahead
    });
}

// Force on each particle from its neighbours within the cutoff, and the second half kick.
//
// The coordinates of two vectors of neighbours are on their way, be they the next particle's, while the forces of those
// before them are found: the processor has no room for so many operations that wait that it would come to them by itself.
inline void forces(System& s, bool and_kick) {
    const Real* x = reinterpret_cast<const Real*>(s.x.data());
    const Lanes cutoff2 = splat(s.cutoff * s.cutoff);
    const Real half = and_kick ? s.dt / 2 : Real(0);
    in_parallel(s, [&](const Part& part) {
        const Index *mine = part.neighbours.data(), *j = mine;
        Columns next = columns(x, j), after = columns(x, j + lanes);
        for (std::size_t i = part.first; i < part.end; ++i) {
            const Columns here{splat(x[4 * i]), splat(x[4 * i + 1]), splat(x[4 * i + 2])};
            const Index* end = mine + part.begin[i - part.first + 1];
            s.fetch_ahead(i);
            Columns f{};
            for (; j < end; j += lanes) {
                const Columns d = here - (look_ahead ? next : columns(x, j));
                if constexpr (look_ahead) next = after, after = columns(x, j + 2 * lanes);
                __builtin_prefetch(j + 64 * lanes); // the list is read once, from far away
                pull(f, d, [&](Lanes r2) { return r2 < cutoff2; });
            }
            const Row force = sums(f);
            s.force[i] = force;
            s.v[i] += half * force;
        }
    });
}

} // namespace particles
