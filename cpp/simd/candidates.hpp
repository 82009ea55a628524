// Who of a run of cells comes into a list: in single precision, which has twice the lanes, and a little further than asked.
#pragma once

#include <bit>

#include "cells.hpp"

namespace particles {

// Of a System what is read of candidates. By value: for all the compiler knows, who writes a list may change the System.
struct Candidates {
    const float *x, *y, *z;
    const Index *inside, *first;
    float reach2;

    explicit Candidates(const System& s)
        : x(s.sorted[0].data()), y(s.sorted[1].data()), z(s.sorted[2].data()), inside(s.inside.data()),
          first(s.first.data()), reach2(s.rough_reach2) {}
};

// Write those of the run [begin, end) in cell order whose square distance, which apart2(x, y, z) computes, may be within
// the reach, but for those who share the list, whose rows begin at `own` and behind it; and say how many.
template <class Apart2>
std::size_t list_run(const Candidates& all, Index begin, Index end, Index own, Index* out, const Apart2& apart2) {
    std::size_t found = 0;
#ifdef __AVX512F__
    for (Index k = begin; k < end; k += at_a_time) {
        const __m512 r2 = apart2(_mm512_loadu_ps(all.x + k), _mm512_loadu_ps(all.y + k), _mm512_loadu_ps(all.z + k));
        const __m512i some = _mm512_loadu_si512(all.inside + k);
        const auto in_run = static_cast<__mmask16>(~(~0U << std::min(end - k, Index(at_a_time))));
        const __m512i behind = _mm512_sub_epi32(some, _mm512_set1_epi32(static_cast<int>(own)));
        const auto other = _mm512_mask_cmpge_epu32_mask(in_run, behind, _mm512_set1_epi32(4 * members));
        const auto near = _mm512_mask_cmp_ps_mask(other, r2, _mm512_set1_ps(all.reach2), _CMP_NGE_UQ);
        // by way of a register: some processors take a hundred cycles to compress into memory
        _mm512_storeu_si512(out + found, _mm512_maskz_compress_epi32(near, some));
        found += static_cast<std::size_t>(std::popcount(near));
    }
#else
    typedef float Floats __attribute__((vector_size(at_a_time * sizeof(float)), aligned(sizeof(float)), may_alias));
    const auto load = [](const float* at) { return *reinterpret_cast<const Floats*>(at); };
    for (Index k = begin; k < end; k += at_a_time) {
        const auto far = apart2(load(all.x + k), load(all.y + k), load(all.z + k)) >= all.reach2; // what is not a number is not
        const Index left = end - k;
        for (Index m = 0; m < left && m < at_a_time; ++m) { // no branch: what is not near is overwritten by the next
            out[found] = all.inside[k + m];
            found += !far[m] & (all.inside[k + m] - own >= 4 * members);
        }
    }
#endif
    return found;
}

// Room behind those that are `listed` for a run of so many, as whole vectors, and to fill the last.
inline Index* room_for(Part& part, std::size_t listed, std::size_t run) {
    const std::size_t room = listed + run + 2 * at_a_time;
    if (room > part.neighbours.size()) part.neighbours.resize(room + room / 2);
    return part.neighbours.data() + listed;
}

} // namespace particles
