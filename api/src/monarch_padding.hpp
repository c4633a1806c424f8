// Monarch matrices in layers of any sizes: what blocks do not divide is padded with zeros.
#pragma once

#include "factor.hpp"
#include "linear_checks.hpp"

#include <algorithm>

namespace danaus::detail {

/// Features of a block.
struct MonarchBlock {
    std::uint64_t in, out, inner;
};

inline MonarchBlock monarch_block(std::uint64_t in, std::uint64_t out, std::uint64_t blocks) {
    require(blocks > 0, "blocks: 0, at least 1 is needed");
    const std::uint64_t p = in / blocks + (in % blocks != 0), s = out / blocks + (out % blocks != 0);
    return {p, s, std::min(p, s)};
}

/// Zeros in the places of Monarch factors that only padding reaches, so that masks keep no others for them.
inline void clear_padding(Recorder& recorder, const std::vector<Parameter>& factors, std::uint64_t in,
                          std::uint64_t out) {
    const Tensor &first = factors[0].master, &second = factors[1].master;
    const std::uint64_t k = first.size(0), p = first.size(2), l = second.size(0), s = second.size(1);
    if (const std::uint64_t whole = p ? in / p : k; whole < k) {
        fill_into(recorder, first.select(0, whole).slice(1, in % p, p), 0.0);
        fill_into(recorder, first.slice(0, whole + 1, k), 0.0);
    }
    // Row S of block L is feature S·l + L.
    if (out < s * l) fill_into(recorder, second.select(1, s - 1).slice(0, out - (s - 1) * l, l), 0.0);
}

inline Tensor first_features(const Tensor& t, std::uint64_t features) {
    return t.slice(t.rank() - 1, 0, features);
}

/// `t` with zeros behind its features.
inline Tensor padded(Recorder& recorder, const Tensor& t, std::uint64_t features) {
    const std::uint64_t own = t.size(t.rank() - 1);
    if (own == features) return t;
    const Tensor wide = empty(recorder, t.type(), with_features(t, features));
    convert_into(recorder, first_features(wide, own), t);
    fill_into(recorder, wide.slice(wide.rank() - 1, own, features), 0.0);
    return wide;
}

/// matmul_into() of a Monarch matrix, plain or 2:4, that may be larger than x and y are wide.
template <typename Matrix>
void multiply_padded(Recorder& recorder, const Tensor& y, const Tensor& x, const Matrix& w,
                     const Epilogue& epilogue, Tensor* inner) {
    require_apart(y, epilogue, "x", x);
    const std::uint64_t out = y.size(y.rank() - 1);
    const Tensor wide_x = padded(recorder, x, w.in_features());
    if (out == w.out_features()) return matmul_into(recorder, y, wide_x, w, epilogue, inner);
    // What the epilogue reads and writes is as wide as the product.
    const Shape shape = with_features(y, w.out_features());
    const Tensor wide_y = empty(recorder, y.type(), shape);
    Epilogue wide = epilogue;
    if (epilogue.bias) wide.bias = padded(recorder, epilogue.bias, w.out_features());
    if (epilogue.accumulate) convert_into(recorder, first_features(wide_y, out), y);
    if (epilogue.residual) wide.residual = padded(recorder, epilogue.residual, w.out_features());
    if (epilogue.aux) wide.aux = empty(recorder, epilogue.aux.type(), shape);
    matmul_into(recorder, wide_y, wide_x, w, wide, inner);
    convert_into(recorder, y, first_features(wide_y, out));
    if (epilogue.aux) convert_into(recorder, epilogue.aux, first_features(wide.aux, out));
}

/// `call(dx, dz, x)` with all of them as wide as the matrix, and dx, unless it is null, cut behind it.
template <typename Matrix, typename Call>
void differentiate_padded(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Tensor& x,
                          const Matrix& w, const Call& call) {
    const std::uint64_t in = x.size(x.rank() - 1);
    const Tensor wide_x = padded(recorder, x, w.in_features());
    const Tensor wide_dz = padded(recorder, dz, w.out_features());
    const bool cut = dx && in != w.in_features();
    const Tensor wide_dx = cut ? empty(recorder, dx.type(), with_features(dx, w.in_features())) : dx;
    call(wide_dx, wide_dz, wide_x);
    if (cut) convert_into(recorder, dx, first_features(wide_dx, in));
}

}  // namespace danaus::detail
