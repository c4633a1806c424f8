#include "rates.hpp"

#include <danaus/bench/probes.hpp>
#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <bit>
#include <numeric>
#include <span>

#include <fmt/format.h>

namespace danaus::bench {
namespace {

constexpr std::uint64_t most_bytes = 1ull << 27;  // a storage descriptor spans as much at least
constexpr std::uint32_t columns = 1u << 15;       // of a grid in two dimensions

struct Best {
    double rate = 0.0;
    Packet packet;
    std::string name;
};

// Choosing among candidates needs less time than the final figure.
MeasureOptions glance(const MeasureOptions& options) {
    MeasureOptions some = options;
    some.min_time = options.min_time / 10.0;
    some.repetitions = std::min(options.repetitions, 3u);
    return some;
}

double median_ns(Stream& stream, const Packet& packet, const MeasureOptions& options) {
    return measure(
               stream, [&](Recorder& recorder) { recorder.record(packet); }, options)
        .device.median;
}

[[noreturn]] void wrong(const std::string& kernel) {
    throw Error(ErrorKind::vulkan, fmt::format("wrong result of the micro-kernel {}", kernel));
}

template <typename Word>
std::vector<Word> words_of(Stream& stream, const Buffer& buffer, std::size_t count) {
    std::vector<Word> words(count);
    stream.download(buffer, 0, std::as_writable_bytes(std::span(words)));
    return words;
}

// Source and destination of all copies, with a pattern in the source.
struct Pair {
    Pair(Stream& stream, std::uint64_t size)
        : bytes(size), source(stream.device().allocate(size)), destination(stream.device().allocate(size)) {
        pattern.resize(bytes / 4);
        std::iota(pattern.begin(), pattern.end(), 0x3f000000u);  // floats, were they read as such
        stream.upload(source, 0, std::as_bytes(std::span(pattern)));
    }
    void forget(Stream& stream) const {
        const std::vector<std::uint32_t> nothing(pattern.size());
        stream.upload(destination, 0, std::as_bytes(std::span(nothing)));
    }
    void expect(Stream& stream, const std::string& name) const {
        if (words_of<std::uint32_t>(stream, destination, pattern.size()) != pattern) wrong(name);
    }

    std::uint64_t bytes;
    Buffer source, destination;
    std::vector<std::uint32_t> pattern;
};

Packet copy_packet(const Pair& pair, const probes::StreamCopy& copy) {
    Packet packet;
    packet.kernel = copy.kernel();
    const auto words = static_cast<std::uint32_t>(pair.bytes / 4);
    const std::uint32_t groups = words / (copy.local_size * copy.width * copy.steps);
    packet.grid = {std::min(groups, columns), std::max(1u, groups / columns), 1};
    packet.operands[0] = {pair.source, 0, pair.bytes, Touch::read};
    packet.operands[1] = {pair.destination, 0, pair.bytes, Touch::write};
    packet.set_fields(words);
    packet.work = words;
    packet.label = "stream_copy";
    return packet;
}

void measure_copies(Stream& stream, const MeasureOptions& options, Rates& rates) {
    const Capabilities& caps = stream.device().capabilities();
    const Pair pair(stream,
                    std::bit_floor(std::clamp<std::uint64_t>(caps.device_memory / 8, 1u << 22, most_bytes)));
    const double moved = 2.0 * static_cast<double>(pair.bytes);
    Best best;
    for (const std::uint32_t local_size : {64u, 256u})
        for (const std::uint32_t width : {2u, 4u})
            for (const std::uint32_t steps : {4u, 64u}) {
                const Packet packet = copy_packet(pair, {local_size, width, steps});
                if (!unfit_reason(packet.kernel, caps).empty()) continue;
                const double rate = moved / median_ns(stream, packet, glance(options));
                if (rate > best.rate)
                    best = {rate, packet,
                            fmt::format("local_size {}, {} bytes a lane, {} steps", local_size, 4 * width,
                                        steps)};
            }
    pair.forget(stream);
    stream.record(best.packet);
    pair.expect(stream, "stream_copy");
    rates.copy_kernel = best.name;
    rates.copy_bytes_per_ns = moved / median_ns(stream, best.packet, options);

    const Copy whole{pair.source, pair.destination, 0, 0, pair.bytes};
    pair.forget(stream);
    stream.record(whole);
    pair.expect(stream, "the driver's copy");
    rates.driver_bytes_per_ns =
        moved / measure(
                    stream, [&](Recorder& recorder) { recorder.record(whole); }, options)
                    .device.median;
}

struct MultiplyAdd {
    std::uint32_t rounds = 1;
    float factor = 1.0f, summand = 1.0f;
};

struct Lanes {
    Buffer result;
    std::uint32_t invocations;
};

constexpr std::uint32_t steps_per_round = 4;

Packet peak_packet(const Lanes& lanes, const probes::MultiplyAdd& kernel, const MultiplyAdd& fields) {
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {lanes.invocations / kernel.local_size, 1, 1};
    packet.operands[0] = {lanes.result, 0, 4ull * lanes.invocations, Touch::write};
    packet.set_fields(fields);
    packet.work = std::uint64_t{lanes.invocations} * fields.rounds * steps_per_round * kernel.accumulators;
    packet.label = "multiply_add";
    return packet;
}

void measure_peak(Stream& stream, const MeasureOptions& options, Rates& rates) {
    const Capabilities& caps = stream.device().capabilities();
    // Enough to fill the largest GPUs several times; a CPU needs some workgroups per thread.
    const std::uint32_t invocations = caps.type == DeviceType::cpu ? 1u << 14 : 1u << 20;
    const Lanes lanes{stream.device().allocate(4ull * invocations), invocations};
    constexpr double long_enough = 2e6;  // nanoseconds, beside which a launch is nothing
    Best best;
    for (const std::uint32_t local_size : {8u, 64u, 256u})
        for (const std::uint32_t accumulators : {16u, 32u}) {
            const probes::MultiplyAdd kernel{local_size, accumulators};
            if (!unfit_reason(kernel.kernel(), caps).empty() ||
                invocations / local_size > caps.max_workgroup_count[0])
                continue;
            constexpr std::uint32_t few = 3;
            stream.record(peak_packet(lanes, kernel, {few}));
            const std::vector<float> sums = words_of<float>(stream, lanes.result, invocations);
            for (std::uint32_t i = 0; i < invocations; ++i) {
                const std::uint32_t first = i % 64 + few * steps_per_round;
                if (sums[i] !=
                    static_cast<float>(accumulators * first + accumulators * (accumulators - 1) / 2))
                    wrong("multiply_add");
            }
            MultiplyAdd fields{16, 0.9990234375f, 0.001f};
            double time = 0.0;
            do {
                fields.rounds *= 2;
                time = median_ns(stream, peak_packet(lanes, kernel, fields), glance(options));
            } while (time < long_enough && fields.rounds < 1u << 16);
            const Packet packet = peak_packet(lanes, kernel, fields);
            const double rate = 2.0 * static_cast<double>(packet.work) / time;
            if (rate > best.rate)
                best = {rate, packet,
                        fmt::format("local_size {}, {} accumulators a lane", local_size, accumulators)};
        }
    rates.peak_kernel = best.name;
    rates.flops_per_ns =
        2.0 * static_cast<double>(best.packet.work) / median_ns(stream, best.packet, options);
}

}  // namespace

double Rates::memory() const {
    return std::max(copy_bytes_per_ns, driver_bytes_per_ns);
}

Rates measure_rates(Stream& stream, const MeasureOptions& options) {
    Rates rates;
    const Tensor word(stream.device(), DataType::u32, {1});
    rates.launch_ns = measure(
                          stream, [&](Recorder& recorder) { fill_into(recorder, word, 1.0); }, options)
                          .device.median;
    measure_copies(stream, options, rates);
    measure_peak(stream, options, rates);
    return rates;
}

}  // namespace danaus::bench
