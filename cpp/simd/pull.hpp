// What neighbours do to particles, in vectors.
#pragma once

#include "../particles/pairs.hpp"
#include "vectors.hpp"

namespace particles {

// Add to the forces `f` those over the vectors `d`, from where `near` says of the squared distance that they count.
template <class Near>
void pull(Columns& f, const Columns& d, const Near& near) {
    const Lanes r2 = square(d);
    const Lanes f_over_r = near(r2) ? pair_force(r2) : Lanes{};
    f.x += f_over_r * d.x;
    f.y += f_over_r * d.y;
    f.z += f_over_r * d.z;
}

} // namespace particles
