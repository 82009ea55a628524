// Coordinates under a periodic boundary.
#pragma once

#include <cmath>

#include "numbers.hpp"

namespace particles {

// The coordinate, or that image of it which is in [0, side).
inline Real wrapped(Real x, Real side) {
    const Real inside = x - side * std::floor(x / side);
    return 0 <= inside && inside < side ? inside : Real(0); // rounding takes -1e-17 to the side itself
}

// The coordinate, as precise as the box is large: what rounding cannot tell apart beside a side of the box is one point.
inline Real rounded(Real x, Real side, bool periodic) {
    const volatile Real large = x + side; // or a compiler that may re-order sums would leave it out
    const Real there = large - side;
    return periodic && there >= side ? Real(0) : there;
}

[[noreturn]] inline void refuse_one_point(std::size_t i, std::size_t j) {
    throw Error("particles " + std::to_string(i) + " and " + std::to_string(j) +
                " are at the same point, where the force is infinite");
}

} // namespace particles
