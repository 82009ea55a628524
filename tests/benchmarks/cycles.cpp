// c++ -std=c++20 -O3 -march=native -fno-math-errno -fno-trapping-math -fopenmp -o cycles tests/benchmarks/cycles.cpp && ./cycles
//
// Cycles of the force loop of tuned C++ for a vector of neighbours: in a liquid, and where each particle has a long list
// and all lies in the cache, which is what the processor's units allow. As a line of JSON.

#include <chrono>
#include <cstdio>
#include <random>

#include "../../cpp/simd/motion.hpp"

using namespace particles;

template <class Action>
double best_seconds(const Action& act) {
    double best = 1e9;
    for (int turn = 0; turn < 25; ++turn) {
        const auto start = std::chrono::steady_clock::now();
        act();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
}

// By additions that wait for each other, each of one cycle.
static double cycles_per_second() {
    constexpr long long additions = 20'000'000;
    const double took = best_seconds([] {
        long long sum = 0;
        for (long long k = 0; k < additions; ++k) asm volatile("add $1, %0" : "+r"(sum));
    });
    return double(additions) / took;
}

// A lattice of cells^3 particles, each moved a little at random.
static System lattice(std::size_t cells, double spacing, double jitter, const char* boundary) {
    std::mt19937 draw(1);
    std::uniform_real_distribution<double> off(0.5 - jitter, 0.5 + jitter);
    std::vector<Real> x, v;
    for (std::size_t i = 0; i < cells * cells * cells; ++i)
        for (const std::size_t place : {i / cells / cells, i / cells % cells, i % cells}) {
            x.push_back(Real(spacing * (double(place) + off(draw))));
            v.push_back(0);
        }
    const double side = spacing * double(cells);
    std::ostringstream text;
    text << "boxes = 1\nparticles = " << x.size() / 3 << "\nbox = " << side << " " << side << " " << side
         << "\nboundary = " << boundary << "\ncutoff = 2.5\ndt = 0.005\n";
    return System(Parameters(text.str()), x.data(), v.data());
}

int main() {
    const double clock = cycles_per_second();
    const auto measure = [&](System s, double& vectors, int times) {
        begin(s);
        std::size_t listed = 0;
        for (const Part& part : s.parts) listed += part.begin.back();
        vectors = double(listed) * members / lanes / double(s.n);
        const double took = best_seconds([&] {
            with_team(s, [&] {
                for (int k = 0; k < times; ++k) forces(s, false);
            });
        });
        return took / times * clock / (vectors * double(s.n));
    };
    double liquid_vectors = 0, long_vectors = 0;
    const double liquid = measure(lattice(16, std::cbrt(1 / 0.8442), 0.1, "periodic"), liquid_vectors, 10);
    const double dense = measure(lattice(6, 0.25, 0.1, "walls"), long_vectors, 100);
    std::printf("{\"clock_ghz\": %.2f, \"lanes\": %zu, \"members\": %zu, \"liquid\": {\"vectors\": %.2f, \"cycles\": %.1f}, "
                "\"long_lists\": {\"vectors\": %.2f, \"cycles\": %.1f}}\n",
                clock / 1e9, lanes, members, liquid_vectors, liquid, long_vectors, dense);
}
