// Weights packed once for multiplies that use them many times.
//
// A multiply reads a packed weight as one stream of memory instead of as rows that lie a power of two apart,
// where they drive each other out of a cache. On CPUs that is worth a third and more of the time; GPUs read
// either well. Packing costs about as much as copying the weight, and takes its bytes once more (padded to
// whole panels). What is packed stays as it was when the weight changes: pack it again, with pack_into() into
// the same memory.
#pragma once

#include <danaus/block_diagonal.hpp>
#include <danaus/tile_sparse24.hpp>

namespace danaus {

/// A weight (out, in), or a batch of them (blocks, out, in), as the device's multiplies like it best: panels
/// of panel_rows() rows, cut into blocks of panel_depth() columns, each contiguous and padded with zeros.
/// Which sizes these are depends on device, type and shape. Copies share the memory, like those of a Tensor.
class DANAUS_EXPORT PackedWeight {
public:
    /// A null weight.
    PackedWeight() = default;
    /// Uninitialised, from the recorder's memory. Throws Error(invalid_argument) unless `type` is floating
    /// and `shape` has rank 2 or 3.
    PackedWeight(Recorder& recorder, DataType type, const Shape& shape);

    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(data_); }
    /// Of what was packed.
    [[nodiscard]] DataType type() const noexcept { return type_; }
    /// The shape of what was packed: (out, in) or (blocks, out, in).
    [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
    [[nodiscard]] std::uint32_t panel_rows() const noexcept { return panel_rows_; }
    [[nodiscard]] std::uint32_t panel_depth() const noexcept { return panel_depth_; }
    /// All panels one after the other. On CPUs f32 even if the weight is not, so that it is decoded once.
    [[nodiscard]] const Tensor& data() const noexcept { return data_; }
    [[nodiscard]] std::uint64_t bytes() const { return data_.elements() * size_of(data_.type()); }

private:
    DataType type_ = DataType::f32;
    Shape shape_;
    std::uint32_t panel_rows_ = 0, panel_depth_ = 0;
    Tensor data_;
};

/// w (out, in) or (blocks, out, in), floating, any strides. For input gradients pack w.transpose().
[[nodiscard]] DANAUS_EXPORT PackedWeight pack(Recorder& recorder, const Tensor& w);
/// to_dense(a), packed: it has dense bytes then, and dense speed. Worth it for many tokens.
[[nodiscard]] DANAUS_EXPORT PackedWeight pack(Recorder& recorder, const Sparse24& a);
[[nodiscard]] DANAUS_EXPORT PackedWeight pack(Recorder& recorder, const TileSparse24& a);
/// The same into `out`, whose shape and type must be those of the weight.
DANAUS_EXPORT void pack_into(Recorder& recorder, const PackedWeight& out, const Tensor& w);
DANAUS_EXPORT void pack_into(Recorder& recorder, const PackedWeight& out, const Sparse24& a);
DANAUS_EXPORT void pack_into(Recorder& recorder, const PackedWeight& out, const TileSparse24& a);

/// y = x·Wᵀ as in matmul with a dense W: shapes, batches, types, epilogue and errors are the same.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const PackedWeight& w,
                                          const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const PackedWeight& w,
                               const Epilogue& epilogue = {});

/// A block-diagonal matrix of packed blocks (blocks, out_block, in_block).
struct PackedBlockDiagonal {
    PackedWeight blocks;
};
[[nodiscard]] DANAUS_EXPORT PackedBlockDiagonal pack(Recorder& recorder, const BlockDiagonal& w);
/// As matmul with a BlockDiagonal.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const PackedBlockDiagonal& w,
                                          const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x,
                               const PackedBlockDiagonal& w, const Epilogue& epilogue = {});

}  // namespace danaus
