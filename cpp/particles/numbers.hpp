// The type of all numbers, rows of coordinates, and their files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace particles {

#ifdef PARTICLES_FLOAT32
using Real = float;
#else
using Real = double;
#endif

using Index = std::uint32_t;   // of a particle, an image or a cell
using Signed = std::ptrdiff_t; // of a parallel loop

constexpr std::size_t axes = 3;
using Vector = std::array<Real, axes>;

// A complaint about what was given; its text is one sentence.
using Error = std::runtime_error;

inline std::filesystem::path path_of(const std::filesystem::path& folder, const std::string& name) {
    return folder / (name + (sizeof(Real) == 4 ? ".f32" : ".f64"));
}

inline std::string read_text(const std::filesystem::path& path) {
    std::ifstream file(path);
    if (!file) throw Error("there is no file " + path.string());
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// The numbers of a field, of which there must be `count`.
inline std::vector<Real> read_numbers(const std::filesystem::path& folder, const std::string& name, std::size_t count) {
    const auto path = path_of(folder, name);
    std::error_code none;
    const auto size = std::filesystem::file_size(path, none);
    if (none) throw Error("there is no file " + path.string());
    if (size % sizeof(Real) != 0 || size / sizeof(Real) != count)
        throw Error(path.string() + " has " + std::to_string(size) + " bytes, not " + std::to_string(sizeof(Real)) +
                    " for each of " + std::to_string(count) + " numbers");
    std::vector<Real> numbers(count);
    std::ifstream file(path, std::ios::binary);
    if (!file.read(reinterpret_cast<char*>(numbers.data()), static_cast<std::streamsize>(size)))
        throw Error(path.string() + " could not be read to its end");
    return numbers;
}

inline void write_numbers(const std::filesystem::path& folder, const std::string& name,
                          const std::vector<Real>& numbers) {
    const auto path = path_of(folder, name);
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(numbers.data()),
               static_cast<std::streamsize>(numbers.size() * sizeof(Real)));
    if (!file.flush()) throw Error(path.string() + " could not be written");
}

} // namespace particles
