// Rows of as many particles as a vector has lanes, transposed in registers.
#pragma once

#include "vectors.hpp"

namespace particles {

inline Row halves_added(Lanes a) {
    if constexpr (lanes == 4) {
        return __builtin_shufflevector(a, a, 0, 1, 2, 3);
    } else {
        return __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, lanes / 2, lanes / 2 + 1,
                                                                                   lanes / 2 + 2, lanes / 2 + 3);
    }
}

// The sums over the lanes of each axis, and 0: without leaving the registers.
inline Row sums(const Columns& f) {
    const Row x4 = halves_added(f.x), y4 = halves_added(f.y), z4 = halves_added(f.z), none{};
    const Row xy = __builtin_shufflevector(x4, y4, 0, 4, 2, 6) + __builtin_shufflevector(x4, y4, 1, 5, 3, 7);
    const Row z0 = __builtin_shufflevector(z4, none, 0, 4, 2, 6) + __builtin_shufflevector(z4, none, 1, 5, 3, 7);
    return __builtin_shufflevector(xy, z0, 0, 1, 4, 5) + __builtin_shufflevector(xy, z0, 2, 3, 6, 7);
}

#ifdef __AVX512F__
inline Lanes two_rows(const Real* x, Index a, Index b) {
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_load_pd(x + a)), _mm256_load_pd(x + b), 1);
}

// The coordinates of the rows that begin at `j`. Eight loads and a transpose: three gathers take three times as long.
inline Columns columns(const Real* x, const Index* j) {
    const Lanes a = two_rows(x, j[0], j[2]), b = two_rows(x, j[1], j[3]);
    const Lanes c = two_rows(x, j[4], j[6]), d = two_rows(x, j[5], j[7]);
    const Lanes xz0123 = _mm512_unpacklo_pd(a, b), y0123 = _mm512_unpackhi_pd(a, b);
    const Lanes xz4567 = _mm512_unpacklo_pd(c, d), y4567 = _mm512_unpackhi_pd(c, d);
    constexpr int even_quarters = 0b10'00'10'00, odd_quarters = 0b11'01'11'01;
    return {_mm512_shuffle_f64x2(xz0123, xz4567, even_quarters), _mm512_shuffle_f64x2(y0123, y4567, even_quarters),
            _mm512_shuffle_f64x2(xz0123, xz4567, odd_quarters)};
}
#else
inline Columns columns(const Real* x, const Index* j) {
    const auto row = [x](Index at) { return *reinterpret_cast<const Row*>(x + at); };
    const Row a = row(j[0]), b = row(j[1]), c = row(j[2]), d = row(j[3]);
    const Row xz01 = __builtin_shufflevector(a, b, 0, 4, 2, 6), y01 = __builtin_shufflevector(a, b, 1, 5, 3, 7);
    const Row xz23 = __builtin_shufflevector(c, d, 0, 4, 2, 6), y23 = __builtin_shufflevector(c, d, 1, 5, 3, 7);
    return {__builtin_shufflevector(xz01, xz23, 0, 1, 4, 5), __builtin_shufflevector(y01, y23, 0, 1, 4, 5),
            __builtin_shufflevector(xz01, xz23, 2, 3, 6, 7)};
}
#endif

} // namespace particles
