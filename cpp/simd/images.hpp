// Images of the particles near the faces of a periodic box.
#pragma once

#include "../particles/periodic.hpp"
#include "system.hpp"

namespace particles {

// Bring the particles of a periodic box back into it.
inline void wrap(System& s) {
    if (!s.periodic) return;
    in_parallel(s, [&](const Part& part) {
        for (const std::size_t i : particles_of(s, part))
            for (std::size_t k = 0; k < axes; ++k) s.x[i][k] = wrapped(s.x[i][k], s.box[k]);
    });
}

// By how many sides of the periodic box, along an axis, the first and the last within reach of it are moved of the particle
// at x and its images.
inline std::pair<int, int> sides_moved(const System& s, Row x, std::size_t k) {
    return {x[k] >= s.box[k] - s.reach() ? -1 : 0, x[k] < s.reach() ? 1 : 0};
}

// Those of a part of the particles.
inline void count_images(const System& s, Part& part) {
    std::size_t images = 0;
    for (const std::size_t i : particles_of(s, part)) {
        std::size_t copies = 1; // with itself
        for (std::size_t k = 0; k < axes; ++k) {
            const auto [first, last] = sides_moved(s, s.x[i], k);
            copies *= static_cast<std::size_t>(last - first + 1);
        }
        images += copies - 1;
    }
    part.end_image = images;
}

// Those of a part of the particles: of whom they are, and where.
inline void place_images(System& s, const Part& part) {
    std::size_t image = part.first_image;
    for (const std::size_t i : particles_of(s, part)) {
        const Row x = s.x[i];
        const auto along_x = sides_moved(s, x, 0), along_y = sides_moved(s, x, 1), along_z = sides_moved(s, x, 2);
        for (int a = along_x.first; a <= along_x.second; ++a)
            for (int b = along_y.first; b <= along_y.second; ++b)
                for (int c = along_z.first; c <= along_z.second; ++c) {
                    if (a == 0 && b == 0 && c == 0) continue;
                    s.source[image] = static_cast<Index>(i);
                    s.shift[image] = Row{Real(a) * s.box[0], Real(b) * s.box[1], Real(c) * s.box[2], 0};
                    s.x[s.n + image] = x + s.shift[image];
                    ++image;
                }
    }
}

// Append the images within reach of the box, and nobody after them.
inline void make_images(System& s) {
    s.total = s.n;
    if (s.periodic) {
        in_parallel(s, [&](Part& part) { count_images(s, part); });
        for (Part& part : s.parts) {
            part.first_image = s.total - s.n;
            s.total += std::exchange(part.end_image, part.first_image + part.end_image);
        }
    }
    if (s.total > std::numeric_limits<Index>::max() / 4 - members) throw Error("particles and images cannot be listed in 32 bits");
    s.source.resize(s.total - s.n);
    s.shift.resize(s.total - s.n);
    // Nobody is out of reach, but no farther: so small a force that it underflows would take all lanes 100 cycles.
    const Real out = -2 * s.reach();
    const std::size_t rows = std::max(s.total + 1, whole(s.n, members));
    s.x.resize(rows);
    std::fill(s.x.begin() + static_cast<Signed>(s.total), s.x.end(), Row{out, out, out, 0});
    if (s.periodic) in_parallel(s, [&](const Part& part) { place_images(s, part); });
}

// Images follow the particles of a part.
inline void move_images(System& s, const Part& part) {
    for (std::size_t g = part.first_image; g < part.end_image; ++g) s.x[s.n + g] = s.x[s.source[g]] + s.shift[g];
}

} // namespace particles
