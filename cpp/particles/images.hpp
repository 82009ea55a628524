// The periodic boundary: positions brought back, and images around the box.
#pragma once

#include "periodic.hpp"
#include "system.hpp"

namespace particles {

// Bring the particles of a periodic box back into it.
inline void wrap(System& s) {
    for (std::size_t k = 0; k < axes; ++k)
        for (std::size_t i = 0; i < s.n; ++i) s.x[k][i] = wrapped(s.x[k][i], s.box[k]);
}

// Append the images within reach of the box.
inline void make_images(System& s) {
    for (auto* rows : {&s.x, &s.shift}) resize(*rows, s.n);
    s.source.resize(s.n);
    for (std::size_t i = 0; i < s.n; ++i) s.source[i] = static_cast<Index>(i);
    for (std::size_t k = 0; s.periodic && k < axes; ++k) { // images of images too: along edges and at corners
        const std::size_t present = s.source.size();       // without those that this direction adds
        for (std::size_t i = 0; i < present; ++i) {
            const Real x = s.x[k][i];
            for (const Real shift : {-s.box[k], s.box[k]}) {
                if (shift > 0 ? x >= s.reach() : x < s.box[k] - s.reach()) continue;
                for (std::size_t m = 0; m < axes; ++m) {
                    const Real by = s.shift[m][i] + (m == k ? shift : Real(0));
                    const Real to = s.x[m][i] + (m == k ? shift : Real(0));
                    s.shift[m].push_back(by);
                    s.x[m].push_back(to);
                }
                s.source.push_back(s.source[i]);
            }
        }
    }
    s.total = s.source.size();
}

// Images follow their particles.
inline void move_images(System& s) {
    for (std::size_t k = 0; k < axes; ++k) {
        Real* x = s.x[k].data();
        const Real* shift = s.shift[k].data();
        const Index* source = s.source.data();
#pragma omp parallel for schedule(static)
        for (Signed i = Signed(s.n); i < Signed(s.total); ++i) x[i] = x[source[i]] + shift[i];
    }
}

} // namespace particles
