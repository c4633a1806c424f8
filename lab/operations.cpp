// Calls of every operation, for the kernels that they choose.
#include "corpus.hpp"

#include <danaus/danaus.hpp>
#include <danaus/runtime/host.hpp>

#include <array>
#include <unordered_set>
#include <utility>

namespace danaus::lab {
namespace {

constexpr DataType floating[] = {DataType::f32, DataType::f16, DataType::bf16};
constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::gelu,
                                      Activation::gelu_erf};

enum class Layout { plain, skewed, odd_pitch, even_pitch, turned, turned_odd, scattered };
constexpr Layout layouts[] = {Layout::plain,  Layout::skewed,     Layout::odd_pitch, Layout::even_pitch,
                              Layout::turned, Layout::turned_odd, Layout::scattered};
// Small, odd, even, wide, tall, past every count a choice might look at; nothing of it is ever allocated.
const Shape matrices[] = {{1, 1}, {1, 8}, {5, 7}, {8, 16}, {33, 256}, {20, 2000}, {3000, 20}, {70000, 300}};
const Shape batches[] = {{3, 4, 8}, {1, 5, 7}, {2, 64, 96}};

/// Keeps the kernels; memory comes from a recorder that only counts it.
class Collector final : public Recorder {
public:
    explicit Collector(Recorder& memory) : memory_(memory) {}
    [[nodiscard]] Device device() const override { return memory_.device(); }
    void record(const Packet& packet) override {
        if (packet.grid[0] && packet.grid[1] && packet.grid[2]) kernels.insert(packet.kernel);
    }
    void record(const Copy&) override {}
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override { return memory_.allocate(bytes); }

    std::unordered_set<kernels::Kernel> kernels;

private:
    Recorder& memory_;
};

// A tensor of rank 2 or 3 that lies in a buffer of its own.
Tensor place(Recorder& recorder, DataType type, const Shape& shape, Layout layout) {
    Shape stored = shape, strides = shape;
    const std::size_t last = shape.rank() - 1;
    const bool turned = layout == Layout::turned || layout == Layout::turned_odd;
    if (turned) std::swap(stored[last - 1], stored[last]);
    const bool odd = layout == Layout::odd_pitch || layout == Layout::turned_odd;
    strides[last] = layout == Layout::scattered ? 3 : 1;
    std::uint64_t pitch = stored[last] * strides[last];
    if (odd) pitch += pitch % 2 == 0 ? 1 : 2;
    if (layout == Layout::even_pitch) pitch = pitch / 2 * 2 + 2;
    strides[last - 1] = pitch;
    if (last == 2) strides[0] = pitch * stored[1];
    const std::uint64_t offset = layout == Layout::skewed || layout == Layout::turned_odd ? 1 : 0;
    std::uint64_t elements = offset + 1;
    for (std::size_t i = 0; i <= last; ++i) elements += (stored[i] - 1) * strides[i];
    const Tensor tensor(recorder.allocate(elements * size_of(type)), type, stored, strides, offset);
    return turned ? tensor.transpose() : tensor;
}

// Runs `call`; what the device cannot reach at this size is no kernel of its.
template <typename Call>
void attempt(const Call& call) {
    try {
        call();
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::unsupported) throw;
    }
}

template <typename Call>
void for_shapes(const Call& call) {
    for (const Shape& shape : matrices) attempt([&] { call(shape); });
    for (const Shape& shape : batches) attempt([&] { call(shape); });
}

void transfers(Recorder& r, const Shape& shape, Layout in, Layout out) {
    for (const DataType from : floating)
        for (const DataType to : floating)
            convert_into(r, place(r, to, shape, out), place(r, from, shape, in));
    conjugate_into(r, place(r, DataType::complex64, shape, out), place(r, DataType::complex64, shape, in));
    for (const DataType type : {DataType::i32, DataType::u32}) {
        convert_into(r, place(r, type, shape, out), place(r, type, shape, in));
        fill_into(r, place(r, type, shape, out), 1.0);
    }
    for (const DataType type : floating) {
        fill_into(r, place(r, type, shape, out), 1.0);
        uniform_into(r, place(r, type, shape, out), 0.0f, 1.0f, 1);
        normal_into(r, place(r, type, shape, out), 0.0f, 1.0f, 1);
    }
}

void backwards(Recorder& r, const Shape& shape, Layout in, Layout out) {
    for (const DataType type : floating)
        for (const Activation activation : activations) {
            const Tensor aux = place(r, type, shape, in),
                         bias = empty(r, DataType::f32, {shape[shape.rank() - 1]});
            epilogue_backward_into(r, place(r, type, shape, out), place(r, type, shape, in), aux, activation,
                                   bias);
            const Tensor dy = place(r, type, shape, out);
            epilogue_backward_into(r, dy, dy, aux, activation);
        }
}

void gates(Recorder& r, const Shape& shape, Layout in, Layout out) {
    Shape both = shape;
    both[shape.rank() - 1] *= 2;
    for (const DataType type : floating)
        for (const Gate gate : {Gate::swiglu, Gate::geglu, Gate::geglu_erf, Gate::reglu}) {
            const Tensor xg = place(r, type, both, in);
            gated_activation_into(r, place(r, type, shape, out), xg, gate);
            gated_activation_backward_into(r, place(r, type, both, out), place(r, type, shape, in), xg, gate);
        }
}

void sums(Recorder& r, const Shape& shape, Layout in) {
    for (const DataType type : floating) {
        const Tensor x = place(r, type, shape, in);
        if (shape.rank() == 2) static_cast<void>(column_sums(r, x));
        static_cast<void>(global_norm(r, std::array{x}));
    }
}

void losses(Recorder& r, const LossMetrics& metrics, const Shape& shape, Layout in, Layout out) {
    if (shape.rank() != 2) return;
    const Tensor labels = empty(r, DataType::u32, {shape[0]}), scale = empty(r, DataType::f32, {1});
    for (const DataType type : floating)
        for (const bool with_gradient : {false, true})
            for (const bool scaled : {false, true}) {
                CrossEntropyOptions options;
                if (scaled) options.loss_scale = scale;
                const Tensor gradient = with_gradient ? place(r, type, shape, out) : Tensor{};
                softmax_cross_entropy_into(r, metrics, gradient, place(r, type, shape, in), labels, options);
            }
}

void steps(Recorder& r) {
    const Shape shape{16, 8};
    std::vector<Parameter> parameters;
    const Tensor mask = empty(r, DataType::u32, mask_shape(shape));
    for (const DataType working : floating)
        for (const DataType gradient : floating)
            for (const bool copy : {true, false})
                for (const MaskedDecay& decay :
                     {MaskedDecay{}, MaskedDecay{mask, 1.0f, DecayForm::before_moments},
                      MaskedDecay{mask, 1.0f, DecayForm::outside_moments}}) {
                    Parameter p{
                        empty(r, DataType::f32, shape), {}, place(r, gradient, shape, Layout::plain), decay};
                    p.working = working == DataType::f32 && !copy ? p.master : empty(r, working, shape);
                    refresh_working(r, p);
                    parameters.push_back(p);
                }
    StepOptions plain, clipped, scaled;
    clipped.max_norm = 1.0f;
    scaled.loss_scaling.enabled = true;
    for (const StepOptions& options : {plain, clipped, scaled}) {
        Optimizer(r, parameters, AdamWOptions{}, options).step(r, 0.1f);
        Optimizer(r, parameters, LionOptions{}, options).step(r);
        SgdOptions momentum, nesterov;
        momentum.momentum = nesterov.momentum = 0.9f;
        nesterov.nesterov = true;
        for (const SgdOptions& sgd : {SgdOptions{}, momentum, nesterov})
            Optimizer(r, parameters, sgd, options).step(r);
    }
}

void sparse24(Recorder& r, const Shape& shape, Layout in, Layout out) {
    for (const DataType type : floating) {
        const Tensor w = place(r, type, shape, in), mask = select_mask(r, w);
        const Sparse24 a = compress(r, w, mask);
        static_cast<void>(compress_by_magnitude(r, w));
        compress_by_magnitude_into(r, a, w, mask);
        compress_soft_into(r, a, w, soft_threshold_scale(r, w));
        apply_mask_into(r, w, w, mask);
        apply_mask_into(r, place(r, type, shape, out), w, mask);
        to_dense_into(r, place(r, type, shape, out), a);
    }
}

void tiles(Recorder& r, const Shape& shape, Layout in, Layout out) {
    Shape turned = shape;
    std::swap(turned[shape.rank() - 2], turned[shape.rank() - 1]);
    for (const DataType type : floating) {
        const Tensor w = place(r, type, shape, in), mask = empty(r, DataType::u32, mask_shape(shape));
        const TileSparse24 a = compress_tiles(r, w, mask);
        static_cast<void>(compress_transposable(r, w));
        compress_transposable_into(r, a, w, mask);
        compress_both_into(r, empty_sparse24(r, type, shape), empty_sparse24(r, type, turned), w, mask);
        to_dense_into(r, place(r, type, shape, out), a);
    }
}

void masks(Recorder& r, const Shape& shape, Layout in) {
    for (const DataType type : floating) {
        const Tensor w = place(r, type, shape, in);
        Tensor mask;
        for (const TransposableSearch search :
             {TransposableSearch::exact, TransposableSearch::greedy, TransposableSearch::two_approximation})
            mask = select_transposable_mask(r, w, search);
        for (const UnbiasedPruning pruning :
             {UnbiasedPruning::least_variance, UnbiasedPruning::one_of_two, UnbiasedPruning::two_draws})
            static_cast<void>(compress_unbiased(r, w, {pruning, 1, 0, {}}));
        static_cast<void>(select_mask(r, w, {3, 8}));
        static_cast<void>(count_flips(r, mask, mask));
    }
}

void vector_sparse(Recorder& r, const Shape& shape, Layout in, Layout out) {
    const VectorPattern pattern{2, 4, 16};
    for (const DataType type : floating) {
        const Tensor w = place(r, type, shape, in), mask = select_vector_mask(r, w, pattern);
        const VectorSparse a = compress(r, w, mask, pattern);
        static_cast<void>(compress_by_magnitude(r, w, pattern));
        compress_by_magnitude_into(r, a, w, mask);
        to_dense_into(r, place(r, type, shape, out), a);
    }
}

void permutations(Recorder& r, const Shape& shape, Layout in, Layout out) {
    const std::uint64_t features = shape[shape.rank() - 1];
    const Permutation indexed = Permutation::from_tensor(r, empty(r, DataType::u32, {features}));
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16, DataType::u32}) {
        matmul_into(r, place(r, type, shape, out), place(r, type, shape, in), indexed);
        if (features % 2 == 0)
            matmul_into(r, place(r, type, shape, out), place(r, type, shape, in),
                        Permutation::stride(2, features / 2));
    }
}

// The plans of multiplies are enumerated elsewhere; this reaches them the way a user does.
void multiplies(Recorder& r, const Shape& shape, Layout in, Layout out) {
    if (shape.rank() != 2) return;
    const std::uint64_t tokens = shape[0], width = shape[1] / 4 * 4;
    if (width == 0) return;
    for (const DataType type : floating) {
        const Tensor x = place(r, type, {tokens, width}, in), y = place(r, type, {tokens, width}, out);
        const Tensor square = place(r, type, {width, width}, in),
                     blocks = empty(r, type, {4, width / 4, width / 4});
        matmul_into(r, y, x, square);
        matmul_transposed_into(r, y, x, square);
        weight_gradient_into(r, place(r, type, {width, width}, out), x, y);
        matmul_into(r, y, x, BlockDiagonal(blocks));
        static_cast<void>(weight_gradient(r, y, x, 4));
        const Monarch monarch(blocks, empty(r, type, blocks.shape()));
        const Monarch gradient(empty(r, type, blocks.shape()), empty(r, type, blocks.shape()));
        matmul_into(r, y, x, monarch);
        backward_into(r, {place(r, type, {tokens, width}, out), gradient}, y, x, monarch);
        const Sparse24 a = empty_sparse24(r, type, {width, width});
        matmul_into(r, y, x, a);
        matmul_transposed_into(r, y, x, a);
        const TileSparse24 t = empty_tile_sparse24(r, type, {width, width});
        matmul_into(r, y, x, t);
        matmul_transposed_into(r, y, x, t);
        matmul_into(r, y, x, pack(r, square));
        matmul_into(r, y, x, pack(r, a));
        matmul_into(r, y, x, pack(r, t));
        const VectorSparse v = empty_vector_sparse(r, type, {width, width}, {});
        matmul_into(r, y, x, v);
        matmul_transposed_into(r, y, x, v);
    }
}

// One sweep each: more of them are the same kernels.
void decompositions(Recorder& r) {
    const SvdOptions wide{.arithmetic = Arithmetic::f64, .sweeps = 1};
    const SvdOptions plain{.sweeps = 1};
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16, DataType::complex64})
        for (const std::uint64_t longer : {4u, 8u, 16u, 32u, 64u, 100u})
            for (const std::uint64_t shorter : {3u, 12u, 20u, 70u}) {
                const Tensor a = empty(r, type, {longer, shorter});
                static_cast<void>(svd(r, a, plain));
                if (r.device().capabilities().shader_float64) static_cast<void>(svd(r, a, wide));
                for (const DataType result : floating)
                    for (const std::uint64_t most : {1u, 4u}) {
                        const std::uint64_t q = std::min({most, a.size(0), a.size(1)});
                        if (is_complex(type) && result != DataType::f32) continue;
                        const ProjectionOptions options{.type = result, .svd = plain};
                        static_cast<void>(project(r, a, {1, 1, q}, options));
                        static_cast<void>(project(r, a.transpose(), {1, 1, q}, options));
                    }
            }
}

void sweep(Recorder& r) {
    const LossMetrics metrics(r);
    for (const Layout in : layouts) {
        for_shapes([&](const Shape& shape) { sums(r, shape, in); });
        for_shapes([&](const Shape& shape) { masks(r, shape, in); });
        for (const Layout out : layouts) {
            for_shapes([&](const Shape& shape) { transfers(r, shape, in, out); });
            for_shapes([&](const Shape& shape) { backwards(r, shape, in, out); });
            for_shapes([&](const Shape& shape) { gates(r, shape, in, out); });
            for_shapes([&](const Shape& shape) { losses(r, metrics, shape, in, out); });
            for_shapes([&](const Shape& shape) { sparse24(r, shape, in, out); });
            for_shapes([&](const Shape& shape) { tiles(r, shape, in, out); });
            for_shapes([&](const Shape& shape) { vector_sparse(r, shape, in, out); });
            for_shapes([&](const Shape& shape) { permutations(r, shape, in, out); });
            for_shapes([&](const Shape& shape) { multiplies(r, shape, in, out); });
        }
    }
    steps(r);
    decompositions(r);
}

}  // namespace

Kernels operation_kernels(const Device& device) {
    Kernels result;
    static_cast<void>(workspace_size(device, [&](Recorder& memory) {
        Collector collector(memory);
        sweep(collector);
        result.assign(collector.kernels.begin(), collector.kernels.end());
    }));
    return result;
}

}  // namespace danaus::lab
