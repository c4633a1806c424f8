// What layers ask of epilogues, how they write gradients, and how many draws of random ones there are.
#pragma once

#include "check.hpp"
#include "multiply.hpp"

#include <danaus/linear.hpp>
#include <danaus/sparse_weight24.hpp>

namespace danaus::detail {

/// The epilogue of a layer's product into `out`.
inline void check_layer_epilogue(const Recorder& recorder, const Epilogue& epilogue, const Tensor& out,
                                 DataType type) {
    require(!epilogue.bias, "epilogue.bias: {}, a layer adds its own; none may be given",
            to_string(epilogue.bias.shape()));
    require(epilogue.order == Order::token_major || epilogue.order == Order::feature_major,
            "epilogue.order: {} is none of the known ones", static_cast<std::uint32_t>(epilogue.order));
    check_epilogue(recorder, epilogue, out, type);
}

/// How masks are searched, and whether they have codes.
void check_search(const SparseWeight24Options& options);

inline GradientOptions gradient_options(const Linear::Saved& saved, const BackwardOptions& options) {
    return {.scale = saved.scale, .accumulate = options.accumulate};
}

/// BackwardOptions::draw is the high part of the place in the stream of random numbers: below it are more
/// blocks than a gradient of any size takes, so that no two draws of whatever sizes share numbers.
inline constexpr unsigned draw_shift = 40;
inline constexpr std::uint64_t last_draw = (std::uint64_t{1} << (64 - draw_shift)) - 1;

}  // namespace danaus::detail
