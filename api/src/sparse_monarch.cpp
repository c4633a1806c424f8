// Monarch matrices of 2:4 factors: two factors like any others, each stored compressed.
#include "check.hpp"
#include "masks.hpp"
#include "stored24.hpp"
#include "two_factors.hpp"

#include <danaus/sparse_monarch.hpp>

namespace danaus {

using namespace detail;

namespace {

template <typename Form>
void check_pair(const Form& w1, const Form& w2) {
    for (const auto& [name, w] : {std::pair{"w1", &w1}, std::pair{"w2", &w2}}) {
        require(static_cast<bool>(*w), "{}: a null matrix", name);
        require(w->shape().rank() == 3, "{}: shape {}, rank 3 is needed", name, to_string(w->shape()));
    }
    require(w1.type() == w2.type(), "w2: type {}, w1 has {}", to_string(w2.type()), to_string(w1.type()));
    require_chained(w1.shape(), w2.shape());
}

// `call` with both factors in the form that there is.
template <typename Call>
auto with_factors(const SparseMonarch24& a, const Call& call) {
    if (a.tile_codes()) return call(a.tiles().first, a.tiles().second);
    return call(a.rows().first, a.rows().second);
}

TwoFactors factors_of(const Recorder& recorder, const SparseMonarch24& a) {
    require(static_cast<bool>(a), "a: a null matrix");
    return with_factors(a, [&](const auto& w1, const auto& w2) -> TwoFactors {
        check_stored(recorder, "w1", w1);
        check_stored(recorder, "w2", w2);
        const Shape &first = w1.shape(), &second = w2.shape();
        const FeatureLayout through = interleaved(second);
        return {{{}, {}, {first[2], 1}, {first[1], 1}, "sparse_monarch_first", 0, Stored24(w1)},
                {{}, {}, through, through, "sparse_monarch_second", 0, Stored24(w2)},
                first,
                second,
                w1.type(),
                "the Monarch matrix"};
    });
}

void check_source(const Recorder& recorder, const Monarch& w) {
    require_tensor(recorder, "w.w1", w.w1);
    require_tensor(recorder, "w.w2", w.w2);
    require_floating("w.w1", w.w1);
    require(w.order == OutputOrder::interleaved, "w.order: blocked, interleaved is needed");
}

// All that compressing checks, of both factors, before one of them is recorded.
void check_targets(const Recorder& recorder, const SparseMonarch24& out, const Monarch& w) {
    check_source(recorder, w);
    require(static_cast<bool>(out), "out: a null matrix");
    with_factors(out, [&](const auto& w1, const auto& w2) {
        check_compress(recorder, "out.w1", w1, w.w1.shape(), w.w1, "w.w1");
        check_compress(recorder, "out.w2", w2, w.w2.shape(), w.w2, "w.w2");
        const Stored24 first(w1);
        for (const Tensor& other : {first.values, first.places}) {
            require_disjoint("out.w2", w2, "out.w1", other);
            require_disjoint("w.w2", w.w2, "out.w1", other);
        }
        require_disjoint("out.w2", w2, "w.w1", w.w1);
    });
}

}  // namespace

SparseMonarch24::SparseMonarch24(Sparse24 w1, Sparse24 w2) : rows_(std::move(w1), std::move(w2)) {
    check_pair(rows_.first, rows_.second);
}

SparseMonarch24::SparseMonarch24(TileSparse24 w1, TileSparse24 w2) : tiles_(std::move(w1), std::move(w2)) {
    check_pair(tiles_.first, tiles_.second);
}

const Shape& SparseMonarch24::first_shape() const noexcept {
    return tile_codes() ? tiles_.first.shape() : rows_.first.shape();
}

const Shape& SparseMonarch24::second_shape() const noexcept {
    return tile_codes() ? tiles_.second.shape() : rows_.second.shape();
}

DataType SparseMonarch24::type() const noexcept {
    return tile_codes() ? tiles_.first.type() : rows_.first.type();
}

std::uint64_t SparseMonarch24::bytes() const {
    return with_factors(*this, [](const auto& w1, const auto& w2) { return w1.bytes() + w2.bytes(); });
}

void compress_by_magnitude_into(Recorder& recorder, const SparseMonarch24& out, const Monarch& w) {
    check_targets(recorder, out, w);
    if (out.tile_codes()) {
        compress_transposable_into(recorder, out.tiles().first, w.w1);
        compress_transposable_into(recorder, out.tiles().second, w.w2);
    } else {
        compress_by_magnitude_into(recorder, out.rows().first, w.w1);
        compress_by_magnitude_into(recorder, out.rows().second, w.w2);
    }
}

SparseMonarch24 compress_by_magnitude(Recorder& recorder, const Monarch& w, bool tile_codes) {
    check_source(recorder, w);
    const DataType type = w.w1.type();
    const Shape &first = w.w1.shape(), &second = w.w2.shape();
    const SparseMonarch24 out = tile_codes ? SparseMonarch24(empty_tile_sparse24(recorder, type, first),
                                                             empty_tile_sparse24(recorder, type, second))
                                           : SparseMonarch24(empty_sparse24(recorder, type, first),
                                                             empty_sparse24(recorder, type, second));
    compress_by_magnitude_into(recorder, out, w);
    return out;
}

void compress_into(Recorder& recorder, const SparseMonarch24& out, const Monarch& w, const Tensor& first_mask,
                   const Tensor& second_mask) {
    check_targets(recorder, out, w);
    check_mask(recorder, "first_mask", first_mask, w.w1, "w.w1");
    check_mask(recorder, "second_mask", second_mask, w.w2, "w.w2");
    with_factors(out, [&](const auto& w1, const auto& w2) {
        for (const auto& [name, mask] :
             {std::pair{"first_mask", &first_mask}, std::pair{"second_mask", &second_mask}}) {
            require_disjoint("out.w1", w1, name, *mask);
            require_disjoint("out.w2", w2, name, *mask);
        }
    });
    if (out.tile_codes()) {
        compress_tiles_into(recorder, out.tiles().first, w.w1, first_mask);
        compress_tiles_into(recorder, out.tiles().second, w.w2, second_mask);
    } else {
        compress_into(recorder, out.rows().first, w.w1, first_mask);
        compress_into(recorder, out.rows().second, w.w2, second_mask);
    }
}

Monarch to_monarch(Recorder& recorder, const SparseMonarch24& a) {
    static_cast<void>(factors_of(recorder, a));
    return with_factors(a, [&](const auto& w1, const auto& w2) {
        return Monarch(to_dense(recorder, w1), to_dense(recorder, w2));
    });
}

Tensor to_dense(Recorder& recorder, const SparseMonarch24& a) {
    const TwoFactors factors = factors_of(recorder, a);
    const Tensor w1 =
        with_factors(a, [&](const auto& first, const auto&) { return to_dense(recorder, first); });
    return dense_of_factors(recorder, factors, w1);
}

namespace {

void multiply_into(Recorder& recorder, const Tensor& out, const Tensor& x, const SparseMonarch24& a,
                   bool transpose, const Epilogue& epilogue, Tensor* inner) {
    const TwoFactors w = factors_of(recorder, a);
    check_features(recorder, x, w, transpose);
    check_product(recorder, out, x, w, transpose, epilogue);
    const Tensor t = multiply_factors(recorder, out, x, w, transpose, epilogue);
    if (inner) *inner = t;
}

Tensor multiply(Recorder& recorder, const Tensor& x, const SparseMonarch24& a, bool transpose,
                const Epilogue& epilogue, Tensor* inner) {
    const TwoFactors w = factors_of(recorder, a);
    check_features(recorder, x, w, transpose);
    const std::uint64_t features = transpose ? w.in_features() : w.out_features();
    const Tensor out = new_result(recorder, with_features(x, features), x.type(), epilogue);
    multiply_into(recorder, out, x, a, transpose, epilogue, inner);
    return out;
}

}  // namespace

Tensor matmul(Recorder& recorder, const Tensor& x, const SparseMonarch24& a, const Epilogue& epilogue,
              Tensor* inner) {
    return multiply(recorder, x, a, false, epilogue, inner);
}

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const SparseMonarch24& a,
                 const Epilogue& epilogue, Tensor* inner) {
    multiply_into(recorder, out, x, a, false, epilogue, inner);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const SparseMonarch24& a,
                         const Epilogue& epilogue) {
    return multiply(recorder, dy, a, true, epilogue, nullptr);
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const SparseMonarch24& a,
                            const Epilogue& epilogue) {
    multiply_into(recorder, out, dy, a, true, epilogue, nullptr);
}

void backward_into(Recorder& recorder, const MonarchGradients& out, const Tensor& dy, const Tensor& x,
                   const SparseMonarch24& a, const Tensor& inner, const GradientOptions& options) {
    differentiate_factors(recorder, out, dy, x, factors_of(recorder, a), inner, options);
}

}  // namespace danaus
