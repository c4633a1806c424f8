// What passes of layers ask of the memory that they write to.
#pragma once

#include "check.hpp"
#include "multiply.hpp"

#include <danaus/linear.hpp>

namespace danaus::detail {

/// The epilogue of a layer's product into `out`.
inline void check_layer_epilogue(const Recorder& recorder, const Epilogue& epilogue, const Tensor& out,
                                 DataType type) {
    require(!epilogue.bias, "epilogue.bias: {}, a layer adds its own; none may be given",
            to_string(epilogue.bias.shape()));
    check_epilogue(recorder, epilogue, out, type);
}

/// dx, unless it is null, fits to the saved input and shares no memory with what the pass reads.
inline void check_input_gradient(const Recorder& recorder, const Tensor& dx, const Tensor& dy,
                                 const Linear::Saved& saved) {
    if (!dx) return;
    require_result(recorder, "dx", dx, saved.x.shape(), saved.x.type());
    for (const auto& [name, read] :
         {std::pair{"dy", &dy}, std::pair{"saved.x", &saved.x}, std::pair{"saved.aux", &saved.aux},
          std::pair{"saved.inner", &saved.inner}})
        if (*read) require_disjoint("dx", dx, name, *read);
}

}  // namespace danaus::detail
