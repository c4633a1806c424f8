// A parameter and its double for tests of optimizers.
#pragma once

#include "api/training_support.hpp"
#include "reference/error_bound.hpp"
#include "reference/optimizers.hpp"

namespace danaus::test {

/// One parameter on the device inside guards, its master drawn, and the same in double.
struct Trial {
    Trial(Stream& stream, std::uint64_t count, DataType working, DataType gradient_type, unsigned seed,
          std::uint64_t skew = 0)
        : Trial(stream, Shape{count}, working, gradient_type, seed, skew) {}
    Trial(Stream& stream, const Shape& shape, DataType working, DataType gradient_type, unsigned seed,
          std::uint64_t skew = 0)
        : master(stream, DataType::f32, shape, 0, skew),
          copy(stream, working, shape, 0, skew),
          gradient(stream, gradient_type, shape, 0, skew),
          values(drawn(DataType::f32, shape.elements(), seed)),
          exact(reference::to_double(values)) {
        upload_into(stream, master.tensor(), values);
        refresh_working(stream, parameter());
    }
    [[nodiscard]] Parameter parameter() const { return {master.tensor(), copy.tensor(), gradient.tensor()}; }
    std::vector<double> set_gradient(Stream& stream, unsigned seed, float scale = 1.0f) {
        auto draw = drawn(gradient.tensor().type(), values.size(), seed);
        for (float& g : draw) g *= scale;
        upload_into(stream, gradient.tensor(), draw);
        for (float& g : draw) g /= scale;
        return reference::to_double(draw);
    }
    // Empty, or what is wrong with the weights and their copy.
    [[nodiscard]] std::string compare(Stream& stream, double tolerance) const {
        const auto weights = download(stream, master.tensor());
        auto wrong = reference::first_mismatch(weights, exact, tolerance, tolerance);
        if (!wrong.empty()) return "master: " + wrong;
        const auto type = reference_type(copy.tensor().type());
        if (download(stream, copy.tensor()) != reference::round_to(type, weights))
            return "the copy is not the master";
        master.check(stream);
        copy.check(stream);
        gradient.check(stream);
        return {};
    }
    Guarded master, copy, gradient;
    std::vector<float> values;
    std::vector<double> exact;
};

}  // namespace danaus::test
