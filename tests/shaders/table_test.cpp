// The generated table, seen from C++: types, constants, masks, reasons for absence.
#include <danaus/kernels.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_set>

#include <gtest/gtest.h>

namespace {

namespace kernels = danaus::kernels;
using kernels::Module;
using kernels::Scale;

constexpr std::size_t address = static_cast<std::size_t>(danaus::Access::address);
constexpr std::size_t descriptor = static_cast<std::size_t>(danaus::Access::descriptor);

TEST(KernelTable, AxesAndConstantsGiveAKernel) {
    Scale scale;
    EXPECT_EQ(scale.kernel().module, Module::scale_dense_tokens);
    scale.order = Scale::Order::features;
    scale.local_size = 32;
    scale.negate = true;
    scale.factor = 3.5F;
    const kernels::Kernel kernel = scale.kernel();
    EXPECT_EQ(kernel.module, Module::scale_dense_features);
    ASSERT_EQ(kernel.count, 4U);
    EXPECT_EQ(kernel.constants[0], 32U);
    EXPECT_EQ(kernel.constants[1], 1U);
    EXPECT_EQ(std::bit_cast<float>(kernel.constants[2]), 3.5F);
    EXPECT_EQ(std::bit_cast<float>(kernel.constants[3]), 0.5F);
    EXPECT_EQ(kernels::check(kernel), "");
}

TEST(KernelTable, AnExcludedCombinationIsRefusedByName) {
    Scale scale;
    scale.weight = Scale::Weight::sparse24;
    EXPECT_EQ(scale.kernel().module, Module::scale_sparse24_tokens);
    scale.order = Scale::Order::features;
    try {
        static_cast<void>(scale.kernel());
        FAIL() << "the combination is excluded";
    } catch (const std::invalid_argument& error) {
        EXPECT_EQ(std::string(error.what()), "scale has no kernel for weight = sparse24, order = features");
    }
    scale.weight = static_cast<Scale::Weight>(7);
    EXPECT_THROW(static_cast<void>(scale.kernel()), std::invalid_argument);
}

TEST(KernelTable, CheckNamesTheConstantAndWhatIsAllowed) {
    Scale scale;
    scale.local_size = 48;
    EXPECT_EQ(kernels::check(scale.kernel()), "scale_dense_tokens: local_size is 48, allowed are 32, 64");
    scale.local_size = 64;
    scale.offset = 0.25F;
    EXPECT_EQ(kernels::check(scale.kernel()),
              "scale_dense_tokens: offset is 0.250000, allowed are 0.500000, -2.000000");
    scale.offset = -2.0F;
    EXPECT_EQ(kernels::check(scale.kernel()), "");

    kernels::Kernel kernel = scale.kernel();
    kernel.constants[1] = 2;
    EXPECT_EQ(kernels::check(kernel), "scale_dense_tokens: negate is 2, allowed are false, true");
    kernel = scale.kernel();
    kernel.count = 3;
    EXPECT_EQ(kernels::check(kernel), "scale_dense_tokens has 3 constants, it takes 4");
    kernel.module = static_cast<Module>(std::numeric_limits<std::uint16_t>::max());
    EXPECT_EQ(kernels::check(kernel), "no kernel module 65535");
    EXPECT_THROW(static_cast<void>(kernels::info(kernel.module)), std::invalid_argument);
}

TEST(KernelTable, EqualKernelsHashAlike) {
    std::unordered_set<kernels::Kernel> set;
    Scale scale;
    set.insert(scale.kernel());
    set.insert(scale.kernel());
    EXPECT_EQ(set.size(), 1U);
    scale.negate = true;
    set.insert(scale.kernel());
    set.insert(kernels::ByAddress{}.kernel());
    EXPECT_EQ(set.size(), 3U);
}

TEST(KernelTable, InfoDescribesEveryModule) {
    ASSERT_EQ(kernels::module_count, 6U);
    const kernels::ModuleInfo& dense = kernels::info(Module::scale_dense_tokens);
    EXPECT_EQ(dense.name, "scale_dense_tokens");
    EXPECT_EQ(dense.source, "scale.comp");
    EXPECT_EQ(dense.summary, "y = factor * x, a \"small\" example with axes");
    EXPECT_EQ(dense.slots, 4U);
    EXPECT_EQ(dense.push_bytes, 36U);
    ASSERT_EQ(dense.requirements.size(), 1U);
    EXPECT_EQ(dense.requirements[0], "subgroup_basic");
    ASSERT_EQ(dense.constants.size(), 4U);
    EXPECT_EQ(dense.constants[2].name, "factor");
    EXPECT_EQ(dense.constants[2].id, 2U);
    EXPECT_TRUE(dense.constants[2].values.empty());
    for (std::size_t access : {address, descriptor}) {
        ASSERT_GT(dense.code[access].size(), 5U);
        EXPECT_EQ(dense.code[access][0], 0x07230203U);
        EXPECT_TRUE(dense.absent[access].empty());
    }
}

TEST(KernelTable, MasksComeFromTheDescriptorBuild) {
    EXPECT_EQ(kernels::info(Module::scale_dense_tokens).reads, 0b0101U);
    EXPECT_EQ(kernels::info(Module::scale_dense_tokens).writes, 0b0110U);
    EXPECT_EQ(kernels::info(Module::scale_sparse24_tokens).reads, 0b1101U);
    EXPECT_EQ(kernels::info(Module::by_address).reads, 0b0101U);
    EXPECT_EQ(kernels::info(Module::by_address).writes, 0b0110U);
}

TEST(KernelTable, TilesOfSubgroupsFillTheWorkgroupAtEverySubgroupSize) {
    for (const std::uint32_t subgroup_size : {4U, 8U, 16U, 32U, 64U, 128U}) {
        for (const std::uint32_t local_size : {4U, 16U, 32U, 64U, 128U, 256U}) {
            kernels::Tiled tiled;
            tiled.local_size = local_size;
            const std::string text = kernels::check(tiled.kernel(), subgroup_size);
            EXPECT_EQ(text.empty(), 4 * subgroup_size == local_size) << subgroup_size << " " << local_size;
            if (!text.empty()) {
                EXPECT_NE(text.find("subgroup_size = " + std::to_string(subgroup_size)), text.npos) << text;
                EXPECT_NE(text.find("local_size = " + std::to_string(local_size)), text.npos) << text;
            }
            EXPECT_EQ(kernels::check(tiled.kernel()), "") << "no device, no subgroup size";
        }
    }
    kernels::Tiled odd;
    odd.subgroup_columns = 24;
    EXPECT_NE(kernels::check(odd.kernel()).find("subgroup_columns = 24"), std::string::npos);
}

TEST(KernelTable, SharedMemoryIsTheShadersOwnFormula) {
    EXPECT_EQ(kernels::shared_bytes(Scale{}.kernel()), 0U);
    EXPECT_EQ(kernels::shared_bytes(kernels::Lacking{}.kernel()), 0U);
    kernels::Tiled tiled;
    EXPECT_EQ(kernels::shared_bytes(tiled.kernel()), 64U * 68U / 2U * 8U + 128U * 2U * 8U);
    tiled.tile_rows = 32;
    tiled.tile_columns = 96;
    tiled.local_size = 64;
    EXPECT_EQ(kernels::shared_bytes(tiled.kernel()), 32U * 100U / 2U * 8U + 64U * 2U * 8U);
}

TEST(KernelTable, WorkgroupsHaveTheSizeOfTheConstants) {
    EXPECT_EQ(kernels::workgroup_size(Scale{}.kernel()), (std::array<std::uint32_t, 3>{64, 1, 1}));
    EXPECT_EQ(kernels::workgroup_size(kernels::Lacking{}.kernel()), (std::array<std::uint32_t, 3>{1, 1, 1}));
}

TEST(KernelTable, MoreOperandsThanEveryDeviceBindsAreAlsoBuiltJoined) {
    EXPECT_TRUE(kernels::info(Module::scale_dense_tokens).joined.empty());
    const kernels::ModuleInfo& tiled = kernels::info(Module::tiled);
    ASSERT_GT(tiled.joined.size(), 5U);
    EXPECT_EQ(tiled.joined[0], 0x07230203U);
    EXPECT_EQ(tiled.reads, 0b01111U) << "the joined build does not show which slots are used";
    EXPECT_EQ(tiled.writes, 0b10000U);
}

TEST(KernelTable, AbsentCodeHasAReason) {
    const kernels::ModuleInfo& only_address = kernels::info(Module::by_address);
    EXPECT_FALSE(only_address.code[address].empty());
    EXPECT_TRUE(only_address.code[descriptor].empty());
    EXPECT_EQ(only_address.absent[descriptor], "the module reaches memory by address only");

    const kernels::ModuleInfo& lacking = kernels::info(Module::lacking);
    for (std::size_t access : {address, descriptor}) {
        EXPECT_TRUE(lacking.code[access].empty());
        EXPECT_TRUE(lacking.absent[access].starts_with("glslc "));
        EXPECT_TRUE(lacking.absent[access].ends_with(" lacks GL_DANAUS_no_such_extension"));
    }
    EXPECT_EQ(kernels::check(kernels::Lacking{}.kernel()), "");
}

}  // namespace
