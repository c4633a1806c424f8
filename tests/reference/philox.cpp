#include "reference/philox.hpp"

#include <cmath>
#include <numbers>

namespace danaus::reference {
namespace {

std::uint32_t low_word(std::uint64_t value) {
    return static_cast<std::uint32_t>(value & 0xffffffffu);
}
std::uint32_t high_word(std::uint64_t value) {
    return static_cast<std::uint32_t>(value >> 32);
}

}  // namespace

PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
    for (int round = 0; round < 10; ++round) {
        if (round > 0) {
            key[0] += 0x9E3779B9u;
            key[1] += 0xBB67AE85u;
        }
        const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter[0];
        const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter[2];
        counter = {high_word(product1) ^ counter[1] ^ key[0], low_word(product1),
                   high_word(product0) ^ counter[3] ^ key[1], low_word(product0)};
    }
    return counter;
}

std::uint32_t philox_word(std::uint64_t seed, std::uint64_t offset, std::uint64_t i) {
    const std::uint64_t block = offset + i / 4;
    return philox4x32({low_word(block), high_word(block), 0, 0}, {low_word(seed), high_word(seed)})[i % 4];
}

std::vector<std::uint32_t> philox_words(std::uint64_t seed, std::uint64_t offset, std::size_t count) {
    std::vector<std::uint32_t> words(count);
    for (std::size_t i = 0; i < count; ++i) words[i] = philox_word(seed, offset, i);
    return words;
}

double uniform_from_bits(std::uint32_t bits) {
    return static_cast<double>(bits >> 8) * 0x1p-24;
}

std::array<double, 2> normal_from_bits(std::uint32_t bits0, std::uint32_t bits1) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform_from_bits(bits0)));
    const double angle = 2.0 * std::numbers::pi * uniform_from_bits(bits1);
    return {radius * std::cos(angle), radius * std::sin(angle)};
}

std::vector<double> philox_uniform(std::uint64_t seed, std::uint64_t offset, std::size_t count) {
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = uniform_from_bits(philox_word(seed, offset, i));
    return values;
}

std::vector<double> philox_normal(std::uint64_t seed, std::uint64_t offset, std::size_t count) {
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t even = i - i % 2;
        const std::uint32_t bits0 = philox_word(seed, offset, even);
        const std::uint32_t bits1 = philox_word(seed, offset, even + 1);
        values[i] = normal_from_bits(bits0, bits1)[i % 2];
    }
    return values;
}

}  // namespace danaus::reference
