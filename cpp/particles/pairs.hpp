// What two particles do to each other. A Number is a Real, or a double where sums are to be exact.
#pragma once

namespace particles {

// Lennard-Jones energy at the squared distance r2, not shifted.
template <class Number>
Number pair_potential(Number r2) {
    const Number s6 = 1 / (r2 * r2 * r2);
    return 4 * (s6 * s6 - s6);
}

// f(r)/r at the squared distance r2.
template <class Number>
Number pair_force(Number r2) {
    const Number s2 = 1 / r2;
    const Number s6 = s2 * s2 * s2;
    return 24 * (2 * s6 * s6 - s6) * s2;
}

} // namespace particles
