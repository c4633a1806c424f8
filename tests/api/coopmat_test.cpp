// Kernels for matrix units: when they are chosen, what they promise, and why a device is refused. Without a
// device.
#include "plain_problem.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using detail::Family;
using detail::MatrixView;
using detail::MultiplyPlan;
using detail::MultiplyProblem;
using test::draw;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

// A GPU whose driver lists `shapes`, {m, n, k} each, for both 16-bit types.
Capabilities gpu(std::uint32_t least, std::uint32_t usual, std::uint32_t most,
                 const std::vector<CooperativeMatrix>& shapes) {
    Capabilities c;
    c.name = "a test device";
    c.type = DeviceType::discrete;
    c.api_version = (1u << 22) | (3u << 12);
    c.max_workgroup_invocations = 1024;
    c.max_workgroup_size = {1024, 1024, 64};
    c.max_shared_memory = 49152;
    c.max_storage_buffers = 16;
    c.min_subgroup_size = c.matrix_subgroup_size = least;
    c.subgroup_size = usual;
    c.max_subgroup_size = most;
    c.buffer_device_address = c.subgroup_arithmetic = c.subgroup_size_control = c.compute_full_subgroups =
        true;
    c.shader_float16 = c.vulkan_memory_model = c.memory_model_device_scope = true;
    c.cooperative_matrix = c.shader_bfloat16 = c.matrix_bfloat16 = true;
    for (CooperativeMatrix shape : shapes)
        for (const MatrixElement element : {MatrixElement::f16, MatrixElement::bf16}) {
            shape.a = shape.b = element;
            c.cooperative_matrices.push_back(shape);
        }
    return c;
}

Capabilities nvidia() {
    return gpu(32, 32, 32, {{16, 8, 8}, {16, 8, 16}, {16, 16, 16}});
}

std::vector<Capabilities> gpus() {
    return {nvidia(), gpu(32, 64, 64, {{16, 16, 16}}), gpu(16, 32, 32, {{8, 16, 16}}),
            gpu(8, 8, 8, {{8, 8, 8}})};
}

Family chosen(const MultiplyProblem& p, const Capabilities& caps) {
    return detail::candidates(p, caps, Access::address, false).front().tile.family;
}

// Empty, or the promise of coopmat.comp that `plan` breaks.
std::string broken(const MultiplyPlan& plan, const Capabilities& caps) {
    if (std::string text = unfit_reason(plan.kernel, caps); !text.empty()) return text;
    const MultiplyProblem& p = plan.problem;
    const auto& info = kernels::info(plan.kernel);
    const auto value = [&](const char* name) {
        const std::uint32_t* const found = kernels::find_constant(plan.kernel, name);
        return found ? std::uint64_t{*found} : 0;
    };
    const std::uint64_t m = value("block_m"), n = value("block_n"), k = value("block_k");
    if (plan.tile.rows != m || plan.tile.columns != n || plan.tile.depth != k) return "tile";
    if (plan.grid[0] * n < p.n || plan.grid[2] * m < p.m || plan.grid[1] != p.outer * p.inner) return "grid";
    const std::uint64_t exact = value("exact");
    if (((exact & 1) && p.m % m) || ((exact & 2) && p.n % n) || ((exact & 4) && p.k % k)) return "exact";
    if (kernels::shared_bytes(plan.kernel) > caps.max_shared_memory) return "shared memory";
    if (value("operand_type") != static_cast<std::uint32_t>(p.a.type)) return "operand_type";
    const bool bf16 = info.name.ends_with("_bf16");
    if ((p.a.type == DataType::bf16) != bf16 || p.a.type == DataType::f32) return "element";
    const auto runs = [&](const char* name, const MatrixView& v, std::uint64_t line, std::uint64_t along_k,
                          std::uint64_t lines) {
        if (value(name) % 2 == 0) return true;
        const bool along = value(name) == 1;
        const auto whole = [](std::uint64_t stride, std::uint64_t count) {
            return count == 1 || stride % 8 == 0;
        };
        return (along ? along_k : line) == 1 && (along ? p.k : lines) % 8 == 0 && v.offset % 8 == 0 &&
               whole(along ? line : along_k, along ? lines : p.k) && whole(v.outer, p.outer) &&
               whole(v.inner, p.inner);
    };
    if (!runs("a_layout", p.a, p.a.row, p.a.column, p.m)) return "runs of A";
    if (!detail::is_sparse(p) && !runs("b_layout", p.b, p.b.column, p.b.row, p.n)) return "runs of B";
    if (value("c_layout") == 1 && (p.c.column != 1 || p.c.offset % 2 || (p.m > 1 && p.c.row % 2)))
        return "c_layout";
    return {};
}

// No compiler at hand knew cooperative matrices.
class Coopmat : public testing::Test {
protected:
    void SetUp() override {
        const auto& absent = kernels::info(kernels::Module::matmul_coopmat_dense_bf16).absent[0];
        if (!absent.empty()) GTEST_SKIP() << absent;
    }
};

TEST_F(Coopmat, CandidatesKeepTheirPromises) {
    std::map<std::pair<std::size_t, std::uint32_t>, int> seen;
    const auto devices = gpus();
    test::property(500, [&] {
        MultiplyProblem p = test::plain_problem(
            draw(0, 1) ? draw(1, 300) : 32 * draw(1, 40), draw(0, 1) ? draw(1, 300) : 64 * draw(1, 40),
            draw(0, 1) ? draw(1, 300) : 16 * draw(1, 40), types[draw(0, 2)]);
        if (draw(0, 1)) p.c.type = DataType::f32;
        if (draw(0, 2) == 0) p.a = {{}, p.a.type, draw(0, 9), 1, p.m + draw(0, 9), 0, 0};
        if (draw(0, 2) == 0) p.b = {{}, p.a.type, draw(0, 9), p.n + draw(0, 9), 1, 0, 0};
        if (draw(0, 2) == 0) p.c = {{}, p.c.type, draw(0, 9), 1, p.m + draw(0, 9), 0, 0};
        for (std::size_t i = 0; i < devices.size(); ++i)
            for (const MultiplyPlan& one : detail::candidates(p, devices[i], Access::address)) {
                if (one.tile.family != Family::coopmat) continue;
                RC_ASSERT(broken(one, devices[i]) == "");
                ++seen[{i, one.tile.rows * one.tile.depth}];
            }
    });
    // Blocks of every size, by subgroups of 32 and more lanes, of 16 and of 8.
    const std::set<std::uint32_t> wide{128 * 16, 128 * 32, 64 * 32, 32 * 32}, of16{32 * 16},
        of8{128 * 16, 64 * 16, 32 * 16};
    for (std::size_t i = 0; i < devices.size(); ++i) {
        const std::uint32_t size = devices[i].matrix_subgroup_size;
        for (const std::uint32_t block : size >= 32 ? wide : size == 16 ? of16 : of8)
            EXPECT_GT((seen[{i, block}]), 100) << i;
    }
}

TEST_F(Coopmat, IsChosenForLargeProductsOf16BitsOnGpus) {
    for (Capabilities caps : gpus()) {
        for (const DataType type : {DataType::f16, DataType::bf16}) {
            EXPECT_EQ(chosen(test::plain_problem(64, 64, 64, type), caps), Family::coopmat);
            EXPECT_EQ(chosen(test::plain_problem(4096, 1000, 777, type), caps), Family::coopmat);
            EXPECT_NE(chosen(test::plain_problem(16, 4096, 4096, type), caps), Family::coopmat);
            EXPECT_NE(chosen(test::plain_problem(4096, 4096, 8, type), caps), Family::coopmat);
        }
        EXPECT_EQ(chosen(test::plain_problem(512, 512, 512, DataType::f32), caps), Family::shared);
        caps.type = DeviceType::cpu;
        EXPECT_NE(chosen(test::plain_problem(512, 512, 512, DataType::f16), caps), Family::coopmat);
    }
}

TEST_F(Coopmat, LargeProductsTakeLargeBlocksAndShapes) {
    const auto plan =
        detail::candidates(test::plain_problem(4096, 4096, 4096, DataType::f16), nvidia(), Access::address)
            .front();
    EXPECT_EQ(plan.tile.rows, 128u);
    EXPECT_EQ(*kernels::find_constant(plan.kernel, "matrix_n"), 16u);
    EXPECT_EQ(detail::candidates(test::plain_problem(64, 64, 64, DataType::f16), nvidia(), Access::address)
                  .front()
                  .tile.rows,
              32u);
}

TEST_F(Coopmat, NeedsAllThatItsKernelsAskFor) {
    const MultiplyProblem p = test::plain_problem(512, 512, 512, DataType::f16);
    const std::vector<void (*)(Capabilities&)> losses{
        [](Capabilities& c) { c.cooperative_matrix = false; },
        [](Capabilities& c) { c.cooperative_matrices.clear(); },
        [](Capabilities& c) {
            for (CooperativeMatrix& shape : c.cooperative_matrices)
                shape.result = shape.c = MatrixElement::f16;
        },
        [](Capabilities& c) {
            c.cooperative_matrices = {{16, 64, 16}};
        },
        [](Capabilities& c) { c.shader_float16 = false; },
        [](Capabilities& c) { c.vulkan_memory_model = false; },
        [](Capabilities& c) { c.memory_model_device_scope = false; },
        [](Capabilities& c) { c.compute_full_subgroups = false; },
        [](Capabilities& c) { c.max_shared_memory = 4096; },
        [](Capabilities& c) { c.max_workgroup_invocations = 31; }};
    for (std::size_t i = 0; i < losses.size(); ++i)
        for (Capabilities caps : gpus()) {
            losses[i](caps);
            EXPECT_NE(chosen(p, caps), Family::coopmat)
                << i << ", subgroups of " << caps.matrix_subgroup_size;
        }
    Capabilities amd = gpus()[1], intel = gpus()[2];
    // Arc Alchemist's kernels spill.
    EXPECT_NE(chosen(p, gpu(8, 32, 32, {{8, 8, 16}})), Family::coopmat);
    amd.subgroup_size_control = false;  // so that kernels run at 64
    EXPECT_NE(chosen(p, amd), Family::coopmat);
    intel.matrix_bfloat16 = false;
    EXPECT_EQ(chosen(p, intel), Family::coopmat);
    EXPECT_NE(chosen(test::plain_problem(512, 512, 512, DataType::bf16), intel), Family::coopmat);
}

TEST_F(Coopmat, RefusalsNameWhatIsWrong) {
    const auto unfit = [](const char* part, void (*change)(kernels::MatmulCoopmat&, Capabilities&)) {
        kernels::MatmulCoopmat kernel;
        kernel.operand_type = 1;
        Capabilities caps = nvidia();
        EXPECT_EQ(unfit_reason(kernel.kernel(), caps), "");
        change(kernel, caps);
        EXPECT_NE(unfit_reason(kernel.kernel(), caps).find(part), std::string::npos)
            << part << ": " << unfit_reason(kernel.kernel(), caps);
    };
    unfit("subgroup = 32, the device multiplies matrices at 16",
          [](auto&, Capabilities& c) { c.matrix_subgroup_size = 16; });
    unfit("lacks subgroup_size_control", [](auto&, Capabilities& c) {
        c.subgroup_size = 64;
        c.subgroup_size_control = false;
    });
    unfit("16x16x16 f16*f16+f32->f32, which the device does not list", [](auto&, Capabilities& c) {
        c.cooperative_matrices = {{8, 8, 8}};
    });
    // Tile ÷ subgroup tile = subgroups of the workgroup.
    unfit("local_size = 256", [](kernels::MatmulCoopmat& k, Capabilities&) { k.local_size = 256; });
    unfit("sub_m = 16, sub_n = 16", [](kernels::MatmulCoopmat& k, Capabilities&) { k.sub_m = k.sub_n = 16; });
    unfit("tile_rows = 4", [](kernels::MatmulCoopmat& k, Capabilities&) { k.tile_rows = 4; });
    unfit("bytes of shared memory, the device allows 8192",
          [](auto&, Capabilities& c) { c.max_shared_memory = 8192; });
}

// Matrices of whole workgroups: candidates of a device that lists them, never the rules' choice.
TEST_F(Coopmat, WorkgroupMatricesAreCandidatesWhereTheyAreListed) {
    if (const auto& absent = kernels::info(kernels::Module::matmul_coopmat2_dense_f16).absent[0];
        !absent.empty())
        GTEST_SKIP() << absent;
    Capabilities caps = nvidia();
    const auto found = [&] {
        std::set<std::uint32_t> lanes;
        for (const auto& one :
             detail::candidates(test::plain_problem(512, 512, 512, DataType::f16), caps, Access::address))
            if (one.tile.family == Family::coopmat2) {
                EXPECT_EQ(broken(one, caps), "");
                lanes.insert(one.tile.lanes);
            }
        return lanes;
    };
    EXPECT_TRUE(found().empty());
    caps.matrix_workgroup_scope = caps.matrix_flexible_dimensions = true;
    caps.workgroup_matrices = {{{32, 32, 16}, 128}, {{32, 64, 16}, 256}};
    EXPECT_EQ(found(), (std::set<std::uint32_t>{128, 256}));
    EXPECT_EQ(chosen(test::plain_problem(512, 512, 512, DataType::f16), caps), Family::coopmat);
    caps.matrix_reserved_shared = 32768;
    EXPECT_EQ(found(), (std::set<std::uint32_t>{128}))
        << "only the smallest block leaves as much shared memory";
    caps.api_version = (1u << 22) | (2u << 12);
    EXPECT_TRUE(found().empty()) << "SPIR-V 1.6 needs Vulkan 1.3";
}

}  // namespace
}  // namespace danaus
