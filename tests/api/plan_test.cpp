// The plan of a multiply, without a device: pieces interpreted on the host, promises to the kernel checked,
// sizes that are never allocated.
#include "plain_problem.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using detail::MatrixView;
using detail::MultiplyPlan;
using detail::MultiplyProblem;
using test::draw;

Capabilities plain_device(DeviceType type = DeviceType::cpu) {
    Capabilities caps;
    caps.name = "a test device";
    caps.type = type;
    caps.subgroup_size = 8;
    caps.subgroup_arithmetic = true;
    caps.min_subgroup_size = 32;
    return caps;
}

// Multiplies `p` in `memory`, one array that all views point into.
void interpret(const MultiplyProblem& p, std::vector<double>& memory) {
    const auto at = [&](const MatrixView& v, std::uint64_t o, std::uint64_t i, std::uint64_t row,
                        std::uint64_t column) -> double& {
        return memory.at(v.offset + o * v.outer + i * v.inner + row * v.row + column * v.column);
    };
    for (std::uint64_t o = 0; o < p.outer; ++o)
        for (std::uint64_t i = 0; i < p.inner; ++i)
            for (std::uint64_t m = 0; m < p.m; ++m)
                for (std::uint64_t n = 0; n < p.n; ++n) {
                    double sum = 0.0;
                    for (std::uint64_t k = 0; k < p.k; ++k) sum += at(p.a, o, i, m, k) * at(p.b, o, i, k, n);
                    const double z = p.scale * sum + (p.has_bias ? at(p.bias, 0, i, m, n) : 0.0);
                    const double residual = p.has_residual ? at(p.residual, o, i, m, n) : 0.0;
                    if (p.has_aux) at(p.aux, o, i, m, n) = z;
                    at(p.c, o, i, m, n) =
                        (p.activation == Activation::relu ? std::max(z, 0.0) : z) + residual;
                }
}

std::uint64_t span(const MultiplyProblem& p, const MatrixView& v, std::uint64_t rows, std::uint64_t columns) {
    return 1 + (rows - 1) * v.row + (columns - 1) * v.column + (p.outer - 1) * v.outer +
           (p.inner - 1) * v.inner;
}

// Empty, or the promise at the head of shaders/include/multiply.glsl or the limit that `piece` breaks.
std::string broken(const MultiplyPlan& piece, const Capabilities& caps, Access access) {
    const MultiplyProblem& p = piece.problem;
    const auto& info = kernels::info(piece.kernel.module);
    std::map<std::string, std::uint32_t> constant;
    for (std::size_t i = 0; i < info.constants.size(); ++i)
        constant[std::string(info.constants[i].name)] = piece.kernel.constants[i];
    if (std::string text = unfit_reason(piece.kernel, caps); !text.empty()) return text;
    if (!p.m || !p.n || !p.k || !p.outer || !p.inner) return "an empty piece";

    // Strides along dimensions of one element are never followed.
    const auto even = [&](std::uint64_t stride, std::uint64_t size) { return size == 1 || stride % 2 == 0; };
    const auto pairs = [&](const MatrixView& v, std::uint64_t other, std::uint64_t other_size) {
        return v.offset % 2 == 0 && even(other, other_size) && even(v.outer, p.outer) &&
               even(v.inner, p.inner);
    };
    const bool few = piece.tile.family == detail::Family::few;
    if (few) {
        const auto runs = [&](const char* name, const MatrixView& v, std::uint64_t along, std::uint64_t other,
                              std::uint64_t other_size) {
            const std::uint64_t elements = constant[name] * (4 / size_of(v.type));
            const auto whole = [&](std::uint64_t stride, std::uint64_t size) {
                return size == 1 || stride % elements == 0;
            };
            return elements == 0 ||
                   (along == 1 && v.offset % elements == 0 && whole(other, other_size) &&
                    whole(v.outer, p.outer) && whole(v.inner, p.inner) && constant["k_lane"] % elements == 0);
        };
        if (!runs("a_layout", p.a, p.a.column, p.a.row, p.m)) return "runs of A";
        if (!runs("b_layout", p.b, p.b.row, p.b.column, p.n)) return "runs of B";
        if (constant["one_subgroup"] && constant["local_size"] != caps.subgroup_size) return "one_subgroup";
    } else if (piece.tile.family == detail::Family::shared) {
        const auto runs = [&](const char* name, const MatrixView& v, std::uint64_t line,
                              std::uint64_t along_k, std::uint64_t lines) {
            if (constant[name] % 2 == 0) return true;
            const bool along = constant[name] == 1;
            const std::uint64_t run = 16 / size_of(v.type), size = along ? lines : p.k;
            const auto whole = [&](std::uint64_t stride, std::uint64_t count) {
                return count == 1 || stride % run == 0;
            };
            return (along ? along_k : line) == 1 && (along ? p.k : lines) % run == 0 && v.offset % run == 0 &&
                   whole(along ? line : along_k, size) && whole(v.outer, p.outer) && whole(v.inner, p.inner);
        };
        if (!runs("a_layout", p.a, p.a.row, p.a.column, p.m)) return "runs of A";
        if (!detail::is_sparse(p) && !runs("b_layout", p.b, p.b.column, p.b.row, p.n)) return "runs of B";
        if ((constant["exact"] & 4) && p.k % constant["block_k"]) return "exact depth";
        constant["tile_rows"] *= constant["local_size"] / constant["lanes_x"];  // the workgroup's
        constant["local_size"] = constant["lanes_x"];
    } else {
        const bool picks = p.picked_from != 0, packed = p.a_panel && !picks;
        if (constant["k_unroll"] > p.k && !packed) return "k_unroll";
        if ((constant["a_layout"] == 2) != packed) return "a_layout 2";
        if ((constant["a_layout"] == 3) != picks ||
            (constant["panel_rows"] && constant["panel_rows"] != p.a_panel))
            return "a_layout 3";
        if (picks && constant["b_layout"] == 2) return "b_layout 2 of rows that are picked";
        if (p.a_panel && (p.a_panel % constant["tile_rows"] || (packed && constant["k_unroll"] != p.a_depth)))
            return "a tile that does not divide its panel";
        if (constant["a_layout"] == 1 &&
            !(size_of(p.a.type) == 2 && p.a.column == 1 && pairs(p.a, p.a.row, p.m)))
            return "a_layout 1";
        if (constant["b_layout"] == 1 && !(p.b.column == 1 && p.n % 2 == 0 && pairs(p.b, p.b.row, p.k)))
            return "b_layout 1";
        if (constant["b_layout"] == 2 && !(p.b.row == 1 && pairs(p.b, p.b.column, p.n))) return "b_layout 2";
    }
    if (constant["c_layout"] == 1) {
        if (!(p.c.column == 1 && pairs(p.c, p.c.row, p.m))) return "c_layout 1";
        if (p.has_residual && p.residual.offset % 2) return "c_layout 1 of the residual";
        if (p.has_aux && p.aux.offset % 2) return "c_layout 1 of aux";
    }
    if (constant["c_layout"] == 3) {
        if (!(p.c.row == 1 && pairs(p.c, p.c.column, p.n))) return "c_layout 3";
        if (p.has_residual && p.residual.offset % 2) return "c_layout 3 of the residual";
        if (p.has_aux && p.aux.offset % 2) return "c_layout 3 of aux";
    }
    const std::uint64_t tile = std::uint64_t{few ? 1 : constant["local_size"]} * constant["tile_columns"];
    if ((constant["exact"] & 1) && p.m % constant["tile_rows"]) return "exact rows";
    if ((constant["exact"] & 2) && p.n % tile) return "exact columns";
    if (constant["operand_type"] != static_cast<std::uint32_t>(p.b.type)) return "operand_type";
    if (constant["output_type"] != static_cast<std::uint32_t>(p.c.type)) return "output_type";
    if (p.has_bias && constant["bias_type"] != static_cast<std::uint32_t>(p.bias.type)) return "bias_type";
    if (constant["activation"] != static_cast<std::uint32_t>(p.activation)) return "activation";
    const bool on_rows = p.has_bias && p.bias_on_rows;
    if (constant["epilogue"] !=
        (p.has_bias ? 1u : 0u) + (p.has_residual ? 2u : 0u) + (p.has_aux ? 4u : 0u) + (on_rows ? 8u : 0u))
        return "epilogue";
    if (p.has_bias && (on_rows ? p.bias.column : p.bias.row) != 0) return "bias along both";

    const auto& grid = piece.grid;
    if (grid[0] != detail::divide_up(p.n, tile) || grid[1] != p.outer * p.inner ||
        grid[2] != detail::divide_up(p.m, constant["tile_rows"]))
        return "the grid does not cover the piece";
    for (std::size_t i = 0; i < 3; ++i)
        if (grid[i] == 0 || grid[i] > caps.max_workgroup_count[i]) return "the grid";
    if (constant["local_size"] > caps.max_workgroup_invocations ||
        constant["local_size"] > caps.max_workgroup_size[0])
        return "local_size";
    const auto fits = [&](const MatrixView& v, std::uint64_t elements) {
        return elements <= detail::operand_limit(caps, access, v.type);
    };
    if (!fits(p.a, detail::span_a(p))) return "x spans too much";
    if (!fits(p.b, p.picked_from ? detail::span_b(p) : span(p, p.b, p.k, p.n)))
        return "the weight spans too much";
    if (!fits(p.c, span(p, p.c, p.m, p.n))) return "the result spans too much";
    if (p.has_bias &&
        !fits(p.bias, 1 + (p.m - 1) * p.bias.row + (p.n - 1) * p.bias.column + (p.inner - 1) * p.bias.inner))
        return "the bias spans too much";
    if (p.k > 1ull << 31) return "k";
    return {};
}

// Plans `problem` and checks every piece; the pieces' multiply-adds are those of the problem.
std::vector<MultiplyPlan> checked_plan(const MultiplyProblem& problem, const Capabilities& caps,
                                       Access access) {
    const std::vector<MultiplyPlan> pieces = detail::plan(problem, caps, access);
    long double work = 0;
    for (const MultiplyPlan& piece : pieces) {
        EXPECT_EQ(broken(piece, caps, access), "");
        const MultiplyProblem& p = piece.problem;
        work += static_cast<long double>(p.m) * static_cast<long double>(p.n) *
                static_cast<long double>(p.k) * static_cast<long double>(p.outer * p.inner);
    }
    EXPECT_EQ(work, static_cast<long double>(problem.m) * static_cast<long double>(problem.n) *
                        static_cast<long double>(problem.k) *
                        static_cast<long double>(problem.outer * problem.inner));
    return pieces;
}

// A view of `rows` × `columns` of p's batch, laid out in a random order of dimensions behind `next`, which
// moves on.
MatrixView draw_view(const MultiplyProblem& p, DataType type, std::uint64_t rows, std::uint64_t columns,
                     std::uint64_t& next, bool result) {
    MatrixView view;
    view.type = type;
    view.offset = next + draw(0, 1);
    std::vector<std::pair<std::uint64_t*, std::uint64_t>> dims{
        {&view.row, rows}, {&view.column, columns}, {&view.outer, p.outer}, {&view.inner, p.inner}};
    for (std::size_t i = dims.size(); i > 1; --i) std::swap(dims[i - 1], dims[draw(0, i - 1)]);
    std::uint64_t stride = 1;
    for (const auto& [where, size] : dims) {
        const bool still = !result && draw(0, 7) == 0;
        *where = still ? 0 : stride;
        if (!still) stride = stride * size + draw(0, 1);
    }
    next = view.offset + stride + 4;
    return view;
}

TEST(Plan, PiecesMakeTheProductOnceEach) {
    constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};
    int split = 0, refused = 0;
    test::property(1500, [&] {
        MultiplyProblem p;
        p.m = draw(1, 9);
        p.n = draw(1, 9);
        p.k = draw(1, 9);
        p.outer = draw(1, 3);
        p.inner = draw(1, 3);
        const DataType type = types[draw(0, 2)], result = draw(0, 1) ? type : DataType::f32;
        std::uint64_t next = 0;
        p.a = draw_view(p, type, p.m, p.k, next, false);
        p.b = draw_view(p, type, p.k, p.n, next, false);
        p.c = draw_view(p, result, p.m, p.n, next, true);
        const auto beside = [&] {  // residual and aux have c's strides
            MatrixView view = p.c;
            view.offset = next + draw(0, 1);
            next += span(p, p.c, p.m, p.n) + 4;
            return view;
        };
        p.has_bias = draw(0, 1) == 1;
        p.has_residual = draw(0, 1) == 1;
        p.has_aux = draw(0, 3) == 0;
        if (p.has_residual) p.residual = draw(0, 1) ? p.c : beside();
        if (p.has_aux) p.aux = beside();
        if (p.has_bias) {
            p.bias = {{}, draw(0, 1) ? type : DataType::f32, next, 0, draw(0, 3), 0, draw(0, 3)};
            next += 64;
        }
        p.activation = draw(0, 1) ? Activation::relu : Activation::none;
        p.scale = draw(0, 1) ? 2.0f : 1.0f;

        Capabilities caps = plain_device(draw(0, 1) ? DeviceType::cpu : DeviceType::discrete);
        caps.storage_offset_alignment = 16;
        caps.max_storage_range = 16 + 4 * draw(1, 200);
        caps.subgroup_size = static_cast<std::uint32_t>(4u << draw(0, 5));  // 4 to 128
        caps.max_storage_buffers = draw(0, 3) ? 8 : 4;
        caps.max_workgroup_invocations = static_cast<std::uint32_t>(1u << draw(0, 7));
        for (auto& count : caps.max_workgroup_count) count = static_cast<std::uint32_t>(draw(1, 4));
        const Access access = draw(0, 3) ? Access::descriptor : Access::address;

        std::vector<double> memory(next + 64);
        for (std::size_t i = 0; i < memory.size(); ++i)
            memory[i] = static_cast<double>((i * 7919 + 13) % 11) - 5.0;
        std::vector<double> expected = memory;
        interpret(p, expected);
        std::vector<MultiplyPlan> pieces;
        const test::Caught error = test::caught([&] { pieces = detail::plan(p, caps, access); });
        if (error.thrown) {
            RC_ASSERT(error.kind == ErrorKind::unsupported);
            RC_ASSERT(error.text.find("a test device") != std::string::npos);
            RC_ASSERT(access == Access::descriptor);
            ++refused;
            return;
        }
        for (const MultiplyPlan& piece : pieces) {
            RC_ASSERT(broken(piece, caps, access) == "");
            interpret(piece.problem, memory);
        }
        RC_ASSERT(memory == expected);
        if (pieces.size() > 1) ++split;
    });
    EXPECT_GT(split, 100);
    EXPECT_LT(refused, 1400);
}

// Products that every family serves: each candidate keeps what it promises, whatever the rules choose.
TEST(Plan, CandidatesKeepTheirPromises) {
    constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};
    std::map<detail::Family, int> seen;
    test::property(1000, [&] {
        MultiplyProblem p;
        p.m = draw(0, 1) ? draw(1, 20) : 8 * draw(4, 40);
        p.n = draw(0, 1) ? draw(1, 300) : 8 * draw(4, 40);
        p.k = draw(0, 1) ? draw(1, 300) : 8 * draw(16, 40);
        p.outer = draw(1, 2);
        p.inner = draw(1, 2);
        const DataType type = types[draw(0, 2)];
        std::uint64_t next = 0;
        p.a = draw_view(p, type, p.m, p.k, next, false);
        p.b = draw_view(p, type, p.k, p.n, next, false);
        p.c = draw_view(p, draw(0, 1) ? type : DataType::f32, p.m, p.n, next, true);
        if (draw(0, 1)) p.a.offset = p.b.offset = p.c.offset = 0;
        for (const DeviceType device : {DeviceType::cpu, DeviceType::discrete}) {
            const Capabilities caps = plain_device(device);
            for (const MultiplyPlan& one : detail::candidates(p, caps, Access::address)) {
                RC_ASSERT(broken(one, caps, Access::address) == "");
                ++seen[one.tile.family];
            }
            RC_ASSERT(detail::candidates(p, caps, Access::address, false).front().kernel ==
                      detail::candidates(p, caps, Access::address).front().kernel);
        }
    });
    for (const detail::Family family : {detail::Family::direct, detail::Family::few, detail::Family::shared})
        EXPECT_GT(seen[family], 100);
}

TEST(Plan, EmptyProblemsHaveNoPieces) {
    const Capabilities caps = plain_device();
    for (const auto& [m, n] : {std::pair{0u, 3u}, std::pair{3u, 0u}})
        EXPECT_TRUE(detail::plan(test::plain_problem(m, n, 4), caps, Access::address).empty());
    MultiplyProblem p = test::plain_problem(3, 4, 5);
    p.outer = 0;
    EXPECT_TRUE(detail::plan(p, caps, Access::address).empty());
}

TEST(Plan, PastThirtyTwoBits) {
    for (const DeviceType type : {DeviceType::cpu, DeviceType::discrete}) {
        const Capabilities caps = plain_device(type);
        EXPECT_EQ(checked_plan(test::plain_problem(1 << 16, 1 << 10, 1 << 15), caps, Access::address).size(),
                  1u);
        EXPECT_EQ(checked_plan(test::plain_problem(1 << 17, 1 << 10, 1 << 15), caps, Access::address).size(),
                  2u);
        EXPECT_EQ(
            checked_plan(test::plain_problem((1 << 17) + 1, 1 << 14, 1 << 15), caps, Access::address).size(),
            3u);
        EXPECT_GT(
            checked_plan(test::plain_problem(1 << 10, 1 << 22, 1 << 12, DataType::f16), caps, Access::address)
                .size(),
            7u);
        EXPECT_GT(checked_plan(test::plain_problem(3, 5, 3ull << 31), caps, Access::address).size(),
                  8u);  // a long sum is cut
        MultiplyProblem batch = test::plain_problem(1 << 10, 1 << 10, 1 << 10);
        batch.outer = 1 << 13;
        batch.a.outer = batch.c.outer = 1 << 20;
        EXPECT_EQ(checked_plan(batch, caps, Access::address).size(), 4u);
    }
}

TEST(Plan, PastTheStorageRange) {
    Capabilities caps = plain_device();
    caps.max_storage_range = 1ull << 27;
    EXPECT_EQ(checked_plan(test::plain_problem(1 << 14, 1 << 10, 1 << 11), caps, Access::address).size(), 1u);
    EXPECT_GT(checked_plan(test::plain_problem(1 << 14, 1 << 10, 1 << 12), caps, Access::descriptor).size(),
              1u);
    EXPECT_GT(
        checked_plan(test::plain_problem(1 << 12, 1 << 14, 1 << 12, DataType::bf16), caps, Access::descriptor)
            .size(),
        1u);
}

TEST(Plan, PastTheWorkgroupsOfEachDimension) {
    for (const DeviceType type : {DeviceType::cpu, DeviceType::discrete}) {
        const Capabilities caps = plain_device(type);
        EXPECT_GT(checked_plan(test::plain_problem(1, 1 << 26, 2), caps, Access::address).size(), 1u);
        EXPECT_GT(checked_plan(test::plain_problem(1 << 23, 2, 2), caps, Access::address).size(), 1u);
        MultiplyProblem blocks = test::plain_problem(2, 3, 4);
        blocks.inner = 70000;
        blocks.a.inner = 8;
        blocks.b.inner = 12;
        blocks.c.inner = 6;
        EXPECT_EQ(checked_plan(blocks, caps, Access::address).size(), 2u);
        blocks.outer = 3;
        blocks.a.outer = 8 * 70000;
        blocks.c.outer = 6 * 70000;
        EXPECT_GE(checked_plan(blocks, caps, Access::address).size(), 4u);
    }
}

TEST(Plan, GpusUnrollFullTilesAndWeightsDecodedAlongTheirRowsLess) {
    const auto constant = [](const kernels::Kernel& kernel, std::string_view name) {
        const auto& constants = kernels::info(kernel.module).constants;
        const auto found = std::find_if(constants.begin(), constants.end(),
                                        [&](const auto& info) { return info.name == name; });
        return kernel.constants.at(static_cast<std::size_t>(found - constants.begin()));
    };
    const auto direct = [](const MultiplyProblem& p, DeviceType type) {
        std::vector<MultiplyPlan> all = detail::candidates(p, plain_device(type), Access::address);
        std::erase_if(all, [](const MultiplyPlan& one) { return one.tile.family != detail::Family::direct; });
        return all;
    };
    for (const DeviceType type : {DeviceType::cpu, DeviceType::discrete})
        for (const std::uint64_t rows : {2u, 4u, 64u})
            for (const bool contract_columns : {false, true}) {
                const bool gpu = type == DeviceType::discrete;
                MultiplyProblem p = test::plain_problem(rows, 512, 512);
                p.weight = kernels::MatmulDirect::Weight::sparse24;
                p.contract_columns = contract_columns;
                p.b = {{}, DataType::f32, 0, contract_columns ? 0u : 256u, contract_columns ? 256u : 0u, 0,
                       0};
                p.metadata_word = 512 * 256;
                p.metadata_words = 512 * 16;
                const auto pieces = direct(p, type);
                ASSERT_FALSE(pieces.empty());
                if (gpu) {
                    EXPECT_EQ(constant(pieces[0].kernel, "k_unroll"),
                              rows >= 4 || !contract_columns ? 4u : 8u);
                }
                // Halves of A that come one by one leave no registers for four columns of such a weight.
                p.a.type = p.b.type = DataType::f16;
                p.a.offset = 1;
                const auto halves = direct(p, type);
                ASSERT_FALSE(halves.empty());
                if (gpu) {
                    EXPECT_EQ(constant(halves[0].kernel, "tile_columns"), contract_columns ? 4u : 2u);
                }
            }
}

// The list of columns follows the values where a vector-wise sparse matrix is cut.
TEST(Plan, PickedRowsAreCutAtPanels) {
    for (const DeviceType type : {DeviceType::cpu, DeviceType::discrete})
        for (const DataType data : {DataType::f32, DataType::f16}) {
            Capabilities caps = plain_device(type);
            caps.max_workgroup_count = {2, 3, 4};
            MultiplyProblem p;
            p.m = 700;
            p.n = 300;
            p.k = 40;
            p.inner = 5;
            p.picked_from = 80;
            p.a_panel = 32;
            p.a_depth = 1;
            p.a = {{}, data, 0, 40 * 32, 0, 0, 22 * 40 * 32};
            p.b = {{}, data, 0, 1, 80, 0, 300 * 80};
            p.c = {{}, data, 0, 1, 700, 0, 300 * 700};
            p.metadata_word = 5 * 22 * 40 * 32 * size_of(data) / 4;
            p.metadata_words = 5 * 22 * 40;
            const auto pieces = checked_plan(p, caps, Access::address);
            EXPECT_GT(pieces.size(), 10u);
            for (const MultiplyPlan& piece : pieces) {
                const std::uint64_t panel = piece.problem.a.offset / (40 * 32);
                EXPECT_EQ(piece.problem.a.offset % (40 * 32), 0u);
                EXPECT_EQ(piece.problem.metadata_word, p.metadata_word + panel * 40);
                EXPECT_EQ(piece.problem.metadata_words, p.metadata_words - panel * 40);
                EXPECT_EQ(piece.problem.c.offset % 700 / 32, panel % 22);
            }
        }
}

TEST(Plan, RefusalsNameTheLimit) {
    const Capabilities caps = plain_device();
    const auto refused = [&](const MultiplyProblem& p, const std::vector<std::string>& parts,
                             Access access = Access::address, std::uint64_t range = 1ull << 27) {
        Capabilities now = caps;
        now.max_storage_range = range;
        test::expect_error(ErrorKind::unsupported, parts,
                           [&] { static_cast<void>(detail::plan(p, now, access)); });
    };
    // A sum that must stay whole.
    refused(test::plain_problem(2, 2, 1ull << 32, DataType::f16),
            {"matmul", "x", "4294967296", "f16", "a test device", "2147483648"});
    MultiplyProblem relu = test::plain_problem(2, 2, 1ull << 32);
    relu.activation = Activation::relu;
    refused(relu, {"matmul", "x", "f32", "2147483648"});
    MultiplyProblem aux = test::plain_problem(2, 2, 1ull << 32);
    aux.has_aux = true;
    refused(aux, {"matmul", "x", "f32", "2147483648"});
    MultiplyProblem still = test::plain_problem(2, 2, 1ull << 32, DataType::f16);
    still.a = still.b = {{}, DataType::f16, 0, 0, 0, 0, 0};
    refused(still, {"matmul", "4294967296 terms", "2147483648"});
    still.a.type = still.b.type = still.c.type = DataType::f32;
    EXPECT_EQ(checked_plan(still, caps, Access::address).size(), 2u);
    // A range without room for one element.
    refused(test::plain_problem(2, 2, 2), {"matmul", "x", "reaches 0"}, Access::descriptor, 256);
    // A feature-major result exchanges the roles, not the names.
    MultiplyProblem turned = relu;
    turned.c.row = 1;
    turned.c.column = 2;
    refused(turned, {"matmul", "x spans", "f32", "2147483648"});
    // A bias with far places is cut with the columns.
    MultiplyProblem bias = test::plain_problem(2, 1 << 13, 2);
    bias.has_bias = true;
    bias.bias.column = 1 << 19;
    EXPECT_EQ(checked_plan(bias, caps, Access::address).size(), 2u);
    bias.c.row = 1;
    bias.c.column = 2;
    EXPECT_EQ(checked_plan(bias, caps, Access::address).size(), 2u);
}

}  // namespace
}  // namespace danaus
