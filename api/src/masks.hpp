// What masks and compressed forms of every pattern share: their checks, and how their kernels are laid out.
#pragma once

#include "check.hpp"

#include <danaus/sparse24.hpp>

#include <algorithm>

namespace danaus::detail {

inline void check_matrix(const Recorder& recorder, const char* name, const Tensor& t) {
    require_tensor(recorder, name, t);
    require_floating(name, t);
    require(t.rank() == 2 || t.rank() == 3, "{}: shape {}, rank 2 or 3 is needed", name,
            to_string(t.shape()));
}

inline void check_mask(const Recorder& recorder, const char* name, const Tensor& mask, const Tensor& w) {
    require_tensor(recorder, name, mask);
    require_type(name, mask, DataType::u32);
    const Shape shape = mask_shape(w.shape());
    require(mask.shape() == shape, "{}: shape {}, {} is needed for w {}", name, to_string(mask.shape()),
            to_string(shape), to_string(w.shape()));
}

/// Invocations of a workgroup: 64 where the device allows it, at least 8.
inline std::uint32_t local_size(const Recorder& recorder) {
    const Capabilities& caps = recorder.device().capabilities();
    std::uint32_t size = 64;
    while (size > 8 && size > std::min(caps.max_workgroup_invocations, caps.max_workgroup_size[0])) size /= 2;
    return size;
}

/// A stride along one element is never followed and may be anything.
inline std::uint32_t stride(const Tensor& t, std::size_t dimension) {
    return t && t.size(dimension) > 1 ? static_cast<std::uint32_t>(t.strides()[dimension]) : 0;
}

}  // namespace danaus::detail
