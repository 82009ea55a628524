// What neighbours do to particles, in vectors.
#pragma once

#include "vectors.hpp"

namespace particles {

// f(r)/r, rearranged to save two multiplications of the textbook's form, which the plain port has: with s = 1/r2 and
// u = k/r2, 24 (2 s^6 - s^3) s = u^4 (u^3 - b), if k^7 = 48 and b = k^3 / 2.
inline Lanes pair_forces(Lanes r2) {
    constexpr Real k = Real(1.7385105064447572), b = Real(2.6272534028385754);
    const Lanes u = k / r2, u2 = u * u;
    return (u2 * u - b) * (u2 * u2);
}

// Add to the forces `f` those over the vectors `d`, from where `near` says of the squared distance that they count.
template <class Near>
void pull(Columns& f, const Columns& d, const Near& near) {
    const Lanes r2 = square(d);
    const Lanes f_over_r = near(r2) ? pair_forces(r2) : Lanes{};
    f.x += f_over_r * d.x;
    f.y += f_over_r * d.y;
    f.z += f_over_r * d.z;
}

} // namespace particles
