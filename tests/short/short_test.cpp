// The short suite: every kernel of the table once or twice, few shapes and few pipelines, for devices that
// compile or run slowly. What it finds right on a device is said in docs/devices.md; the whole suite is what
// proves the library.
#include "short/short.hpp"

#include "api/epilogue_case.hpp"
#include "api/matmul_case.hpp"
#include "api/ways.hpp"
#include "monarch_lanes.hpp"
#include "reference/block_diagonal.hpp"
#include "reference/gated.hpp"
#include "reference/loss.hpp"
#include "reference/monarch.hpp"
#include "reference/optimizers.hpp"
#include "reference/permutation.hpp"
#include "reference/philox.hpp"
#include "reference/sparse24.hpp"
#include "reference/transposable.hpp"
#include "reference/unbiased.hpp"
#include "reference/vector_sparse.hpp"
#include "support/complex.hpp"
#include "support/masks.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <set>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::EpilogueCase;
using test::EpilogueChoice;
using test::Layout;
using test::MatmulCase;
using test::Placed;
using test::random_values;
using test::seen;
using test::ShortTest;
using test::Verb;
using test::Witness;

class Short : public ShortTest {
protected:
    // A dense and a compressed weight, as that family does it first; how many of them it serves here.
    int multiply_by(detail::Family family, DataType type) {
        const auto x = draw(type, 33, 20, 20), w = draw(type, 32, 20, 21);
        const Placed y(stream, DataType::f32, {33, 32});
        const auto dense = test::problem_of(Verb::forward, y, x.tensor, w.tensor);
        if (test::ways_of(family, dense).empty()) return 0;
        const Sparse24 sparse = compress_by_magnitude(witness, w.tensor);
        int served = 0;
        for (const auto& [problem, weight] :
             {std::pair{dense, w.matrix}, std::pair{test::problem_of(y, x.tensor, sparse),
                                                    reference::decompress(reference::compress(
                                                        w.matrix, reference::select_mask(w.matrix)))}}) {
            const auto ways = test::ways_of(family, problem);
            if (ways.empty()) continue;
            detail::record(witness, ways.front());
            expect_near(y, reference::matmul(x.matrix, weight), 1e-5);
            ++served;
        }
        return served;
    }
};

TEST_F(Short, Dense) {
    const Layout odd{.gap = 3, .skew = 1}, major{.feature_major = true};
    for (const MatmulCase& one :
         {MatmulCase{.m = 9, .n = 40, .k = 19},
          MatmulCase{.m = 1, .n = 8, .k = 3, .a = odd, .b = odd, .c = odd},
          // 1 MiB of result: more than a small storage range.
          MatmulCase{.m = 512, .n = 512, .k = 16, .whole = true},
          MatmulCase{.verb = Verb::transposed, .m = 17, .n = 24, .k = 16, .type = DataType::f16},
          MatmulCase{
              .verb = Verb::gradient, .m = 12, .n = 20, .k = 33, .type = DataType::bf16, .widen = true},
          MatmulCase{.m = 5, .n = 6, .k = 8, .batch = 3, .type = DataType::bf16, .a = major, .c = odd}})
        EXPECT_EQ(mismatch(stream, one), "");
}

TEST_F(Short, Epilogue) {
    const auto x = draw(DataType::f32, 6, 16, 1), w = draw(DataType::f32, 20, 16, 2);
    const EpilogueCase one(stream,
                           {.bias = EpilogueChoice::Bias::f32,
                            .activation = Activation::gelu,
                            .residual = EpilogueChoice::Residual::same_layout,
                            .aux = true,
                            .scale = 0.5f},
                           6, 20);
    matmul_into(witness, one.out(), x.tensor, w.tensor, one.epilogue());
    const Matrix sum = reference::matmul(x.matrix, w.matrix);
    EXPECT_EQ(
        one.mismatch(stream, sum,
                     reference::dot_bound(16, {}, reference::absolute_product(x.matrix, w.matrix), sum)),
        "");

    const auto dy = draw(DataType::f16, 6, 20, 3), aux = draw(DataType::f16, 6, 20, 4);
    const Placed dz(stream, DataType::f16, {6, 20}), db(stream, DataType::f32, {20});
    epilogue_backward_into(witness, dz, dy.tensor, aux.tensor, Activation::relu, db);
    Matrix expected = dy.matrix, bias(1, 20);
    for (std::size_t i = 0; i < expected.data.size(); ++i) {
        if (aux.matrix.data[i] <= 0.0) expected.data[i] = 0.0;
        bias.data[i % 20] += expected.data[i];
    }
    expect_near(dz, expected, 0.0);
    expect_near(db, bias, 1e-6);
}

TEST_F(Short, Gated) {
    const auto xg = draw(DataType::f32, 9, 2 * 11, 28), dy = draw(DataType::f32, 9, 11, 29);
    const Placed out(stream, DataType::f32, {9, 11}), dxg(stream, DataType::f32, {9, 22});
    gated_activation_into(witness, out, xg.tensor, Gate::swiglu);
    gated_activation_backward_into(witness, dxg, dy.tensor, xg.tensor, Gate::swiglu);
    Matrix forward = dy.matrix, backward = xg.matrix;
    for (std::size_t t = 0; t < 9; ++t)
        for (std::size_t f = 0; f < 11; ++f) {
            const double x = xg.matrix(t, f), g = xg.matrix(t, f + 11), d = dy.matrix(t, f);
            const double value = reference::gate(reference::Gate::swiglu, g);
            forward(t, f) = x * value;
            backward(t, f) = d * value;
            backward(t, f + 11) = d * x * reference::gate_slope(reference::Gate::swiglu, g);
        }
    expect_near(out, forward, 1e-6);
    expect_near(dxg, backward, 1e-6);
}

TEST_F(Short, Packed) {
    // Of the sizes and type of the packed 2:4 weight below, which shares the pipeline.
    const auto x = draw(DataType::f32, 9, 22, 15), w = draw(DataType::f32, 12, 22, 16);
    const Placed y(stream, DataType::f32, {9, 12});
    matmul_into(witness, y, x.tensor, pack(witness, w.tensor));
    expect_near(y, reference::matmul(x.matrix, w.matrix), 1e-5);
}

TEST_F(Short, FewTokens) {
    const auto x = draw(DataType::f16, 1, 136, 18), w = draw(DataType::f16, 9, 136, 19);
    const Placed y(stream, DataType::f32, {1, 9});
    matmul_into(witness, y, x.tensor, w.tensor);
    expect_near(y, reference::matmul(x.matrix, w.matrix), 1e-4);
    const Sparse24 sparse = compress_by_magnitude(witness, w.tensor);
    matmul_into(witness, y, x.tensor, sparse);
    expect_near(y,
                reference::matmul(x.matrix, reference::compress(w.matrix, reference::select_mask(w.matrix))),
                1e-4);
}

// Where the rules would not choose them, too.
TEST_F(Short, SharedMemory) {
    EXPECT_EQ(multiply_by(detail::Family::shared, DataType::f32), 2);
}

// Which they do is the device's; the last test looks that all ran that it has.
TEST_F(Short, MatrixUnits) {
    for (const DataType type : {DataType::f16, DataType::bf16})
        for (const detail::Family family : {detail::Family::coopmat, detail::Family::coopmat2})
            multiply_by(family, type);
}

TEST_F(Short, BlockDiagonalAndMonarch) {
    const auto x = draw(DataType::f32, 7, 24, 5);
    const auto w = random_values(3 * 10 * 8, 6);
    const Placed weight(stream, DataType::f32, {3, 10, 8}, {}, w), y(stream, DataType::f32, {7, 30});
    matmul_into(witness, y, x.tensor, BlockDiagonal(weight));
    expect_near(y, reference::matmul(x.matrix, reference::BlockDiagonal{reference::Tensor3(3, 10, 8, w)}),
                1e-5);

    const auto half = draw(DataType::f16, 5, 8, 7);
    const auto w1 = random_values(2 * 6 * 4, 8, DataType::f16),
               w2 = random_values(3 * 5 * 4, 9, DataType::f16);
    const Monarch matrix(Placed(stream, DataType::f16, {2, 6, 4}, {}, w1),
                         Placed(stream, DataType::f16, {3, 5, 4}, {}, w2));
    const Placed out(stream, DataType::f16, {5, 15});
    matmul_into(witness, out, half.tensor, matrix);
    // The inner activations are rounded to fp16 between the factors.
    expect_near(out,
                reference::matmul(half.matrix, reference::Monarch(reference::Tensor3(2, 6, 4, w1),
                                                                  reference::Tensor3(3, 5, 4, w2))),
                4e-3);
}

// Where the rules would not choose it, too.
TEST_F(Short, MonarchInOneDispatch) {
    const auto x = draw(DataType::f32, 9, 8, 22);
    const auto w1 = random_values(2 * 6 * 4, 23), w2 = random_values(3 * 5 * 4, 24);
    const Monarch matrix(Placed(stream, DataType::f32, {2, 6, 4}, {}, w1),
                         Placed(stream, DataType::f32, {3, 5, 4}, {}, w2));
    const Placed y(stream, DataType::f32, {9, 15});
    Tensor residual;
    const auto ways =
        detail::fused_candidates(detail::monarch_problem(y, x.tensor, matrix, false, {}, residual),
                                 device().capabilities(), device().access());
    ASSERT_FALSE(ways.empty());
    detail::record(witness, ways.back());
    expect_near(y,
                reference::matmul(x.matrix, reference::Monarch(reference::Tensor3(2, 6, 4, w1),
                                                               reference::Tensor3(3, 5, 4, w2))),
                1e-5);
}

TEST_F(Short, MonarchAlongFeatures) {
    const auto x = draw(DataType::f32, 9, 128, 25);
    const auto w1 = random_values(8 * 16 * 16, 26), w2 = random_values(16 * 3 * 8, 27);
    const Monarch matrix(Placed(stream, DataType::f32, {8, 16, 16}, {}, w1),
                         Placed(stream, DataType::f32, {16, 3, 8}, {}, w2));
    const Placed y(stream, DataType::f32, {9, 48});
    Tensor residual;
    const auto plan = detail::lanes_plan(detail::monarch_problem(y, x.tensor, matrix, false, {}, residual),
                                         device().capabilities(), device().access());
    if (detail::operand_limit(device().capabilities(), device().access(), DataType::f32) < w1.size()) {
        // The smallest weights that these kernels take are more than this device reaches in one dispatch.
        EXPECT_FALSE(plan);
        for (const auto stage : {kernels::MonarchLanes::Stage::first, kernels::MonarchLanes::Stage::second}) {
            kernels::MonarchLanes kernel;
            kernel.stage = stage;
            seen().insert(kernel.kernel().module);
        }
        return;
    }
    ASSERT_TRUE(plan);
    detail::record(witness, *plan);
    expect_near(y,
                reference::matmul(x.matrix, reference::Monarch(reference::Tensor3(8, 16, 16, w1),
                                                               reference::Tensor3(16, 3, 8, w2))),
                1e-4);
}

TEST_F(Short, Sparse24) {
    for (const DataType type : {DataType::f32, DataType::f16}) {
        const bool whole = type == DataType::f32;
        const auto w = draw(type, 12, 22, 10), x = draw(type, 9, whole ? 22 : 12, 11);
        const Sparse24 sparse = compress_by_magnitude(witness, w.tensor);
        const auto oracle = reference::compress(w.matrix, reference::select_mask(w.matrix));
        if (whole) {
            const Placed y(stream, type, {9, 12}), dense(stream, type, {12, 22});
            matmul_into(witness, y, x.tensor, sparse);
            expect_near(y, reference::matmul(x.matrix, oracle), 1e-5);
            matmul_into(witness, y, x.tensor, pack(witness, sparse));
            expect_near(y, reference::matmul(x.matrix, oracle), 1e-5);
            to_dense_into(witness, dense, sparse);
            expect_near(dense, reference::decompress(oracle), 0.0);
        } else {
            const Placed dx(stream, type, {9, 22}), masked(stream, type, {12, 22});
            matmul_transposed_into(witness, dx, x.tensor, sparse);
            expect_near(dx, reference::matmul_transposed(x.matrix, oracle), 2e-3);
            apply_mask_into(witness, masked, w.tensor, select_mask(witness, w.tensor));
            expect_near(masked, reference::decompress(oracle), 0.0);
        }
    }
}

TEST_F(Short, Masks) {
    const auto w = draw(DataType::f32, 9, 70, 24);
    const Tensor mask = select_transposable_mask(witness, w.tensor);
    const auto best = reference::select_transposable_mask(w.matrix);
    EXPECT_EQ(download_u32(stream, mask), test::packed(best));
    const Tensor other = select_transposable_mask(witness, w.tensor, TransposableSearch::two_approximation);
    const auto approximate =
        reference::select_transposable_mask(w.matrix, reference::TransposableSearch::two_approximation);
    EXPECT_EQ(download_u32(stream, count_flips(witness, mask, other))[0],
              std::lround(reference::flip_rate(best, approximate) * 9 * 70));
}

TEST_F(Short, UnbiasedGradient) {
    const auto dz = draw(DataType::f32, 37, 9, 25), x = draw(DataType::f32, 37, 6, 26);
    const Sparse24 kept = compress_unbiased(witness, dz.tensor.transpose(), {{}, 3, 4, {}});
    const std::vector<float> dense = download(stream, to_dense(witness, kept));
    for (std::size_t group = 0; group < 9 * 10; ++group) {
        const std::size_t line = group / 10, first = group % 10 * 4;
        reference::Group entries{};
        for (std::size_t i = 0; i < 4 && first + i < 37; ++i) entries[i] = dz.matrix(first + i, line);
        const std::uint64_t block = 4 + 4 * line + group % 10 / 4;  // two words of metadata a line
        const auto bits = reference::philox4x32({static_cast<std::uint32_t>(block), 0, 0, 0}, {3, 0});
        const auto expected = reference::least_variance(entries, (bits[group % 10 % 4] >> 9) * 0x1p-23);
        if (expected.margin < 0x1p-20) continue;
        reference::Group found{};
        for (std::size_t i = 0; i < 2; ++i) found[expected.places[i]] = expected.values[i];
        for (std::size_t i = 0; i < 4 && first + i < 37; ++i)
            EXPECT_NEAR(dense[line * 37 + first + i], found[i], 1e-6) << line << ", " << first + i;
    }
    const Placed dw(stream, DataType::f32, {9, 6});
    weight_gradient_into(witness, dw, kept, x.tensor);
    expect_near(dw, reference::matmul(Matrix(9, 37, dense), reference::transpose(x.matrix)), 1e-5);
}

TEST_F(Short, VectorSparse) {
    const auto w = draw(DataType::f32, 13, 22, 22), x = draw(DataType::f32, 9, 22, 23);
    const VectorSparse sparse = compress_by_magnitude(witness, w.tensor, {2, 5, 8});
    const Matrix masked = reference::apply_mask(w.matrix, reference::select_vector_mask(w.matrix, {2, 5, 8}));
    const Placed y(stream, DataType::f32, {9, 13}), dense(stream, DataType::f32, {13, 22});
    matmul_into(witness, y, x.tensor, sparse);
    expect_near(y, reference::matmul(x.matrix, masked), 1e-5);
    to_dense_into(witness, dense, sparse);
    expect_near(dense, masked, 0.0);
}

TEST_F(Short, Permutation) {
    std::vector<std::uint32_t> index(13);
    std::iota(index.begin(), index.end(), 0u);
    std::rotate(index.begin(), index.begin() + 5, index.end());
    std::swap(index[2], index[9]);
    const Permutation p =
        Permutation::from_tensor(witness, upload(stream, std::span<const std::uint32_t>(index), {13}));
    for (const DataType type : {DataType::f32, DataType::bf16}) {
        const auto x = draw(type, 4, 13, 12);
        const Placed y(stream, type, {4, 13}), dx(stream, type, {4, 13}, {.gap = 1, .skew = 1});
        matmul_into(witness, y, x.tensor, p);
        matmul_transposed_into(witness, dx, x.tensor, p);
        expect_near(y, reference::matmul(x.matrix, reference::Permutation(index)), 0.0);
        expect_near(dx, reference::matmul_transposed(x.matrix, reference::Permutation(index)), 0.0);
    }
}

TEST_F(Short, FillAndCopy) {
    const auto x = draw(DataType::f32, 5, 7, 13, {.gap = 2});
    const Placed narrow(stream, DataType::bf16, {5, 7}, {.feature_major = true}),
        wide(stream, DataType::f32, {5, 7}), filled(stream, DataType::f16, {3, 5});
    convert_into(witness, narrow, x.tensor);
    convert_into(witness, wide, narrow);
    fill_into(witness, filled, -1.5);
    expect_near(
        wide,
        Matrix(5, 7, reference::round_to(reference::FloatType::bf16, std::span<const double>(x.matrix.data))),
        0.0);
    expect_near(filled, Matrix(3, 5, std::vector<double>(15, -1.5)), 0.0);
    test::ComplexValues z = test::complex_values(15, 14);
    const test::PlacedComplex in(stream, {3, 5}, {.gap = 1}, z), out(stream, {3, 5}, {.gap = 1});
    conjugate_into(witness, out, in);
    for (auto& value : z) value = std::conj(value);
    EXPECT_EQ(out.read(stream).values, z);
    EXPECT_EQ(out.read(stream).damage, "");
}

TEST_F(Short, Random) {
    const Placed uniform(stream, DataType::f32, {3, 11}), normal(stream, DataType::f32, {3, 11});
    uniform_into(witness, uniform, 0.0f, 1.0f, 99, 5);
    normal_into(witness, normal, 0.0f, 1.0f, 99, 5);
    expect_near(uniform, Matrix(3, 11, reference::philox_uniform(99, 5, 33)), 0.0);
    expect_near(normal, Matrix(3, 11, reference::philox_normal(99, 5, 33)), 2e-5);
}

TEST_F(Short, GlobalNorm) {
    // More partial sums than a workgroup has lanes.
    const auto a = draw(DataType::f32, 130, 4100, 16), b = draw(DataType::f32, 2, 7, 17);
    const Placed norm(stream, DataType::f32, {1});
    const std::array tensors{a.tensor, b.tensor};
    global_norm_into(witness, norm, tensors);
    const std::array gradients{a.matrix.data, b.matrix.data};
    expect_near(norm, Matrix(1, 1, {reference::global_norm(gradients)}), 1e-6);
}

TEST_F(Short, Loss) {
    // Few classes: a lane a row. Many: a workgroup a row, and more partial sums than a workgroup has lanes.
    for (const auto& [rows, classes] : {std::pair<std::size_t, std::uint32_t>{9, 12}, {150, 300}}) {
        const auto logits = draw(DataType::f32, rows, classes, 14);
        std::vector<std::uint32_t> labels(rows);
        for (std::size_t r = 0; r < rows; ++r) labels[r] = static_cast<std::uint32_t>(r * 7 % classes);
        const LossMetrics metrics(witness);
        const Placed gradient(stream, DataType::f32, {rows, classes});
        softmax_cross_entropy_into(witness, metrics, gradient, logits.tensor,
                                   upload(stream, std::span<const std::uint32_t>(labels), {rows}));
        const auto expected = reference::softmax_cross_entropy(logits.matrix, labels);
        const LossSummary summary = metrics.read(stream);
        EXPECT_NEAR(static_cast<double>(summary.mean_loss), expected.loss, 1e-5);
        EXPECT_EQ(summary.correct, expected.correct);
        EXPECT_EQ(summary.counted, rows);
        expect_near(gradient, expected.gradient, 1e-6);
    }
}

TEST_F(Short, Optimizers) {
    for (const bool adam : {false, true}) {
        const DataType type = adam ? DataType::f16 : DataType::f32;
        const auto master = draw(DataType::f32, 1, 37, 15);
        const Tensor weights = master.tensor.reshape({37});
        const Parameter parameter{weights, adam ? empty(stream, type, {37}) : Tensor(),
                                  empty(stream, type, {37})};
        if (adam) refresh_working(witness, parameter);
        const StepOptions step{.max_norm = 0.5f, .loss_scaling = {}};
        const Optimizer optimizer =
            adam ? Optimizer(witness, {parameter}, AdamWOptions{.learning_rate = 0.01f}, step)
                 : Optimizer(witness, {parameter}, SgdOptions{.learning_rate = 0.1f, .momentum = 0.9f}, step);
        reference::AdamW adam_oracle({.learning_rate = 0.01f});
        reference::Sgd sgd_oracle({.learning_rate = 0.1f, .momentum = 0.9f});
        std::vector<double> exact = master.matrix.data;
        for (unsigned i = 0; i < 3; ++i) {
            const auto g = random_values(37, 20 + i, type);
            upload_into(stream, parameter.gradient, g);
            optimizer.step(witness);
            std::vector<std::vector<double>> clipped{reference::to_double(g)};
            reference::clip_global_norm(clipped, 0.5);
            if (adam)
                adam_oracle.step(exact, clipped[0]);
            else
                sgd_oracle.step(exact, clipped[0]);
        }
        const auto updated = download(stream, weights);
        EXPECT_EQ(reference::first_mismatch(updated, exact, 1e-5, 1e-5), "");
        if (adam) {
            EXPECT_EQ(download(stream, parameter.working),
                      reference::round_to(reference::FloatType::f16, updated));
        }
        EXPECT_EQ(optimizer.status(stream).steps, 3u);
    }
}

TEST_F(Short, MaskedDecay) {
    for (const bool adam : {false, true}) {
        const auto master = draw(DataType::f32, 5, 37, 27);
        const Tensor mask = select_mask(witness, master.tensor);
        const Parameter parameter{master.tensor,
                                  adam ? empty(stream, DataType::f16, {5, 37}) : Tensor(),
                                  empty(stream, DataType::f16, {5, 37}),
                                  {mask, 0.5f, DecayForm::before_moments}};
        const Optimizer optimizer =
            adam ? Optimizer(witness, {parameter}, AdamWOptions{.learning_rate = 0.01f})
                 : Optimizer(witness, {parameter}, LionOptions{.learning_rate = 0.01f});
        reference::AdamW adam_oracle({.learning_rate = 0.01f});
        reference::Lion lion_oracle({.learning_rate = 0.01f});
        Matrix exact = master.matrix;
        const auto kept = reference::select_mask(exact);
        for (unsigned i = 0; i < 3; ++i) {
            const auto g = random_values(5 * 37, 40 + i, DataType::f16);
            upload_into(stream, parameter.gradient, g);
            optimizer.step(witness);
            const auto decayed = reference::masked_decay(Matrix(5, 37, g), exact, kept, 0.5).data;
            if (adam)
                adam_oracle.step(exact.data, decayed);
            else
                lion_oracle.step(exact.data, decayed);
        }
        EXPECT_EQ(reference::first_mismatch(download(stream, master.tensor), exact.data, 1e-5, 1e-5), "");
    }
}

TEST_F(Short, SoftThreshold) {
    const auto w = draw(DataType::f32, 9, 70, 28);
    const Tensor beta = soft_threshold_scale(witness, w.tensor);
    const double exact = reference::soft_threshold_scale(w.matrix);
    EXPECT_NEAR(static_cast<double>(download(stream, beta)[0]), exact, 1e-5 * exact);
    Matrix expected = reference::soft_threshold(w.matrix);
    for (double& s : expected.data) s *= exact;
    const Tensor soft = to_dense(witness, compress_soft(witness, w.tensor, beta));
    EXPECT_EQ(reference::first_mismatch(download(stream, soft), expected.data, 2e-5, 1e-6), "");
}

// Last, because it looks at what the others ran: it fails where a filter leaves them out.
TEST_F(Short, ZEveryKernelRanInFewPipelines) {
    const auto support = kernel_support(device().capabilities(), device().access());
    for (std::size_t i = 0; i < support.size(); ++i) {
        if (too_small_for_svd() && std::string_view(support[i].name).starts_with("svd_")) continue;
        if (support[i].usable())
            EXPECT_TRUE(seen().contains(static_cast<kernels::Module>(i)))
                << support[i].name << " is in the kernel table and not in the short suite";
        else  // What needs a feature does the work of a kernel that needs none, only faster.
            EXPECT_FALSE(kernels::info(static_cast<kernels::Module>(i)).requirements.empty())
                << support[i].name << " cannot run on this device: " << support[i].reason;
    }
    // Old drivers take a second for each: two a kernel and no more.
    EXPECT_LE(device().pipeline_count(), 2 * seen().size());
    std::printf("short suite: %zu kernels of the table, %zu pipelines, on %s, subgroup size %u\n",
                seen().size(), device().pipeline_count(), describe(device().capabilities()).c_str(),
                device().capabilities().subgroup_size);
}

}  // namespace
}  // namespace danaus
