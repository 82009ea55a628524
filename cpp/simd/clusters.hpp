// A list for each cluster of eight particles, all of which look at each neighbour together: what one of them sees most
// others see too, so that a vector of single precision, too wide for the neighbours of one, is filled.
//
// After S. Páll and B. Hess, Comput. Phys. Commun. 184, 2641 (2013), with particles in place of clusters as neighbours.
#pragma once

#include <cstring>

#include "candidates.hpp"
#include "pull.hpp"

namespace particles {

constexpr std::size_t at_once = lanes / members; // neighbours in a vector: each with all members
typedef std::int32_t Whole;
typedef Whole Wholes __attribute__((vector_size(lanes * sizeof(Whole))));

// Columns along z as wide as a cluster is long, there and back again, and in them layers of less than a particle each:
// so that eight in a row are near each other.
struct Order {
    std::array<std::size_t, axes> count; // slabs, columns in each, and layers
    Row per_side{};

    explicit Order(const System& s) {
        // The side of a cube with as many particles as share a list.
        const Real wide = std::cbrt(Real(members) * s.box[0] * s.box[1] * s.box[2] / Real(s.n));
        const Real most = std::max(Real(1), std::cbrt(Real(s.n)));
        for (std::size_t k = 0; k < 2; ++k)
            count[k] = static_cast<std::size_t>(std::clamp(std::round(s.box[k] / wide), Real(1), most));
        count[2] = 1 + 2 * s.n / (count[0] * count[1]);
        for (std::size_t k = 0; k < axes; ++k) per_side[k] = Real(count[k]) / s.box[k];
    }

    std::size_t places() const { return count[0] * count[1] * count[2]; }

    std::size_t operator()(Row x) const {
        const Row scaled = x * per_side;
        std::size_t place = 0;
        for (std::size_t k = 0; k < axes; ++k) {
            auto along = std::min(static_cast<std::size_t>(scaled[k]), count[k] - 1);
            if (place % 2) along = count[k] - 1 - along; // back again
            place = place * count[k] + along;
        }
        return place;
    }
};

typedef Real FourRows __attribute__((vector_size(16 * sizeof(Real))));

// The k-th number of each of eight rows, once for each neighbour in a vector.
template <int k>
Lanes axis_of(FourRows a, FourRows b) {
    if constexpr (at_once == 2)
        return __builtin_shufflevector(a, b, k, 4 + k, 8 + k, 12 + k, 16 + k, 20 + k, 24 + k, 28 + k, //
                                       k, 4 + k, 8 + k, 12 + k, 16 + k, 20 + k, 24 + k, 28 + k);
    else
        return __builtin_shufflevector(a, b, k, 4 + k, 8 + k, 12 + k, 16 + k, 20 + k, 24 + k, 28 + k);
}

// The coordinates of the members of a cluster, whose rows are those from `first` on, once for each neighbour in a vector.
inline Columns members_from(const Row* first) {
    FourRows a, b;
    std::memcpy(&a, first, sizeof a);
    std::memcpy(&b, first + 4, sizeof b);
    return {axis_of<0>(a, b), axis_of<1>(a, b), axis_of<2>(a, b)};
}

// For which member each lane is.
inline Wholes member_of_lane() {
    Wholes member{};
    for (std::size_t l = 0; l < lanes; ++l) member[l] = Whole(l % members);
    return member;
}

// The coordinates of neighbours, each as often as there are members; `j`: where their rows begin.
inline Columns neighbours(const Real* x, const Index* j) {
#ifdef __AVX512F__
    const __m512 one = _mm512_broadcast_f32x4(_mm_load_ps(x + j[0]));
    const __m512 both = _mm512_mask_broadcast_f32x4(one, 0xff00, _mm_load_ps(x + j[1]));
    return {_mm512_permute_ps(both, 0x00), _mm512_permute_ps(both, 0x55), _mm512_permute_ps(both, 0xaa)};
#else
    return {splat(x[j[0]]), splat(x[j[0] + 1]), splat(x[j[0] + 2])};
#endif
}

// Of the neighbours in a vector, a bit for each that is near to any member.
inline unsigned any_near(Lanes r2, Lanes reach2) {
#ifdef __AVX512F__
    const unsigned bits = _mm512_cmp_ps_mask(__m512(r2), __m512(reach2), _CMP_LT_OQ);
    return unsigned((bits & 0xff) != 0) | unsigned(bits > 0xff) << 1;
#else
    const Wholes near = r2 < reach2;
    Whole one = 0;
    for (std::size_t l = 0; l < lanes; ++l) one |= near[l];
    return one != 0;
#endif
}

// The sums of those lanes that are of one member, as rows: first four members' and last four.
inline std::array<FourRows, 2> rows_of(const Columns& f) {
    typedef Real Members __attribute__((vector_size(members * sizeof(Real))));
    const auto sum = [](Lanes along) {
        Members halves[at_once];
        std::memcpy(halves, &along, sizeof along);
        return at_once == 2 ? halves[0] + halves[at_once - 1] : halves[0];
    };
    const Members x = sum(f.x), y = sum(f.y), z = sum(f.z), none{};
    const auto xy = __builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const auto z0 = __builtin_shufflevector(z, none, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return {__builtin_shufflevector(xy, z0, 0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27),
            __builtin_shufflevector(xy, z0, 4, 12, 20, 28, 5, 13, 21, 29, 6, 14, 22, 30, 7, 15, 23, 31)};
}

// How far each of `at` is outside of what goes from `low` to `high`.
template <class T>
T beyond(T at, float low, float high) {
    const T below = low - at, above = at - high, most = below > above ? below : above;
    return most > 0 ? most : T{};
}

// Of those listed at [members, listed) for the cluster of the particles [first, end), keep whom any member reaches; how
// long the list is then.
inline std::size_t keep_near(const System& s, std::size_t first, std::size_t end, Index* mine, std::size_t listed) {
    const Real* x = reinterpret_cast<const Real*>(s.x.data());
    Columns here = members_from(&s.x[first]);
    const Lanes reach2 = splat(s.reach() * s.reach());
    const Wholes others = member_of_lane() >= Whole(end - first); // the rows behind the last particle are none of its cluster
    here = {others ? here.x[0] : here.x, others ? here.y[0] : here.y, others ? here.z[0] : here.z};
    std::size_t kept = members;
    for (std::size_t k = members; k < listed; k += at_once) {
        unsigned near = any_near(square(here - neighbours(x, mine + k)), reach2);
        for (std::size_t m = 0; m < at_once; ++m, near >>= 1) {
            const Index j = mine[k + m];
            mine[kept] = j; // no branch: whom none reaches is overwritten by the next
            kept += near & 1;
        }
    }
    return kept;
}

// List the members of each cluster and, after them, all others within reach of any.
inline void list_neighbours(System& s) {
    const auto nobody = static_cast<Index>(4 * s.total);
    in_parallel(s, [&](Part& part) {
        const Candidates all(s);
        std::size_t listed = 0;
        for (std::size_t c = part.first; c < part.end; ++c) {
            part.begin[c - part.first] = listed;
            const std::size_t first = members * c, last = std::min(first + members, s.n);
            s.fetch_ahead(first);
            std::copy_n(&s.x[first], last - first, &s.listed[first]);
            Row low = s.x[first], high = low;
            for (std::size_t i = first + 1; i < last; ++i)
                for (std::size_t k = 0; k < axes; ++k) {
                    low[k] = std::min(low[k], s.x[i][k]);
                    high[k] = std::max(high[k], s.x[i][k]);
                }
            const auto from = place_of(s, low - s.reach(), 0), to = place_of(s, high + s.reach(), 0);
            Index* own = room_for(part, listed, members);
            for (std::size_t m = 0; m < members; ++m) own[m] = static_cast<Index>(4 * (first + m));
            std::size_t found = listed + members;
            for (std::size_t a = from[0]; a <= to[0]; ++a)
                for (std::size_t b = from[1]; b <= to[1]; ++b) {
                    const std::size_t row = (a * s.cells[1] + b) * s.cells[2];
                    const Index begin = all.first[row + from[2]], end = all.first[row + to[2] + 1];
                    Index* out = room_for(part, found, end - begin);
                    found += list_run(all, begin, end, Index(4 * first), out, [&](auto xs, auto ys, auto zs) {
                        const auto dx = beyond(xs, low[0], high[0]), dy = beyond(ys, low[1], high[1]);
                        const auto dz = beyond(zs, low[2], high[2]);
                        return dx * dx + dy * dy + dz * dz;
                    });
                }
            *room_for(part, found, 0) = nobody; // to fill the last vector
            Index* mine = part.neighbours.data() + listed;
            const std::size_t kept = keep_near(s, first, last, mine, found - listed);
            mine[kept] = nobody;
            listed += whole(kept, at_once);
        }
        part.begin[part.end - part.first] = listed;
        std::fill_n(room_for(part, listed, 0), at_once, nobody); // forces() looks so far ahead
    });
}

// Force on each particle from its neighbours within the cutoff, and the second half kick.
//
// The coordinates of the next neighbours are on their way meanwhile, be they the next cluster's: see lists.hpp.
inline void forces(System& s, bool and_kick) {
    const Real* x = reinterpret_cast<const Real*>(s.x.data());
    const Lanes cutoff2 = splat(s.cutoff * s.cutoff);
    const Real half = and_kick ? s.dt / 2 : Real(0);
    Wholes seen = member_of_lane(); // as a neighbour, in the first vector
    for (std::size_t l = members; l < lanes; ++l) seen[l] -= 1;
    in_parallel(s, [&](const Part& part) {
        const Index *mine = part.neighbours.data(), *j = mine;
        Columns next = neighbours(x, j);
        for (std::size_t c = part.first; c < part.end; ++c) {
            const std::size_t first = members * c;
            const Columns here = members_from(&s.x[first]);
            const Index* end = mine + part.begin[c - part.first + 1];
            s.fetch_ahead(first);
            Columns f{};
            const auto away = [&] {
                const Columns d = here - (look_ahead ? next : neighbours(x, j));
                j += at_once;
                if constexpr (look_ahead) next = neighbours(x, j);
                return d;
            };
            for (Whole k = 0; k < Whole(members); k += at_once)
                pull(f, away(), [&](Lanes r2) { return (r2 < cutoff2) & (seen != k); });
            while (j < end) pull(f, away(), [&](Lanes r2) { return r2 < cutoff2; });
            const auto force = rows_of(f);
            FourRows v[2];
            std::memcpy(v, &s.v[first], sizeof v);
            for (std::size_t k = 0; k < 2; ++k) v[k] += half * force[k];
            std::memcpy(&s.v[first], v, sizeof v);
            std::memcpy(&s.force[first], force.data(), sizeof v);
        }
    });
}

} // namespace particles
