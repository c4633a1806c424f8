// Tensors of files that are to take the place of tensors that there are.
#pragma once

#include "check.hpp"
#include "masks.hpp"

#include <danaus/safetensors.hpp>

#include <algorithm>

namespace danaus::detail {

/// The file's tensor `name`, checked to have the shape of `like` and its type, or a 16-bit floating one where
/// that is f32, and no NaN or infinity if it is floating.
inline Tensor read_like(Stream& stream, const SafetensorsFile& file, const std::string& name,
                        const Tensor& like) {
    const SafetensorsEntry& entry = file.entry(name);
    const bool same =
        std::equal(entry.shape.begin(), entry.shape.end(), like.shape().begin(), like.shape().end());
    const bool widens =
        like.type() == DataType::f32 && (entry.type() == DataType::f16 || entry.type() == DataType::bf16);
    require((entry.type() == like.type() || widens) && same, "{}: {} ({}), {} {} is needed", name,
            entry.dtype, fmt::join(entry.shape, ", "), to_string(like.type()), to_string(like.shape()));
    Tensor tensor = file.load(stream, name);
    if (is_floating(like.type())) require_finite(stream, name.c_str(), tensor);
    return tensor;
}

}  // namespace danaus::detail
