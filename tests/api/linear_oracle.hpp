// Linear layers of every structure, and what they compute, from their weights in double.
#pragma once

#include "reference/epilogue.hpp"
#include "reference/matrix.hpp"

#include <danaus/danaus.hpp>

#include <memory>
#include <ostream>
#include <vector>

namespace danaus::test {

enum class Structure { dense, block_diagonal, monarch, sparse24, sparse_monarch };
inline constexpr Structure structures[] = {Structure::dense, Structure::block_diagonal, Structure::monarch,
                                           Structure::sparse24, Structure::sparse_monarch};
std::ostream& operator<<(std::ostream& out, Structure structure);

/// Whether there are two factors, which pad what their blocks do not divide.
[[nodiscard]] bool has_factors(Structure structure);

/// Both factors of structures with blocks have this many.
inline constexpr std::uint64_t blocks = 3;
/// A 2:4 layer's masks are transposable, its gradients not pruned.
[[nodiscard]] std::unique_ptr<Linear> make_linear(Structure structure, Recorder& recorder, std::uint64_t in,
                                                  std::uint64_t out, const LinearOptions& options = {});

/// The weights as a layer should multiply by them: what `type` makes of the masters, under the oracle's mask.
struct Weights {
    Structure structure;
    std::size_t in, out;
    std::vector<std::vector<double>> factors;
};
[[nodiscard]] Weights weights_of(Stream& stream, Structure structure, const Linear& layer);
[[nodiscard]] Weights absolute(Weights weights);
/// out × in.
[[nodiscard]] reference::Matrix dense(const Weights& weights);
/// Of each factor, from dz and x; of 2:4 weights the straight-through ones.
[[nodiscard]] std::vector<std::vector<double>> gradients(const Weights& weights, const reference::Matrix& dz,
                                                         const reference::Matrix& x);

/// Parameter number `i` of the layer ← values.
void set_parameter(Stream& stream, const Linear& layer, std::size_t i, const std::vector<float>& values);

}  // namespace danaus::test
