// Vectors as the machine has them, by the extension that GCC and clang share; on any other machine they are emulated.
#pragma once

#include "../particles/numbers.hpp"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace particles {

// x, y, z and 0 of a particle: one aligned load.
typedef Real Row __attribute__((vector_size(4 * sizeof(Real))));

#ifdef __AVX512F__
constexpr std::size_t register_bytes = 64;
#else
constexpr std::size_t register_bytes = 32;
#endif
// Whether neighbours are loaded before it is their turn. Where vectors are emulated, they would wait in memory.
#ifdef __AVX__
constexpr bool look_ahead = true;
#else
constexpr bool look_ahead = false;
#endif
constexpr std::size_t lanes = register_bytes / sizeof(Real);
typedef Real Lanes __attribute__((vector_size(register_bytes)));

constexpr std::size_t whole(std::size_t count, std::size_t of) { return (count + of - 1) / of * of; }

inline Lanes splat(Real x) { return x - Lanes{}; }

// Of as many particles as there are lanes: a vector for each axis.
struct Columns {
    Lanes x, y, z;
};

inline Columns operator-(const Columns& a, const Columns& b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }

inline Lanes square(const Columns& d) { return d.x * d.x + d.y * d.y + d.z * d.z; }

inline Real square(Row d) { return d[0] * d[0] + d[1] * d[1] + d[2] * d[2]; }

} // namespace particles
