// Masks of 2:4 weights: selecting and applying them, and the way to the compressed form and back.
#include "jobs.hpp"

#include <danaus/sparse24.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace danaus::bench {
namespace {

// Keeps the two largest magnitudes of every four neighbours, the lower index where they are equal.
void keep_two_of_four(const std::vector<float>& w, std::vector<float>& out) {
    for (std::size_t group = 0; group < w.size(); group += 4) {
        std::array<std::size_t, 4> order{group, group + 1, group + 2, group + 3};
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return std::abs(w[a]) > std::abs(w[b]); });
        for (std::size_t i = 0; i < 4; ++i) out[order[i]] = i < 2 ? w[order[i]] : 0.0f;
    }
}

}  // namespace

Job masking(Stream& stream, DataType type, const Sizes& s, MaskVerb verb) {
    Job job;
    const Tensor w(stream.device(), type, {s.out, s.in}), out(stream.device(), type, {s.out, s.in});
    job.operands = {{Role::input, w.elements(), w, false}, {Role::output, out.elements(), out, false}};
    job.oracle = [](std::vector<std::vector<float>>& operands) {
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

}  // namespace danaus::bench
