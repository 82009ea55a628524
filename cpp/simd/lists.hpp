// A list for each particle, whose neighbours are looked at as many at a time as a vector has lanes.
#pragma once

#include "candidates.hpp"
#include "columns.hpp"
#include "pull.hpp"

namespace particles {

// The order of the cells.
struct Order {
    const System& s;
    std::size_t places() const { return s.first.size() - 1; }
    std::size_t operator()(Row x) const { return cell_of(s, x, 2); } // the rim is for images
};

// List all within reach of each particle.
inline void list_neighbours(System& s) {
    const std::size_t columns = s.cells[2], rows = s.cells[1] * columns;
    const auto nobody = static_cast<Index>(4 * s.total);
    in_parallel(s, [&](Part& part) {
        std::size_t listed = 0;
        for (std::size_t i = part.first; i < part.end; ++i) {
            part.begin[i - part.first] = listed;
            const float x = float(s.x[i][0]), y = float(s.x[i][1]), z = float(s.x[i][2]);
            for (std::size_t a = 0; a < 5; ++a)
                for (std::size_t b = 0; b < 5; ++b) {
                    const std::size_t c = s.cell[i] + a * rows + b * columns - 2 * rows - 2 * columns;
                    const Index begin = s.first[c - 2], end = s.first[c + 3]; // five cells in a row along z
                    Index* out = room_for(part, listed, end - begin);
                    listed += list_run(s, begin, end, Index(4 * i), out, [=](auto xs, auto ys, auto zs) {
                        const auto dx = x - xs, dy = y - ys, dz = z - zs;
                        return dx * dx + dy * dy + dz * dz;
                    });
                }
            std::fill_n(room_for(part, listed, 0), lanes, nobody);
            listed = whole(listed, lanes);
        }
        part.begin[part.end - part.first] = listed;
    });
}

// Force on each particle from its neighbours within the cutoff, and the second half kick.
inline void forces(System& s, bool and_kick) {
    const Real* x = reinterpret_cast<const Real*>(s.x.data());
    const Lanes cutoff2 = splat(s.cutoff * s.cutoff);
    const Real half = and_kick ? s.dt / 2 : Real(0);
    in_parallel(s, [&](const Part& part) {
        const Index *mine = part.neighbours.data(), *j = mine;
        for (std::size_t i = part.first; i < part.end; ++i) {
            const Columns here{splat(x[4 * i]), splat(x[4 * i + 1]), splat(x[4 * i + 2])};
            const Index* end = mine + part.begin[i - part.first + 1];
            Columns f{};
            for (; j < end; j += lanes) pull(f, here - columns(x, j), [&](Lanes r2) { return r2 < cutoff2; });
            const Row force = sums(f);
            s.force[i] = force;
            s.v[i] += half * force;
        }
    });
}

} // namespace particles
