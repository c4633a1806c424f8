// Everything of the library but embedding in a host's Vulkan device (embedding.hpp).
#pragma once

#include <danaus/best.hpp>
#include <danaus/block_diagonal.hpp>
#include <danaus/loss.hpp>
#include <danaus/masks.hpp>
#include <danaus/matmul.hpp>
#include <danaus/monarch.hpp>
#include <danaus/optimizer.hpp>
#include <danaus/packed.hpp>
#include <danaus/permutation.hpp>
#include <danaus/random.hpp>
#include <danaus/reduce.hpp>
#include <danaus/runtime/capabilities.hpp>
#include <danaus/runtime/device.hpp>
#include <danaus/runtime/error.hpp>
#include <danaus/runtime/program.hpp>
#include <danaus/runtime/recorder.hpp>
#include <danaus/runtime/stream.hpp>
#include <danaus/safetensors.hpp>
#include <danaus/soft_threshold.hpp>
#include <danaus/sparse24.hpp>
#include <danaus/sparse24_formats.hpp>
#include <danaus/tensor.hpp>
#include <danaus/tuning.hpp>
#include <danaus/unbiased.hpp>
#include <danaus/vector_sparse.hpp>
