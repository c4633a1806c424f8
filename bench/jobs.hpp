// The jobs behind the cases: for each matrix, its operands, what is recorded, the oracle and the yardstick.
#pragma once

#include "cases.hpp"

namespace danaus::bench {

/// The direction of a multiply.
enum class Verb { forward, transposed, gradient };

struct Sizes {
    std::uint64_t tokens, out, in, blocks = 1;
    std::uint64_t q = 0;  ///< of Monarch matrices: rows of a block of w1; 0: as few as lose nothing
};

[[nodiscard]] Job dense(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
[[nodiscard]] Job block_diagonal(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
/// As many blocks in both factors, as in checkpoints: w1 (blocks, q, in / blocks), w2 (blocks, out / blocks,
/// q) with q the smaller of the two unless it is given. Forward and transposed; the gradients are
/// monarch_backward's.
[[nodiscard]] Job monarch(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
/// Forward, with interleaved and with blocked output, beside what permutations cost: a rival of the same two
/// factors without any, each block's features side by side.
[[nodiscard]] Job monarch_beside_blocks(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
[[nodiscard]] Job monarch_blocked_beside_blocks(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
/// Forward beside the two block-diagonal multiplies with a permutation pass behind each (jobs_passes.cpp).
[[nodiscard]] Job monarch_beside_passes(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
[[nodiscard]] Job monarch_backward(Stream& stream, DataType type, const Sizes& sizes);
/// Forward by a chain of as many factors as sizes.in, which is sizes.out, has of `radix`, in turns with a
/// dense matrix or with a Monarch matrix of sizes.blocks blocks (jobs_chain.cpp).
enum class ChainRival { dense, monarch };
[[nodiscard]] Job chain(Stream& stream, DataType type, const Sizes& sizes, std::uint64_t radix,
                        ChainRival rival);
/// Forward and transposed; the weight gradient is the dense one.
[[nodiscard]] Job sparse24(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
/// Forward and transposed by a Monarch matrix of 2:4 factors, row-wise and by tiles, beside the one it was
/// pruned from.
[[nodiscard]] Job sparse_monarch(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
[[nodiscard]] Job tile_sparse_monarch(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
/// What 2:4 training does to a weight out × in beside multiplying (jobs_masks.cpp). Transposable masks beside
/// a search that scores all 90 patterns.
enum class MaskVerb { select, select_transposable, apply, compress, select_and_compress, expand };
[[nodiscard]] Job masking(Stream& stream, DataType type, const Sizes& sizes, MaskVerb verb);
/// A step of AdamW with masked decay, and the flips between two masks counted.
[[nodiscard]] Job masked_update(Stream& stream, const Sizes& sizes);
/// A transposable weight compressed under its mask, by search, and both ways at once, and multiplied by
/// forward and transposed (jobs_tiles.cpp).
enum class TileVerb { compress, select_and_compress, compress_both };
[[nodiscard]] Job tile_compression(Stream& stream, DataType type, const Sizes& sizes, TileVerb verb);
[[nodiscard]] Job tile_sparse24(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
/// dZ (tokens, out) pruned to 2:4 along its tokens without bias, and compressed.
[[nodiscard]] Job unbiased_compression(Stream& stream, DataType type, const Sizes& sizes,
                                       UnbiasedPruning pruning);
/// [x | g] of tokens × 2 · out in memory of that order, feature-major beside token-major (jobs_gated.cpp).
[[nodiscard]] Job gated(Stream& stream, DataType type, const Sizes& sizes, Gate gate, bool backward,
                        Order order);
/// A SwiGLU feed-forward layer of sizes.in features, 2 · sizes.out hidden ones, and 2:4 weights: its passes,
/// or a step, that is both and what a training step adds to them, compressing values and a fortieth of
/// choosing masks; without the optimizer. In turns with the same of dense weights (a step: both passes), with
/// its gates alone, with hidden activations token-major, or by tile codes with row-wise weights
/// (jobs_ffn.cpp).
enum class FfnPart { forward, backward, step };
enum class FfnRival { dense, gate, token_major, row_wise };
[[nodiscard]] Job ffn(Stream& stream, DataType type, const Sizes& sizes, FfnPart part, FfnRival rival,
                      Order order);
/// Of both its weights: compressing the values, or also choosing masks and counting flips.
[[nodiscard]] Job ffn_upkeep(Stream& stream, DataType type, const Sizes& sizes, bool refresh);
/// Forward by weights that were packed beforehand (jobs_packed.cpp), which is not timed; the packing of a
/// dense weight.
[[nodiscard]] Job packed_dense(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
[[nodiscard]] Job packed_block_diagonal(Stream& stream, DataType type, const Sizes& sizes, Verb verb);
[[nodiscard]] Job packing(Stream& stream, DataType type, const Sizes& sizes);
/// Forward and transposed, with the weight compressed beforehand; the compression of a dense weight by
/// magnitude (jobs_vector.cpp).
[[nodiscard]] Job vector_sparse(Stream& stream, DataType type, const Sizes& sizes, Verb verb,
                                const VectorPattern& pattern);
[[nodiscard]] Job vector_compression(Stream& stream, DataType type, const Sizes& sizes,
                                     const VectorPattern& pattern);
/// Forward by complex64 weights, beside four of the real ones (jobs_complex.cpp).
[[nodiscard]] Job complex_dense(Stream& stream, const Sizes& sizes);
[[nodiscard]] Job complex_monarch(Stream& stream, const Sizes& sizes);
/// The DFT of sizes.in points (jobs_transforms.cpp).
[[nodiscard]] Job fourier(Stream& stream, const Sizes& sizes);
/// Of sizes.in features: the stride permutation by `a`, or with a = 0 one by indices (a power of two
/// features).
[[nodiscard]] Job permutation(Stream& stream, DataType type, const Sizes& sizes, std::uint64_t a);
/// Of a dense sizes.out × sizes.in matrix, sizes.blocks blocks in both factors, ranks of as many as lose
/// nothing over the blocks (jobs_projection.cpp).
[[nodiscard]] Job projection(Stream& stream, const Sizes& sizes);
/// A contiguous result = a view of rows × columns whose rows are `pitch` elements apart, converted.
[[nodiscard]] Job copy(Stream& stream, DataType from, DataType to, std::uint64_t rows, std::uint64_t columns,
                       std::uint64_t pitch, bool transpose);

}  // namespace danaus::bench
