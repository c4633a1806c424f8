// Layers that change their structure in training: sparse to dense late in a run, and a dense model made
// sparse.
//
// Dao et al., "Monarch: Expressive Structured Matrices for Efficient and Accurate Training", ICML 2022, arXiv
// 2204.00595: most steps with Monarch weights and the last of them dense ("reverse sparsification"), or a
// trained dense weight projected onto the nearest Monarch matrix and fine-tuned.
//
//   auto dense = to_dense(stream, monarch);                      // a DenseLinear that computes the same
//   const Densified replaced{&monarch, dense.get()};
//   optimizer = carry_over(stream, optimizer, {&replaced, 1});   // and training goes on, behind follow()
//                                                                // of the layers that stay
//
//   auto monarch = to_monarch(stream, dense, 4);                 // fine-tune with an optimizer of its own
//   auto pruned = to_sparse_monarch(stream, *monarch);           // or its 2:4 half
#pragma once

#include <danaus/linear.hpp>
#include <danaus/projection.hpp>
#include <danaus/sparse_linear.hpp>

#include <memory>
#include <span>

namespace danaus {

/// A dense layer with the matrix and the bias of `layer`, its type and the type of its gradient; of a 2:4
/// layer with what its masks keep, while it is sparse.
[[nodiscard]] DANAUS_EXPORT std::unique_ptr<DenseLinear> to_dense(Recorder& recorder,
                                                                  const MonarchLinear& layer);
[[nodiscard]] DANAUS_EXPORT std::unique_ptr<DenseLinear> to_dense(Recorder& recorder,
                                                                  const SparseMonarchLinear24& layer);
/// A Monarch layer of `blocks` blocks with the matrix that is nearest to the weight of `layer`
/// (projection.hpp), and its bias. Where `blocks` does not divide the features, the weight is padded with
/// zeros first, as the layer pads x: the rows and columns of the padding take part in the approximation, but
/// not in the layer.
[[nodiscard]] DANAUS_EXPORT std::unique_ptr<MonarchLinear> to_monarch(Recorder& recorder,
                                                                      const DenseLinear& layer,
                                                                      std::uint64_t blocks,
                                                                      const SvdOptions& options = {});
/// A Monarch layer with the factors of `layer`, of which, while it is sparse, zeros where its masks keep
/// nothing; and its bias.
[[nodiscard]] DANAUS_EXPORT std::unique_ptr<MonarchLinear> to_monarch(Recorder& recorder,
                                                                      const SparseMonarchLinear24& layer);
/// A 2:4 layer that starts with the whole factors of `layer` as masters, their masks and its bias: what is
/// left of a projected weight when it is pruned too. Its type and that of its gradient are those of `layer`;
/// options.weight.gradient.seed must be another for every layer. Its moments begin anew.
[[nodiscard]] DANAUS_EXPORT std::unique_ptr<SparseMonarchLinear24> to_sparse_monarch(
    Recorder& recorder, const MonarchLinear& layer, const SparseLinear24Options& options = {});

/// A Monarch layer, and the dense one that takes its place.
struct Densified {
    const MonarchLinear* from = nullptr;
    const DenseLinear* to = nullptr;
};

/// The optimizer that goes on when layers have become dense: its parameters are `optimizer`'s, with those of
/// each `from` replaced by those of its `to`; method, options, step count, learning rate and loss scale stay,
/// and all other parameters and the biases keep their moments (and masks their λ).
///
/// What a dense weight W = M(w1, w2) begins with is what moves it, in first order, as its factors were about
/// to move: M is linear in either factor, so that steps u1 and u2 of these are a step M(u1, w2) + M(w1, u2)
/// of W.
///   SGD     with momentum: v ← M(v1, w2) + M(w1, v2), whose step is that of the factors.
///   AdamW   u = m̂ / (√v̂ + ε) of either factor, U = M(u1, w2) + M(w1, u2), m̂ ← (c + ε)·U, v̂ ← c² in every
///   entry,
///           times the bias corrections of the step count, which goes on. c is an estimate of what the
///           entries of dW measure: if they are independent, the gradient of w1 is a sum of s of them,
///           weighted by w2, so that mean v̂1 = c²·‖w2‖² / (l·r), and likewise of w2; c² is the geometric mean
///           of both. With v̂ = 0 the first dense steps would be larger than the learning rate by (1 − β₁) /
///           √(1 − β₂).
///   Lion    m ← (M(m1, w2) + M(w1, m2)) · k·q / (‖w1‖² + ‖w2‖²), of the size of a gradient of W.
/// Before the first step moments are zero, and AdamW's also where both factors are. Waits for the factors'
/// moments and computes on them on the host.
///
/// Throws Error(invalid_argument) naming the layer when one is null, of other sizes than its partner, or when
/// the optimizer has not all of its parameters.
[[nodiscard]] DANAUS_EXPORT Optimizer carry_over(Stream& stream, const Optimizer& optimizer,
                                                 std::span<const Densified> layers);

}  // namespace danaus
