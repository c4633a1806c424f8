// First pass of the global norm, shared by global_norm and the optimizers.
#pragma once

#include <danaus/tensor.hpp>

#include <span>

namespace danaus::detail {

struct SquareSums {
    Tensor partials;  ///< f32 (count, 2): sums of squares, and numbers of values that are not finite
    std::uint32_t count = 0;
};

/// Records partial sums over contiguous floating tensors. With a training state the values are divided by its
/// loss scale before they are squared.
[[nodiscard]] SquareSums record_square_sums(Recorder& recorder, std::span<const Tensor> tensors,
                                            const Tensor& state = {});

}  // namespace danaus::detail
