// Decompositions of batches of matrices as svd() and project() record them.
#pragma once

#include "check.hpp"

#include <danaus/svd.hpp>

#include <functional>

namespace danaus::detail {

/// Rotated working vectors (shaders/include/svd.glsl) of a (outer, inner, m, n), and how they lie.
struct Decomposition {
    bool by_columns = true;  ///< the vectors are the matrices' columns, else their rows
    std::uint64_t batch = 0;
    std::uint64_t count = 0, extent = 0;  ///< real vectors, and their real length
    std::uint64_t parts = 1;              ///< rows of an element: 2 of complex ones
    std::uint64_t panels = 0;  ///< vectors of a pair of panels (svd_panels.cpp); 0: vectors meet one by one
    std::uint64_t vectors = 0, rows = 0, dot_rows = 0;
    std::uint64_t lanes = 1;
    std::uint64_t identity = 0;  ///< first row of the other side's vectors; 0: there are none
    [[nodiscard]] bool is_complex() const { return parts == 2; }
    /// A stride of a matrix or a result, in words of what it holds: of complex ones in reals.
    [[nodiscard]] static std::uint32_t stride(const Tensor& tensor, std::size_t dimension);
    /// What kernels take its elements for: of complex ones f32.
    [[nodiscard]] static std::uint32_t part_type(const Tensor& tensor);
    std::uint32_t local_size = 64;
    Tensor work, state, norms;
};

/// A range of a batch (outer, inner).
struct BatchRange {
    std::uint64_t outer_begin, outer_end, inner_begin, inner_end;
    [[nodiscard]] Tensor of(const Tensor& tensor) const {
        return tensor.slice(0, outer_begin, outer_end).slice(1, inner_begin, inner_end);
    }
};
/// Calls `record` with ranges of the batch of a (outer, inner, m, n) that can be decomposed at once, each so
/// small that `reachable` says yes. Throws Error(unsupported) when a single matrix is too large.
void for_svd_pieces(const Recorder& recorder, const Tensor& a, const SvdOptions& options, bool both_sides,
                    const std::function<bool(const BatchRange&)>& reachable,
                    const std::function<void(const BatchRange&)>& record);

/// Records the decomposition of such a piece; with `both_sides` the rotations are kept.
[[nodiscard]] Decomposition decompose(Recorder& recorder, const Tensor& a, const SvdOptions& options,
                                      bool both_sides);

/// Where the terms of blocks go (shaders/include/svd_terms.glsl).
struct TermPlaces {
    std::uint32_t kind = 0;  ///< TERMS
    std::uint64_t inner = 1, first_outer = 0, first_inner = 0, q = 0, l = 1, kept = 0;
};
/// The `kept` longest vectors in order, and what goes with them: sigma (outer, inner, place) for kind 0, the
/// error (outer, inner) for kind 1.
[[nodiscard]] Tensor order_vectors(Recorder& recorder, const Decomposition& d, const TermPlaces& places,
                                   const Tensor& out);
/// `terms` vectors in that order as out (outer, inner, element, term), strides of what kind 1 or 2 does not
/// have being unused. `form` is FORM of vectors.comp.
void store_vectors(Recorder& recorder, const Decomposition& d, const TermPlaces& places, const Tensor& order,
                   std::uint64_t terms, std::uint32_t form, const Tensor& out);
/// The other side of a projection's factors, of the blocks `a` that were decomposed.
void store_products(Recorder& recorder, const Decomposition& d, const TermPlaces& places, const Tensor& order,
                    std::uint64_t terms, const Tensor& a, const Tensor& out);

/// Throws unless `options` are usable on the recorder's device.
void check_svd_options(const Recorder& recorder, const SvdOptions& options);

}  // namespace danaus::detail
