// Linear layers of Monarch matrices, of any sizes: what blocks do not divide is padded with zeros.
#include "factor.hpp"
#include "linear_checks.hpp"

#include <danaus/linear.hpp>

#include <algorithm>

namespace danaus {

using detail::require;

namespace {

struct Blocks {
    std::uint64_t in, out, inner;  ///< features of a block
};

Blocks blocks_of(std::uint64_t in, std::uint64_t out, std::uint64_t blocks) {
    require(blocks > 0, "blocks: 0, at least 1 is needed");
    const std::uint64_t p = in / blocks + (in % blocks != 0), s = out / blocks + (out % blocks != 0);
    return {p, s, std::min(p, s)};
}

Tensor first_features(const Tensor& t, std::uint64_t features) {
    return t.slice(t.rank() - 1, 0, features);
}

// `t` with zeros behind its features.
Tensor padded(Recorder& recorder, const Tensor& t, std::uint64_t features) {
    const std::uint64_t own = t.size(t.rank() - 1);
    if (own == features) return t;
    const Tensor wide = empty(recorder, t.type(), detail::with_features(t, features));
    convert_into(recorder, first_features(wide, own), t);
    fill_into(recorder, wide.slice(wide.rank() - 1, own, features), 0.0);
    return wide;
}

}  // namespace

MonarchLinear::MonarchLinear(Recorder& recorder, std::uint64_t in, std::uint64_t out, std::uint64_t blocks,
                             const LinearOptions& options)
    : Linear(recorder, in, out, options,
             {{"blkdiag1", {blocks, blocks_of(in, out, blocks).inner, blocks_of(in, out, blocks).in}},
              {"blkdiag2", {blocks, blocks_of(in, out, blocks).out, blocks_of(in, out, blocks).inner}}}) {}

Monarch MonarchLinear::weight() const {
    return {parameters_[0].working, parameters_[1].working};
}

std::uint64_t MonarchLinear::inner_features() const {
    return weight().inner_features();
}

void MonarchLinear::multiply(Recorder& recorder, const Tensor& y, const Tensor& x, const Epilogue& epilogue,
                             Tensor* inner) const {
    const Monarch w = weight();
    detail::require_apart(y, epilogue, "x", x);
    const Tensor wide_x = padded(recorder, x, w.in_features());
    if (out() == w.out_features()) return matmul_into(recorder, y, wide_x, w, epilogue, inner);
    // What the epilogue reads and writes is as wide as the product.
    const Shape shape = detail::with_features(y, w.out_features());
    const Tensor wide_y = empty(recorder, y.type(), shape);
    Epilogue wide = epilogue;
    if (epilogue.bias) wide.bias = padded(recorder, epilogue.bias, w.out_features());
    if (epilogue.accumulate) convert_into(recorder, first_features(wide_y, out()), y);
    if (epilogue.residual) wide.residual = padded(recorder, epilogue.residual, w.out_features());
    if (epilogue.aux) wide.aux = empty(recorder, epilogue.aux.type(), shape);
    matmul_into(recorder, wide_y, wide_x, w, wide, inner);
    convert_into(recorder, y, first_features(wide_y, out()));
    if (epilogue.aux) convert_into(recorder, epilogue.aux, first_features(wide.aux, out()));
}

void MonarchLinear::differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                                  const BackwardOptions& options) const {
    const Monarch w = weight();
    const Tensor wide_x = padded(recorder, saved.x, w.in_features());
    const Tensor wide_dz = padded(recorder, dz, w.out_features());
    Tensor wide_dx = dx;
    if (dx && in() != w.in_features())
        wide_dx = empty(recorder, dx.type(), detail::with_features(dx, w.in_features()));
    const Monarch dw(parameters_[0].gradient, parameters_[1].gradient);
    danaus::backward_into(recorder, {wide_dx, dw}, wide_dz, wide_x, w, saved.inner,
                          detail::gradient_options(saved, options));
    if (dx && in() != w.in_features()) convert_into(recorder, dx, first_features(wide_dx, in()));
}

}  // namespace danaus
