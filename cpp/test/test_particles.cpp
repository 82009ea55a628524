// c++ -std=c++20 -O2 -fopenmp -o test cpp/test/test_particles.cpp && ./test
//
// Parts of the port against what is known: closed forms, all pairs, and numbers that must come back.

#include <cstdio>
#include <limits>
#include <random>
#include <set>

#include "../particles/motion.hpp"
#include "../particles/observe.hpp"
#include "../simd/team.hpp"

using namespace particles;

static int failures = 0;
#define CHECK(claim)                                                                                                   \
    do {                                                                                                               \
        if (!(claim)) std::printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #claim), ++failures;                      \
    } while (false)

static std::string text_of(std::size_t n, double side, const std::string& boundary, double cutoff = 2.5) {
    std::ostringstream text;
    text.precision(17);
    text << "boxes = 1\nparticles = " << n << "\nbox = " << side << " " << side << " " << side + 0.5
         << "\nboundary = " << boundary << "\ncutoff = " << cutoff << "\ndt = 0.001\n";
    return text.str();
}

static System disordered(std::size_t n, double side, const std::string& boundary, double cutoff = 2.5) {
    std::mt19937 draw(1);
    std::uniform_real_distribution<Real> place(0, Real(side));
    std::vector<Real> position(axes * n), velocity(axes * n);
    for (auto& x : position) x = place(draw);
    return System(Parameters(text_of(n, side, boundary, cutoff)), position.data(), velocity.data());
}

static bool close(double a, double b, double within) { return std::abs(a - b) <= within * std::max(1.0, std::abs(b)); }

static void the_list_holds_all_pairs_within_reach() {
    for (const char* boundary : {"periodic", "walls"})
        for (const double side : {5.0, 6.1, 9.0, 14.0}) {
            System s = disordered(300, side, boundary);
            rebuild(s);
            const double reach2 = double(s.reach()) * double(s.reach());
            for (std::size_t i = 0; i < s.n; ++i) {
                std::multiset<std::size_t> listed, wanted; // a pair that is there twice would count twice
                for_each_listed(s, i, [&](std::size_t j) {
                    double r2 = 0; // of this image, which need not be the nearest
                    for (std::size_t k = 0; k < axes; ++k) r2 += std::pow(double(s.x[i][k]) - double(s.x[j][k]), 2);
                    CHECK(r2 < reach2 * 1.0001);
                    if (r2 < reach2 * 0.9999) listed.insert(j < s.n ? j : s.source[j - s.n]);
                });
                for (std::size_t j = 0; j < s.n; ++j)
                    for (int image = 0; image < 27; ++image) {
                        double r2 = 0;
                        for (std::size_t k = 0, code = std::size_t(image); k < axes; ++k, code /= 3)
                            r2 += std::pow(double(s.x[i][k]) - double(s.x[j][k]) - (double(code % 3) - 1) * double(s.box[k]), 2);
                        const bool itself = image == 13, there = itself ? j != i : s.periodic;
                        if (there && r2 < reach2 * 0.9999) wanted.insert(j);
                    }
                CHECK(listed == wanted);
            }
        }
}

static void nobody_is_out_of_reach_and_his_force_does_not_underflow() {
    for (const char* boundary : {"periodic", "walls"}) {
        System s = disordered(300, 40, boundary);
        rebuild(s);
        rebuild(s); // he comes once, however often neighbours are listed
        CHECK(s.x.size() == s.total + 2);
        for (const Real corner : {Real(0), Real(40)}) {
            const Real away = s.x[s.total][0] - corner, r2 = 3 * away * away;
            CHECK(r2 > s.reach() * s.reach());
            CHECK(std::pow(Real(1.7) / r2, 7) >= std::numeric_limits<Real>::min());
        }
    }
}

static void a_pair_across_a_face_is_as_the_equation_says() {
    const Real position[] = {Real(0.1), 1, 1, Real(5.3), 1, 1}, velocity[6] = {};
    System s(Parameters(text_of(2, 6.5, "periodic")), position, velocity);
    rebuild(s);
    forces(s);
    const double r = 1.3, s6 = std::pow(r, -6), within = sizeof(Real) == 4 ? 2e-5 : 1e-13;
    CHECK(close(double(s.force[s.place[0]][0]), 24 * (2 * s6 * s6 - s6) / r, within));
    CHECK(close(double(s.force[s.place[1]][0]), -double(s.force[s.place[0]][0]), within));
    const double c6 = std::pow(2.5, -6);
    CHECK(close(observe(s).potential_energy, 4 * (s6 * s6 - s6) - 4 * (c6 * c6 - c6), within));
    CHECK(close(observe(s).virial, 24 * (2 * s6 * s6 - s6), within));
}

static void walls_turn_a_free_particle_back() {
    const Real position[] = {1, 1, 1}, velocity[] = {-3, 5, 0};
    System s(Parameters(text_of(1, 6.5, "walls")), position, velocity);
    rebuild(s);
    advance(s, 1000); // one unit of time: to -2 and to 6
    const double within = sizeof(Real) == 4 ? 1e-3 : 1e-12;
    CHECK(close(double(s.x[0][0]), 2, within) && s.v[0][0] == 3);
    CHECK(close(double(s.x[0][1]), 6, within) && s.v[0][1] == 5);
    CHECK(s.x[0][2] == 1);
}

static void what_is_too_fast_is_an_error() {
    const Real position[] = {1, 1, 1}, velocity[] = {Real(1e9), 0, 0};
    System s(Parameters(text_of(1, 6.5, "walls")), position, velocity);
    rebuild(s);
    try {
        advance(s, 1);
        CHECK(!"an error");
    } catch (const Error&) {
    }
}

static void parameters_come_back() {
    const std::string text = "boxes = 1\nparticles = 2\nbox = 7.0 7.5 1e+17\nboundary = walls\ncutoff = 2.5\n"
                             "dt = 0.0050000000000000001\nseed = 7\nword = hello there\n";
    const Parameters once(text), twice(once.text());
    CHECK(once.text() == twice.text());
    CHECK(once.text().find("seed = 7\n") != std::string::npos);
    CHECK(once.text().find("word = hello there\n") != std::string::npos);
    for (const char* wrong : {"dt = nan", "dt = 0", "dt = -1", "dt = 1\ndt = 2", "dt", "dt =", "boxes = 0", "boxes = 1.0",
                              "box = 1 2", "cutoff = 1e999", "boundary = torus"}) {
        const std::string name = std::string(wrong).substr(0, std::string(wrong).find(' '));
        std::string bad;
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);)
            if (line.rfind(name + " ", 0) != 0) bad += line + "\n";
        try {
            Parameters(bad + wrong + "\n");
            std::printf("accepted: %s\n", wrong), ++failures;
        } catch (const Error& complaint) {
            CHECK(std::string(complaint.what()).size() > 20);
        }
    }
}

static void a_team_does_each_part_once_and_throws_what_a_part_throws() {
    for (const std::size_t size : {1, 2, 5})
        Team::gather(size, [&](Team& team) {
            std::vector<int> done(size);
            for (int turn = 0; turn < 2000; ++turn) team.share([&](std::size_t part) { ++done[part]; });
            CHECK(done == std::vector<int>(size, 2000));
            try {
                team.share([&](std::size_t part) {
                    if (part + 1 == size) throw Error("no");
                });
                CHECK(!"thrown");
            } catch (const Error&) {}
            team.share([&](std::size_t part) { ++done[part]; });
            CHECK(done == std::vector<int>(size, 2001));
        });
    bool thrown = false;
    try {
        Team::gather(2, [](Team&) { throw Error("no"); });
    } catch (const Error&) { thrown = true; }
    CHECK(thrown);
}

int main() {
    a_team_does_each_part_once_and_throws_what_a_part_throws();
    the_list_holds_all_pairs_within_reach();
    nobody_is_out_of_reach_and_his_force_does_not_underflow();
    a_pair_across_a_face_is_as_the_equation_says();
    walls_turn_a_free_particle_back();
    what_is_too_fast_is_an_error();
    parameters_come_back();
    std::puts(failures ? "FAILED" : "all is so");
    return failures != 0;
}
