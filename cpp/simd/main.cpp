// The tuned C++ port as a program: explicit vectors, rows of x y z 0, particles sorted by cell; with
// -DPARTICLES_FLOAT32 in clusters.
//
// Build    c++ -std=c++20 -O3 -march=native -fopenmp -o particles cpp/simd/main.cpp

#include "motion.hpp"

#include "../particles/observe.hpp"
#include "../particles/protocol.hpp"

int main() { return particles::serve(sizeof(particles::Real) == 4 ? "cpp-simd-f32" : "cpp-simd"); }
