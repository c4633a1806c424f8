// Measuring a structured matrix against its dense form.
#include "check.hpp"
#include "tune_trial.hpp"

#include <danaus/best.hpp>
#include <danaus/random.hpp>

namespace danaus {
namespace {

using namespace detail;

template <typename Structure>
Best<Structure> choose(Stream& stream, const Structure& a, std::uint64_t tokens, const TuneOptions& options) {
    require(tokens > 0, "tokens: 0, at least 1");
    require(options.rounds >= least_samples, "best: rounds {}, at least {}", options.rounds, least_samples);
    Best<Structure> chosen{a, {}, tokens};
    PackedWeight packed;
    Tensor x, y;
    Stream own = tuning_stream(stream.device());
    try {
        const Tensor dense = to_dense(stream, a);
        const Shape& shape = dense.shape();
        if (shape.elements() == 0) return chosen;
        packed = pack(stream, dense);
        stream.finish();
        const std::size_t last = shape.rank() - 1;
        Shape in = shape, out = shape;
        in[last - 1] = out[last - 1] = tokens;
        out[last] = shape[last - 1];
        x = uniform(own, packed.type(), in, -1.0f, 1.0f, 1);
        y = matmul(own, x, packed);
        own.finish();
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::unsupported && error.kind() != ErrorKind::out_of_memory) throw;
        return chosen;
    }
    const auto by = [&](const auto& w) {
        return Trial::Way{{}, [=](Recorder& recorder) { matmul_into(recorder, y, x, w); }};
    };
    const Entry entry = compare_ways(own, {by(a), by(packed)}, options);
    chosen.structured_nanoseconds = entry.measured[0].median();
    chosen.dense_nanoseconds = entry.measured[1].median();
    if (entry.chosen == 1) chosen.dense = packed;
    return chosen;
}

}  // namespace

Best<Sparse24> best(Stream& stream, const Sparse24& a, std::uint64_t tokens, const TuneOptions& options) {
    return choose(stream, a, tokens, options);
}

Best<TileSparse24> best(Stream& stream, const TileSparse24& a, std::uint64_t tokens,
                        const TuneOptions& options) {
    return choose(stream, a, tokens, options);
}

Best<VectorSparse> best(Stream& stream, const VectorSparse& a, std::uint64_t tokens,
                        const TuneOptions& options) {
    return choose(stream, a, tokens, options);
}

Best<BlockDiagonal> best(Stream& stream, const BlockDiagonal& a, std::uint64_t tokens,
                         const TuneOptions& options) {
    return choose(stream, a, tokens, options);
}

Best<Monarch> best(Stream& stream, const Monarch& a, std::uint64_t tokens, const TuneOptions& options) {
    return choose(stream, a, tokens, options);
}

}  // namespace danaus
