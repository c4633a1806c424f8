#include "verify.hpp"

#include "noise.hpp"

#include <cmath>
#include <limits>
#include <random>

#include <fmt/format.h>

namespace danaus::bench {

void verify(Stream& stream, const Job& job) {
    Noise noise(1, std::uniform_int_distribution<int>(-job.magnitude, job.magnitude));
    constexpr float unknown = std::numeric_limits<float>::quiet_NaN();
    std::vector<std::vector<float>> values;
    for (const Operand& operand : job.operands) {
        values.emplace_back(operand.elements, unknown);
        if (operand.role == Role::input && !operand.derived) noise.fill(values.back());
    }
    job.oracle(values);
    for (std::size_t i = 0; i < job.operands.size(); ++i) {
        const Operand& operand = job.operands[i];
        if (operand.role == Role::input) upload_into(stream, operand.tensor, values[i]);
        if (operand.role == Role::output) fill_into(stream, operand.tensor, unknown);
    }
    if (job.prepare) job.prepare(stream);
    job.record(stream);
    if (job.reveal) job.reveal(stream);
    for (std::size_t i = 0; i < job.operands.size(); ++i) {
        if (job.operands[i].role != Role::output) continue;
        const std::vector<float> actual = download(stream, job.operands[i].tensor);
        std::size_t compared = 0;
        for (std::size_t at = 0; at < actual.size(); ++at) {
            const float expected = values[i][at];
            if (actual[at] == expected ||
                static_cast<double>(std::abs(actual[at] - expected)) <=
                    job.tolerance * (1.0 + static_cast<double>(std::abs(expected)))) {
                ++compared;
                continue;
            }
            // What the oracle left out must have been written by the device all the same.
            if (std::isnan(expected) && !std::isnan(actual[at])) continue;
            throw Error(ErrorKind::vulkan,
                        fmt::format("wrong result: element {} of {} of operand {} is {}, the oracle has {}",
                                    at, actual.size(), i, actual[at], expected));
        }
        if (compared == 0)
            throw Error(ErrorKind::vulkan, fmt::format("the oracle knows nothing of operand {}", i));
    }
}

}  // namespace danaus::bench
