// A list for each particle, whose neighbours are looked at as many at a time as a vector has lanes.
#pragma once

#include "cells.hpp"
#include "columns.hpp"
#include "pull.hpp"

namespace particles {

// The order of the cells.
struct Order {
    const System& s;
    std::size_t places() const { return s.first.size() - 1; }
    std::size_t operator()(Row x) const { return cell_of(s, x, 2); } // the rim is for images
};

// Write those of the run [begin, end) in cell order that are within reach of particle i, and say how many.
inline std::size_t list_run(const System& s, Index i, Index begin, Index end, Index* out) {
    const Row x = s.x[i];
    const Real reach2 = s.reach() * s.reach();
    const Real *xs = s.sorted[0].data(), *ys = s.sorted[1].data(), *zs = s.sorted[2].data();
    const Index* inside = s.inside.data();
    std::size_t found = 0;
#if defined(__AVX512F__) && defined(__AVX512VL__)
    const __m512d xi = _mm512_set1_pd(x[0]), yi = _mm512_set1_pd(x[1]), zi = _mm512_set1_pd(x[2]);
    const __m256i self = _mm256_set1_epi32(static_cast<int>(4 * i));
    for (Index k = begin; k < end; k += lanes) {
        const __m512d dx = _mm512_sub_pd(xi, _mm512_loadu_pd(xs + k)), dy = _mm512_sub_pd(yi, _mm512_loadu_pd(ys + k));
        const __m512d dz = _mm512_sub_pd(zi, _mm512_loadu_pd(zs + k));
        const __m512d r2 = _mm512_fmadd_pd(dx, dx, _mm512_fmadd_pd(dy, dy, _mm512_mul_pd(dz, dz)));
        const __m256i some = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inside + k));
        const unsigned left = end - k, in_run = left < lanes ? (1U << left) - 1 : 0xffU;
        const unsigned near = _mm512_cmp_pd_mask(r2, _mm512_set1_pd(reach2), _CMP_LT_OQ) &
                              _mm256_cmpneq_epi32_mask(some, self) & in_run;
        // by way of a register: some processors take a hundred cycles to compress into memory
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + found),
                            _mm256_maskz_compress_epi32(static_cast<__mmask8>(near), some));
        found += static_cast<std::size_t>(__builtin_popcount(near));
    }
#else
    for (Index k = begin; k < end; ++k) { // no branch: what is not near is overwritten by the next
        const Real dx = x[0] - xs[k], dy = x[1] - ys[k], dz = x[2] - zs[k];
        out[found] = inside[k];
        found += (dx * dx + dy * dy + dz * dz < reach2) & (inside[k] != 4 * i);
    }
#endif
    return found;
}

// List all within reach of each particle; the room that the fullest row needs.
inline std::size_t list_neighbours(System& s) {
    const std::size_t columns = s.cells[2], rows = s.cells[1] * columns;
    const auto nobody = static_cast<Index>(4 * s.total);
    std::size_t needed = 0;
#pragma omp parallel for schedule(static) reduction(max : needed)
    for (Signed i = 0; i < Signed(s.n); ++i) {
        Index* mine = s.neighbours.data() + std::size_t(i) * s.width;
        std::size_t found = 0;
        for (std::size_t a = 0; a < 5; ++a)
            for (std::size_t b = 0; b < 5; ++b) {
                const std::size_t c = s.cell[i] + a * rows + b * columns - 2 * rows - 2 * columns;
                const Index begin = s.first[c - 2], end = s.first[c + 3]; // five cells in a row along z
                const std::size_t room = found + (end - begin) + 2 * lanes; // as whole vectors, and to fill up
                needed = std::max(needed, room);
                if (room <= s.width) found += list_run(s, Index(i), begin, end, mine + found);
            }
        for (std::size_t k = 0; k < lanes; ++k) mine[found + k] = nobody;
        s.count[i] = static_cast<Index>(whole(found, lanes));
    }
    return needed;
}

// Force on each particle from its neighbours within the cutoff, and the second half kick.
inline void forces(System& s, bool and_kick) {
    const Real* x = reinterpret_cast<const Real*>(s.x.data());
    const Lanes cutoff2 = splat(s.cutoff * s.cutoff);
    const Real half = and_kick ? s.dt / 2 : Real(0);
#pragma omp parallel for schedule(static)
    for (Signed i = 0; i < Signed(s.n); ++i) {
        const Columns here{splat(x[4 * i]), splat(x[4 * i + 1]), splat(x[4 * i + 2])};
        const Index* mine = s.neighbours.data() + std::size_t(i) * s.width;
        const Index count = s.count[i];
        Columns f{};
        for (Index k = 0; k < count; k += lanes)
            pull(f, here - columns(x, mine + k), [&](Lanes r2) { return r2 < cutoff2; });
        const Row force = sums(f);
        s.force[i] = force;
        s.v[i] += half * force;
    }
}

} // namespace particles
