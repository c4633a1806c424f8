// What both forms of a 2:4 matrix have in common: values, and words that say where they belong.
#pragma once

#include "check.hpp"
#include "multiply.hpp"

#include <danaus/tile_sparse24.hpp>

namespace danaus::detail {

/// A Sparse24 or a TileSparse24.
struct Stored24 {
    Stored24(const Sparse24& a) : shape(a.shape()), values(a.values()), places(a.metadata()) {}
    Stored24(const TileSparse24& a)
        : shape(a.shape()), values(a.values()), places(a.codes()), tile_codes(true) {}

    Shape shape;
    Tensor values, places;
    bool tile_codes = false;
};

/// Shapes of values and places, and the bytes of both.
struct Layout24 {
    Shape values, places;
    std::uint64_t value_bytes = 0, bytes = 0;
};
/// Throws Error(invalid_argument), naming the matrix `name`, for a type or shape that there is none of.
[[nodiscard]] Layout24 layout24(const char* name, DataType type, const Shape& shape, bool tile_codes);

struct Tensors24 {
    Tensor values, places;
};
/// In `buffer` from `byte_offset` on.
[[nodiscard]] Tensors24 tensors24(const char* name, const Buffer& buffer, DataType type, const Shape& shape,
                                  std::uint64_t byte_offset, bool tile_codes);

/// Throws unless `a` is present and of the recorder's device.
void check_stored(const Recorder& recorder, const char* name, const Stored24& a);
/// Throws unless neither of a's tensors shares an element with `other`.
void require_disjoint(const char* name, const Stored24& a, const char* other_name, const Tensor& other);
/// Throws unless w can be compressed into `out`, of its type or, for an f32 w, of any.
void check_compress(const Recorder& recorder, const char* name, const Stored24& out, const Shape& shape,
                    const Tensor& w, const char* w_name = "w");
/// Throws unless `mask` may be written beside `out`, or is null.
void check_mask_out(const Recorder& recorder, const Stored24& out, const Tensor& w, const Tensor& mask);

/// The weight of a product x·Aᵀ, or transposed x·A, and its contraction; blocks are the inner batch.
void set_weight24(MultiplyProblem& problem, const Stored24& a, bool transpose);

/// The dense matrix.
void expand24(Recorder& recorder, const Tensor& out, const Stored24& a);

}  // namespace danaus::detail
