#include "reference/float_types.hpp"
#include "support/device.hpp"

#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using test::device;
using test::expect_error;

TEST(Tensor, FillsAndReadsBack) {
    Stream stream(device());
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16}) {
        test::Guarded out(stream, type, {3, 5}, 7, 1);
        fill_into(stream, out.tensor(), 1.5);
        EXPECT_EQ(download(stream, out.tensor()), std::vector<float>(15, 1.5f)) << to_string(type);
        out.check(stream, to_string(type));
    }
}

}  // namespace
}  // namespace danaus
