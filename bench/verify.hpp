// Holding a job's results against the oracle.
#pragma once

#include "cases.hpp"

namespace danaus::bench {

/// Throws Error(vulkan) naming the first element unless the job's results equal the oracle's, bit for bit,
/// wherever the oracle has computed them (all of it, or a sample of large products: gemm.hpp), and something
/// was written everywhere else.
void verify(Stream& stream, const Job& job);

}  // namespace danaus::bench
