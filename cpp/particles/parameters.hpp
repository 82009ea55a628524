// The parameters of a case: read from text, checked, and written again.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <variant>

#include "numbers.hpp"

namespace particles {

// A whole number, a floating-point number or a word.
using Value = std::variant<long long, double, std::string>;

// One line of the file, `name = value value ...`.
struct Parameter {
    std::string name;
    std::vector<Value> values;
};

template <class Number>
std::optional<Number> number_of(const std::string& word) {
    Number value{};
    const char* begin = word.data() + (!word.empty() && word[0] == '+');
    const char* end = word.data() + word.size();
    const auto [rest, trouble] = std::from_chars(begin, end, value);
    if (trouble != std::errc() || rest != end) return {};
    return value;
}

inline Value value_of(const std::string& word) {
    if (const auto whole = number_of<long long>(word)) return *whole;
    if (const auto number = number_of<double>(word)) return *number;
    return word;
}

// In text, with digits enough to bring back the same bits.
inline std::string show(const Value& value) {
    if (const auto* word = std::get_if<std::string>(&value)) return *word;
    if (const auto* whole = std::get_if<long long>(&value)) return std::to_string(*whole);
    std::array<char, 64> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), std::get<double>(value)).ptr;
    const std::string text(digits.data(), end);
    // whoever reads it must not take it for a whole number
    return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

inline std::vector<Parameter> parse(const std::string& text) {
    std::vector<Parameter> lines;
    std::istringstream all(text);
    for (std::string line; std::getline(all, line);) {
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        const auto equals = line.find('=');
        Parameter parameter;
        std::istringstream(line.substr(0, equals)) >> parameter.name;
        if (equals == std::string::npos || parameter.name.empty())
            throw Error("a line of the parameters is not `name = value`: " + line);
        for (const auto& earlier : lines)
            if (earlier.name == parameter.name) throw Error("the parameters give " + parameter.name + " twice");
        std::istringstream words(line.substr(equals + 1));
        for (std::string word; words >> word;) {
            parameter.values.push_back(value_of(word));
            const auto* number = std::get_if<double>(&parameter.values.back());
            if (number && !std::isfinite(*number)) throw Error(parameter.name + " = " + word + " is not a finite number");
        }
        if (parameter.values.empty()) throw Error("the parameters give no value of " + parameter.name);
        lines.push_back(std::move(parameter));
    }
    return lines;
}

inline const std::vector<Value>& find(const std::vector<Parameter>& lines, const std::string& name,
                                      std::size_t count = 1) {
    for (const auto& line : lines) {
        if (line.name != name) continue;
        if (line.values.size() != count)
            throw Error(name + " must have " + std::to_string(count) + " value(s), not " +
                        std::to_string(line.values.size()));
        return line.values;
    }
    throw Error("the parameters lack " + name);
}

inline std::size_t count_of(const std::vector<Parameter>& lines, const std::string& name) {
    const auto& value = find(lines, name)[0];
    const auto* whole = std::get_if<long long>(&value);
    if (!whole || *whole < 1) throw Error(name + " = " + show(value) + " must be a whole number of at least 1");
    return static_cast<std::size_t>(*whole);
}

inline Real positive(const std::string& name, const Value& value) {
    double number = 0;
    if (const auto* whole = std::get_if<long long>(&value)) number = static_cast<double>(*whole);
    if (const auto* real = std::get_if<double>(&value)) number = *real;
    // it may be too large or too small for a Real
    if (!(static_cast<Real>(number) > 0 && std::isfinite(static_cast<Real>(number))))
        throw Error(name + " = " + show(value) + " must be a finite number above 0");
    return static_cast<Real>(number);
}

// What defines a case: the numbers used here, and all that was read.
struct Parameters {
    std::size_t boxes;     // independent copies of the system
    std::size_t particles; // in each box
    Vector box;            // its sides
    bool periodic;         // otherwise there are walls
    Real cutoff;           // distance beyond which particles do not interact
    Real dt;               // time step
    std::vector<Parameter> lines;

    explicit Parameters(const std::string& text) : lines(parse(text)) {
        boxes = count_of(lines, "boxes");
        particles = count_of(lines, "particles");
        const auto& sides = find(lines, "box", axes);
        for (std::size_t k = 0; k < axes; ++k) box[k] = positive("box", sides[k]);
        cutoff = positive("cutoff", find(lines, "cutoff")[0]);
        dt = positive("dt", find(lines, "dt")[0]);
        const auto boundary = show(find(lines, "boundary")[0]);
        periodic = boundary == "periodic";
        if (!periodic && boundary != "walls")
            throw Error("boundary = \"" + boundary + "\" must be \"periodic\" or \"walls\"");
        const Real half = *std::min_element(box.begin(), box.end()) / 2;
        if (periodic && !(cutoff <= half))
            throw Error("cutoff = " + show(double(cutoff)) + " is over half the shortest side of the periodic box (" +
                        show(double(half)) + ")");
        // particles and images, up to 27 times as many, are counted in 32 bits
        if (particles > std::numeric_limits<Index>::max() / 27)
            throw Error("particles = " + std::to_string(particles) + " and their images cannot be counted in 32 bits");
    }

    // Of a parameter file that says the same.
    std::string text() const {
        std::string text;
        for (const auto& line : lines) {
            text += line.name + " =";
            for (const auto& value : line.values) text += " " + show(value);
            text += "\n";
        }
        return text;
    }
};

} // namespace particles
