// Laying a weight out for A_LAYOUT 2 of the direct kernels (tile_a.glsl), as a PackedWeight or as scratch.
#pragma once

#include "multiply.hpp"

#include <danaus/packed.hpp>

namespace danaus::detail {

struct PackLayout {
    std::uint32_t panel = 0, depth = 0;  ///< rows and columns of a block
    DataType type = DataType::f32;       ///< of the elements: the weight's, or f32
    /// Elements of a panel of a weight with `k` columns; of a weight with `rows` rows.
    [[nodiscard]] std::uint64_t panel_elements(std::uint64_t k) const;
    [[nodiscard]] std::uint64_t elements(std::uint64_t rows, std::uint64_t k) const;
};
/// The layout that the device's kernels like best for weights of this size.
[[nodiscard]] PackLayout pack_layout(const Capabilities& capabilities, DataType type, std::uint64_t rows,
                                     std::uint64_t k);

/// `batch` weights of rows × k elements: view.row along rows, view.column along k, view.inner between
/// weights. Or compressed ones: view.row is then the values of a compressed row and view.column is 0, or for
/// the transpose of what is compressed the other way round.
struct PackSource {
    MatrixView view;
    std::uint64_t rows = 0, k = 0, batch = 1;
    kernels::Pack::Weight weight = kernels::Pack::Weight::dense;
    bool tile_codes = false;
    std::uint64_t metadata_word = 0, metadata_words = 0;
};
/// Records the packing into `data`, contiguous and of layout.elements(…) · batch elements.
void record_pack(Recorder& recorder, const Tensor& data, PackLayout layout, const PackSource& source);

/// `problem` = x·Wᵀ with the weight W as B, read from `data` instead: roles are exchanged, W is A.
[[nodiscard]] MultiplyProblem with_packed(const MultiplyProblem& problem, const Tensor& data,
                                          PackLayout layout);

/// The weight of `problem`, which may_pack().
[[nodiscard]] PackSource pack_source(const MultiplyProblem& problem);
/// Whether the weight of `problem` can be packed into scratch for this one multiply.
[[nodiscard]] bool may_pack(const MultiplyProblem& problem, const Capabilities& capabilities, Access access);
/// Whether rules do so.
[[nodiscard]] bool packing_pays(const MultiplyProblem& problem, const Capabilities& capabilities,
                                Access access);
/// Scratch for it: first the problem to compute instead, and once that is planned the packing.
class ScratchPack {
public:
    ScratchPack(Recorder& recorder, const MultiplyProblem& problem);
    [[nodiscard]] MultiplyProblem problem(const MultiplyProblem& problem) const;
    void record(Recorder& recorder) const;

private:
    PackLayout layout_;
    PackSource source_;
    Tensor data_;
};

}  // namespace danaus::detail
