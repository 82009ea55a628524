// The periodic boundary: positions brought back, and images around the box.
#pragma once

#include "periodic.hpp"
#include "system.hpp"

namespace particles {

// Bring the particles of a periodic box back into it.
inline void wrap(System& s) {
    for (std::size_t i = 0; i < s.n; ++i)
        for (std::size_t k = 0; k < axes; ++k) s.x[i][k] = wrapped(s.x[i][k], s.box[k]);
}

// Append the images within reach of the box.
inline void make_images(System& s) {
    s.x.resize(s.n);
    s.source.clear();
    s.shift.clear();
    for (std::size_t k = 0; s.periodic && k < axes; ++k) { // images of images too: along edges and at corners
        const std::size_t present = s.x.size();            // without those that this direction adds
        for (std::size_t i = 0; i < present; ++i)
            for (const Real by : {-s.box[k], s.box[k]}) {
                if (by > 0 ? s.x[i][k] >= s.reach() : s.x[i][k] < s.box[k] - s.reach()) continue;
                Vector shift = i < s.n ? Vector{} : s.shift[i - s.n], to = s.x[i];
                shift[k] = by;
                to[k] += by;
                s.source.push_back(i < s.n ? static_cast<Index>(i) : s.source[i - s.n]);
                s.shift.push_back(shift);
                s.x.push_back(to);
            }
    }
    s.total = s.x.size();
}

// Nobody comes after the images. He fills lists up, so that no neighbour is left over for a slower loop.
// He is out of reach of all, but no farther: a force so small that it underflows takes a processor a hundred cycles.
// And another behind him: who copies a row may copy a number of the next.
inline void add_nobody(System& s) {
    Vector nowhere;
    nowhere.fill(-2 * s.reach());
    s.x.insert(s.x.end(), 2, nowhere);
}

// Images follow their particles.
inline void move_images(System& s) {
    const std::size_t images = s.source.size(), of = s.parts.size();
    in_parallel(s.parts, [&](const Part& part) {
        for (std::size_t g = images * part.number / of; g < images * (part.number + 1) / of; ++g)
            for (std::size_t k = 0; k < axes; ++k) s.x[s.n + g][k] = s.x[s.source[g]][k] + s.shift[g][k];
    });
}

} // namespace particles
