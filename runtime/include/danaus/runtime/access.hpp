#pragma once

#include <cstdint>

namespace danaus {

/// How a kernel reaches its operands. Every module is compiled once for each way it supports.
enum class Access : std::uint32_t {
    address = 0,     ///< device addresses in the push constants
    descriptor = 1,  ///< one descriptor set of storage buffers, word offsets in the push constants
};

}  // namespace danaus
