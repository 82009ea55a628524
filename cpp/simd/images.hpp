// Images of the particles near the faces of a periodic box.
#pragma once

#include "../particles/periodic.hpp"
#include "system.hpp"

namespace particles {

// Bring the particles of a periodic box back into it.
inline void wrap(System& s) {
    for (std::size_t i = 0; s.periodic && i < s.n; ++i)
        for (std::size_t k = 0; k < axes; ++k) s.x[i][k] = wrapped(s.x[i][k], s.box[k]);
}

// Append the images within reach of the box, and nobody after them.
inline void make_images(System& s) {
    s.x.resize(s.n);
    s.shift.clear();
    s.source.clear();
    for (std::size_t k = 0; s.periodic && k < axes; ++k) { // images of images too: along edges and at corners
        const std::size_t present = s.x.size();            // without those that this direction adds
        for (std::size_t i = 0; i < present; ++i)
            for (const Real by : {-s.box[k], s.box[k]}) {
                const Row x = s.x[i];
                if (by > 0 ? x[k] >= s.reach() : x[k] < s.box[k] - s.reach()) continue;
                Row shift = i < s.n ? Row{} : s.shift[i - s.n];
                const Index source = i < s.n ? static_cast<Index>(i) : s.source[i - s.n];
                shift[k] = by;
                s.shift.push_back(shift);
                s.source.push_back(source);
                s.x.push_back(s.x[source] + shift);
            }
    }
    s.total = s.x.size();
    if (s.total > std::numeric_limits<Index>::max() / 4 - members) throw Error("particles and images cannot be listed in 32 bits");
    // Nobody is out of reach, but no farther: so small a force that it underflows would take all lanes 100 cycles.
    const Real out = -2 * s.reach();
    s.x.resize(std::max(s.total + 1, whole(s.n, members)), Row{out, out, out, 0});
}

// Images follow their particles.
inline void move_images(System& s) {
    const std::size_t images = s.source.size(), of = s.parts.size();
    in_parallel(s, [&](const Part& part) {
        for (std::size_t g = images * part.number / of; g < images * (part.number + 1) / of; ++g)
            s.x[s.n + g] = s.x[s.source[g]] + s.shift[g];
    });
}

} // namespace particles
