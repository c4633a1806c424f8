#include "check.hpp"
#include "flat.hpp"

#include <danaus/kernels.hpp>
#include <danaus/random.hpp>

#include <cmath>

namespace danaus {
namespace {

using detail::require;

struct Distribution {
    float base, scale;
    bool normal;
};

struct PhiloxFields {
    std::uint32_t count, seed_low, seed_high, block_low, block_high;
    float base, scale;
};

void fill(Recorder& recorder, const Tensor& out, const Distribution& distribution, std::uint64_t seed,
          std::uint64_t offset) {
    detail::require_tensor(recorder, "out", out);
    detail::require_floating("out", out);
    detail::require_no_self_overlap("out", out);
    if (out.elements() == 0) return;
    const bool direct = out.is_contiguous();
    const Tensor plain = direct ? out : empty(recorder, out.type(), out.shape());

    kernels::Philox kernel;
    kernel.out_type = static_cast<std::uint32_t>(out.type());
    kernel.normal = distribution.normal;
    detail::for_pieces(recorder, plain.elements(), [&](std::uint64_t first, std::uint64_t count) {
        const std::uint64_t block = offset + first / 4;
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = {detail::flat_grid(philox_blocks(count), kernel.local_size), 1, 1};
        packet.operands[0] = detail::flat_operand(plain, first, count, Touch::write);
        packet.set_fields(
            PhiloxFields{static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(seed),
                         static_cast<std::uint32_t>(seed >> 32), static_cast<std::uint32_t>(block),
                         static_cast<std::uint32_t>(block >> 32), distribution.base, distribution.scale});
        packet.work = 32 * count;
        packet.label = distribution.normal ? "normal" : "uniform";
        recorder.record(packet);
    });
    if (!direct) convert_into(recorder, out, plain);
}

}  // namespace

void uniform_into(Recorder& recorder, const Tensor& out, float low, float high, std::uint64_t seed,
                  std::uint64_t offset) {
    require(std::isfinite(low) && std::isfinite(high) && low <= high && std::isfinite(high - low),
            "low, high: {} and {}; finite numbers with low <= high are needed, and a finite difference", low,
            high);
    fill(recorder, out, {low, high - low, false}, seed, offset);
}

Tensor uniform(Recorder& recorder, DataType type, const Shape& shape, float low, float high,
               std::uint64_t seed, std::uint64_t offset) {
    require(is_floating(type), "type: {}, one of f32, f16, bf16 is needed", to_string(type));
    const Tensor out = empty(recorder, type, shape);
    uniform_into(recorder, out, low, high, seed, offset);
    return out;
}

void normal_into(Recorder& recorder, const Tensor& out, float mean, float stddev, std::uint64_t seed,
                 std::uint64_t offset) {
    require(std::isfinite(mean), "mean: {}, a finite number is needed", mean);
    require(std::isfinite(stddev) && stddev >= 0.0f, "stddev: {}, a finite number >= 0 is needed", stddev);
    fill(recorder, out, {mean, stddev, true}, seed, offset);
}

Tensor normal(Recorder& recorder, DataType type, const Shape& shape, float mean, float stddev,
              std::uint64_t seed, std::uint64_t offset) {
    require(is_floating(type), "type: {}, one of f32, f16, bf16 is needed", to_string(type));
    const Tensor out = empty(recorder, type, shape);
    normal_into(recorder, out, mean, stddev, seed, offset);
    return out;
}

void kaiming_uniform_into(Recorder& recorder, const Tensor& out, std::uint64_t fan_in, std::uint64_t seed,
                          std::uint64_t offset, float gain) {
    require(fan_in >= 1, "fan_in: 0, at least 1 is needed");
    require(std::isfinite(gain) && gain >= 0.0f, "gain: {}, a finite number >= 0 is needed", gain);
    const auto bound =
        static_cast<float>(static_cast<double>(gain) * std::sqrt(3.0 / static_cast<double>(fan_in)));
    uniform_into(recorder, out, -bound, bound, seed, offset);
}

void fan_in_uniform_into(Recorder& recorder, const Tensor& out, std::uint64_t fan_in, std::uint64_t seed,
                         std::uint64_t offset) {
    require(fan_in >= 1, "fan_in: 0, at least 1 is needed");
    const auto bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(fan_in)));
    uniform_into(recorder, out, -bound, bound, seed, offset);
}

}  // namespace danaus
