// The program around a simulation: it answers the line protocol of docs/protocol.md.
//
// Whoever includes this has defined the System that it simulates.
#pragma once

#include <omp.h>

#include <cstdlib>
#include <iostream>
#include <optional>

#include "simulation.hpp"

namespace particles {

using Simulation = SimulationOf<System>;

constexpr auto precision = sizeof(Real) == 4 ? "float32" : "float64-fast";

// What the environment says, or one.
inline int threads_wanted() {
    const char* said = std::getenv("PORTBENCH_THREADS");
    return std::max(1, said ? std::atoi(said) : 1);
}

// Obey the command; what the reply says after `ok`.
inline std::string answer(const std::string& port, const std::string& command, const std::string& argument,
                          std::optional<Simulation>& simulation) {
    if (command == "hello")
        return " protocol=1 port=" + port + " language=C++ version=" + std::to_string(__cplusplus) +
               " threads=" + std::to_string(omp_get_max_threads()) + " precision=" + precision + " device=cpu";
    if (command == "load") {
        if (!std::filesystem::is_directory(argument)) throw Error("there is no folder " + argument);
        simulation = Simulation(argument);
        return "";
    }
    if (command != "run" && command != "save") throw Error("there is no command \"" + command + "\"");
    if (command == "run") {
        const auto steps = number_of<unsigned long long>(argument);
        if (!steps || argument[0] == '+') throw Error("\"" + argument + "\" is not a number of steps");
        if (!simulation) throw Error("there is nothing to run: load a case first");
        try {
            return " nanoseconds=" + std::to_string(simulation->run(*steps));
        } catch (...) {
            simulation.reset(); // it stopped half-way: nobody may take that for a state
            throw;
        }
    }
    if (!simulation) throw Error("there is nothing to save: load a case first");
    if (!std::filesystem::is_directory(argument)) throw Error("there is no folder " + argument);
    simulation->save(argument);
    return "";
}

// Answer line by line, until told to quit or nobody is left.
inline int serve(const std::string& port) {
    omp_set_num_threads(threads_wanted());
    omp_set_max_active_levels(1); // boxes are divided over the threads, or the particles of one
    std::optional<Simulation> simulation;
    for (std::string line; std::getline(std::cin, line);) {
        if (line == "quit") {
            std::cout << "ok" << std::endl;
            break;
        }
        const auto blank = line.find(' ');
        const std::string argument = blank == std::string::npos ? "" : line.substr(blank + 1);
        try {
            std::cout << "ok" + answer(port, line.substr(0, blank), argument, simulation) << std::endl;
        } catch (const std::exception& trouble) {
            std::cout << "error " << trouble.what() << std::endl;
        }
    }
    return 0;
}

} // namespace particles
