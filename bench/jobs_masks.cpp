// Masks of 2:4 weights: selecting and applying them, and the way to the compressed form and back.
#include "jobs.hpp"

#include <danaus/bench/probes.hpp>
#include <danaus/optimizer.hpp>
#include <danaus/unbiased.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace danaus::bench {
namespace {

// Records transposable masks with the kernel that scores all 90 patterns, otherwise the same.
class AllPatterns final : public Recorder {
public:
    explicit AllPatterns(Recorder& next) : next_(next) {}

    [[nodiscard]] Device device() const override { return next_.device(); }
    void record(const Packet& packet) override {
        Packet other = packet;
        other.kernel.guest = probes::TransposableMask{}.kernel().guest;
        next_.record(other);
    }
    void record(const Copy& copy) override { next_.record(copy); }
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override { return next_.allocate(bytes); }

private:
    Recorder& next_;
};

// Keeps the two largest magnitudes of every four neighbours, the lower index where they are equal.
void keep_two_of_four(const std::vector<float>& w, std::vector<float>& out) {
    for (std::size_t group = 0; group < w.size(); group += 4) {
        std::array<std::size_t, 4> order{group, group + 1, group + 2, group + 3};
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return std::abs(w[a]) > std::abs(w[b]); });
        for (std::size_t i = 0; i < 4; ++i) out[order[i]] = i < 2 ? w[order[i]] : 0.0f;
    }
}

// Of every 4×4 tile the pattern of two in each row and column that keeps the most, the lowest of equal ones:
// all 90 are tried. Bit 4 · row + column of a pattern.
void keep_best_patterns(const std::vector<float>& w, std::vector<float>& out, std::size_t cols) {
    std::vector<std::uint32_t> patterns;
    for (std::uint32_t p = 0; p < 1u << 16; ++p) {
        bool two = true;
        for (unsigned i = 0; i < 4; ++i)
            two = two && std::popcount(p >> 4 * i & 0xfu) == 2 && std::popcount(p >> i & 0x1111u) == 2;
        if (two) patterns.push_back(p);
    }
    const auto at = [&](std::size_t tile, std::size_t i) {
        return (tile / (cols / 4) * 4 + i / 4) * cols + tile % (cols / 4) * 4 + i % 4;
    };
    for (std::size_t tile = 0; tile < w.size() / 16; ++tile) {
        std::array<int, 16> magnitudes{};
        for (std::size_t i = 0; i < 16; ++i) magnitudes[i] = std::abs(static_cast<int>(w[at(tile, i)]));
        std::uint32_t best = 0;
        int best_score = -1;
        for (const std::uint32_t pattern : patterns) {
            int score = 0;
            for (std::size_t i = 0; i < 16; ++i) score += (pattern >> i & 1u) != 0 ? magnitudes[i] : 0;
            if (score > best_score) best = pattern, best_score = score;
        }
        for (std::size_t i = 0; i < 16; ++i) out[at(tile, i)] = (best >> i & 1u) != 0 ? w[at(tile, i)] : 0.0f;
    }
}

}  // namespace

Job masking(Stream& stream, DataType type, const Sizes& s, MaskVerb verb) {
    Job job;
    const Tensor w(stream.device(), type, {s.out, s.in}), out(stream.device(), type, {s.out, s.in});
    job.operands = {{Role::input, w.elements(), w, false}, {Role::output, out.elements(), out, false}};
    job.oracle = [verb, cols = s.in](std::vector<std::vector<float>>& operands) {
        if (verb == MaskVerb::select_transposable)
            keep_best_patterns(operands[0], operands[1], cols);
        else
            keep_two_of_four(operands[0], operands[1]);
    };
    const Tensor mask(stream.device(), DataType::u32, mask_shape(w.shape()));
    const Sparse24 compressed(stream.device(), type, w.shape());
    const std::uint64_t dense_bytes = w.elements() * size_of(type), mask_bytes = mask.elements() * 4;
    const auto select = [=](Recorder& recorder) { select_mask_into(recorder, mask, w); };
    const auto apply = [=](Recorder& recorder) { apply_mask_into(recorder, out, w, mask); };
    const auto expand = [=](Recorder& recorder) { to_dense_into(recorder, out, compressed); };
    const auto select_and_compress = [=](Recorder& recorder) {
        compress_by_magnitude_into(recorder, compressed, w);
    };
    switch (verb) {
        case MaskVerb::select:
            job.record = select;
            job.reveal = apply;
            job.bytes = dense_bytes + mask_bytes;
            break;
        case MaskVerb::select_transposable:
            job.record = [=](Recorder& recorder) { select_transposable_mask_into(recorder, mask, w); };
            job.reveal = apply;
            job.rival = {"all 90 patterns scored", [=](Recorder& recorder) {
                             AllPatterns all(recorder);
                             select_transposable_mask_into(all, mask, w);
                         }};
            job.bytes = dense_bytes + mask_bytes;
            break;
        case MaskVerb::apply:
            job.prepare = select;
            job.record = apply;
            job.bytes = 2 * dense_bytes + mask_bytes;
            break;
        case MaskVerb::compress:
            job.prepare = select;
            job.record = [=](Recorder& recorder) { compress_into(recorder, compressed, w, mask); };
            job.reveal = expand;
            job.bytes = dense_bytes + mask_bytes + compressed.bytes();
            break;
        case MaskVerb::select_and_compress:
            job.record = select_and_compress;
            job.reveal = expand;
            job.bytes = dense_bytes + compressed.bytes();
            break;
        case MaskVerb::expand:
            job.prepare = select_and_compress;
            job.record = expand;
            job.bytes = dense_bytes + compressed.bytes();
            break;
    }
    return job;
}

Job masked_update(Stream& stream, const Sizes& s) {
    Job job;
    const Shape shape{s.out, s.in};
    const Parameter weight = new_parameter(stream.device(), shape);
    const Tensor before(stream.device(), DataType::f32, shape), after(stream.device(), DataType::f32, shape);
    const Tensor mask(stream.device(), DataType::u32, mask_shape(shape));
    const Tensor last(stream.device(), DataType::u32, mask_shape(shape));
    job.operands = {{Role::input, before.elements(), before, false},
                    {Role::input, before.elements(), weight.gradient, false},
                    {Role::output, after.elements(), after, false}};
    // Moments that make AdamW's first step exact: m̂ / √v̂ is the sign of the gradient.
    Parameter decayed = weight;
    decayed.masked_decay = {mask, 1.0f};
    const Optimizer optimizer(
        stream, {decayed},
        AdamWOptions{.learning_rate = 1.0f, .beta1 = 0.5, .beta2 = 0.75, .weight_decay = 0.0f});
    job.oracle = [](std::vector<std::vector<float>>& operands) {
        std::vector<float> kept(operands[0].size());
        keep_two_of_four(operands[0], kept);
        for (std::size_t i = 0; i < kept.size(); ++i) {
            const float w = operands[0][i], g = operands[1][i] + (kept[i] == w ? 0.0f : w);
            operands[2][i] = w - static_cast<float>((g > 0.0f) - (g < 0.0f));
        }
    };
    job.prepare = [=](Recorder& recorder) {
        convert_into(recorder, weight.master, before);
        select_mask_into(recorder, mask, before);
        fill_into(recorder, last, 0.0);
    };
    const Tensor flips(stream.device(), DataType::u32, {1});
    job.record = [=](Recorder& recorder) {
        optimizer.step(recorder);
        count_flips_into(recorder, flips, mask, last);
    };
    job.reveal = [=](Recorder& recorder) { convert_into(recorder, after, weight.master); };
    job.tolerance = 1e-6;
    // Weight and both moments read and written, the gradient read; the mask twice, and the one before it.
    job.bytes = before.elements() * (6 + 1) * 4 + 3 * mask.elements() * 4;
    return job;
}

Job unbiased_compression(Stream& stream, DataType type, const Sizes& s, UnbiasedPruning pruning) {
    Job job;
    const Tensor dz(stream.device(), type, {s.tokens, s.out}), out(stream.device(), type, {s.tokens, s.out});
    job.operands = {{Role::input, dz.elements(), dz, false}, {Role::output, out.elements(), out, false}};
    // What is kept is drawn; known are groups (of four tokens) with one entry that is not zero, or none.
    job.oracle = [features = s.out](std::vector<std::vector<float>>& operands) {
        const std::vector<float>& x = operands[0];
        for (std::size_t i = 0; i < x.size(); ++i) {
            const std::size_t first = i / (4 * features) * 4 * features + i % features;
            int others = 0;
            for (std::size_t j = 0; j < 4; ++j)
                others += first + j * features != i && x[first + j * features] != 0.0f ? 1 : 0;
            if (others == 0) operands[1][i] = x[i];
        }
    };
    const Sparse24 compressed(stream.device(), type, {s.out, s.tokens});
    job.record = [=](Recorder& recorder) {
        compress_unbiased_into(recorder, compressed, dz.transpose(), {pruning, 1, 0, {}});
    };
    job.reveal = [=](Recorder& recorder) { to_dense_into(recorder, out.transpose(), compressed); };
    job.bytes = dz.elements() * size_of(type) + compressed.bytes();
    return job;
}

}  // namespace danaus::bench
