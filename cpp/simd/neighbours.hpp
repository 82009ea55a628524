// Images, cells and the list of neighbours, and how long it holds.
#pragma once

#include "../particles/periodic.hpp"
#include "system.hpp"

namespace particles {

// Bring the particles of a periodic box back into it.
inline void wrap(System& s) {
    for (std::size_t i = 0; s.periodic && i < s.n; ++i)
        for (std::size_t k = 0; k < axes; ++k) s.x[i][k] = wrapped(s.x[i][k], s.box[k]);
}

inline Index cell_of(const System& s, Row x, Signed rim) {
    const Row scaled = x * s.per_side;
    std::size_t c = 0;
    for (std::size_t k = 0; k < axes; ++k) {
        const auto last = static_cast<Signed>(s.cells[k]) - 1 - rim;
        const auto place = static_cast<Signed>(scaled[k] + 2); // no image is so far below 0 that this rounds up
        c = c * s.cells[k] + static_cast<std::size_t>(std::clamp(place, rim, last));
    }
    return static_cast<Index>(c);
}

// `s.first` as where each cell begins, from how many are in the one before.
inline void count_up(System& s) {
    for (std::size_t c = 1; c < s.first.size(); ++c) s.first[c] += s.first[c - 1];
}

inline void back_to_beginnings(System& s) {
    std::copy_backward(s.first.begin(), s.first.end() - 1, s.first.end());
    s.first[0] = 0;
}

// Put the particles themselves in the order of their cells, so that neighbours are near in memory.
inline void sort_particles(System& s) {
    s.cell.resize(s.n);
    s.inside.resize(s.n);
    std::fill(s.first.begin(), s.first.end(), 0);
    for (std::size_t i = 0; i < s.n; ++i) ++s.first[(s.cell[i] = cell_of(s, s.x[i], 2)) + 1]; // the rim is for images
    count_up(s);
    for (std::size_t i = 0; i < s.n; ++i) s.inside[s.first[s.cell[i]]++] = static_cast<Index>(i);
    for (auto* rows : {&s.x, &s.v}) {
        for (std::size_t at = 0; at < s.n; ++at) s.spare[at] = (*rows)[s.inside[at]];
        std::copy_n(s.spare.begin(), s.n, rows->begin());
    }
    for (auto& at : s.inside) at = s.id[at];
    s.id.swap(s.inside);
    for (std::size_t at = 0; at < s.n; ++at) s.place[s.id[at]] = static_cast<Index>(at);
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
    if (s.total > std::numeric_limits<Index>::max() / 4) throw Error("particles and images cannot be listed in 32 bits");
    const Real far = Real(1e150); // the square is finite
    s.x.push_back(Row{far, far, far, 0});
}

// Images follow their particles.
inline void move_images(System& s) {
#pragma omp parallel for schedule(static)
    for (Signed g = 0; g < Signed(s.source.size()); ++g) s.x[s.n + std::size_t(g)] = s.x[s.source[g]] + s.shift[g];
}

// Counting sort of particles and images; cells that follow each other along z adjoin.
inline void sort_into_cells(System& s) {
    s.cell.resize(s.total);
    s.inside.resize(s.total + lanes); // a vector may begin at the last
    resize(s.sorted, s.total + lanes);
    std::fill(s.first.begin(), s.first.end(), 0);
    for (std::size_t i = 0; i < s.total; ++i) ++s.first[(s.cell[i] = cell_of(s, s.x[i], i < s.n ? 2 : 0)) + 1];
    count_up(s);
    for (std::size_t i = 0; i < s.total; ++i) {
        const Index at = s.first[s.cell[i]]++;
        s.inside[at] = static_cast<Index>(4 * i);
        for (std::size_t k = 0; k < axes; ++k) s.sorted[k][at] = s.x[i][k];
    }
    back_to_beginnings(s);
}

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
        s.count[i] = static_cast<Index>(whole_vectors(found));
    }
    return needed;
}

// Particles sorted, and images, cells and neighbours anew, in more room if need be.
inline void rebuild(System& s) {
    wrap(s);
    sort_particles(s);
    make_images(s);
    sort_into_cells(s);
    for (std::size_t needed; (needed = list_neighbours(s)) > s.width;) {
        s.width = whole_vectors(needed + needed / 2);
        s.neighbours.resize(s.n * s.width);
    }
    std::copy_n(s.x.begin(), s.n, s.listed.begin());
}

// Error if two particles are at one point.
inline void check_distinct(const System& s) {
    for (std::size_t i = 0; i < s.n; ++i)
        for (std::size_t m = 0; m < s.count[i]; ++m) {
            const std::size_t listed = s.neighbours[i * s.width + m] / 4;
            if (listed == s.total) break;
            const std::size_t j = listed < s.n ? listed : s.source[listed - s.n];
            bool same = i != j;
            for (std::size_t k = 0; same && k < axes; ++k)
                same = rounded(s.x[i][k], s.box[k], s.periodic) == rounded(s.x[j][k], s.box[k], s.periodic);
            if (same) refuse_one_point(s.id[i], s.id[j]);
        }
}

} // namespace particles
