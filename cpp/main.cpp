// The C++ port as a program: it answers the line protocol of docs/protocol.md.
//
// Build    c++ -std=c++20 -O3 -march=native -fopenmp -o particles cpp/main.cpp
//          in float32 with -DPARTICLES_FLOAT32

#include "particles/motion.hpp"
#include "particles/observe.hpp"
#include "particles/protocol.hpp"

int main() { return particles::serve("cpp"); }
