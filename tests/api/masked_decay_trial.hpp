// Optimizers of every kind with their oracles, and masks, for tests of decay.
#pragma once

#include "api/optimizer_trial.hpp"
#include "reference/sparse24.hpp"
#include "support/masks.hpp"

#include <functional>
#include <random>

namespace danaus::test {

using OracleStep = std::function<void(std::vector<double>&, std::span<const double>)>;

// An optimizer's options, and one parameter's oracle of it.
struct Method {
    std::string name;
    double learning_rate;
    std::function<Optimizer(Recorder&, std::vector<Parameter>, const StepOptions&)> create;
    std::function<OracleStep()> oracle;
};

template <typename Options, typename Oracle, typename OracleOptions>
Method method(std::string name, const Options& options, const OracleOptions& oracle_options) {
    return {std::move(name), oracle_options.learning_rate,
            [options](Recorder& recorder, std::vector<Parameter> parameters, const StepOptions& step) {
                return Optimizer(recorder, std::move(parameters), options, step);
            },
            [oracle_options]() -> OracleStep {
                return [oracle = Oracle(oracle_options)](
                           std::vector<double>& p, std::span<const double> g) mutable { oracle.step(p, g); };
            }};
}

inline Method sgd(std::string name, float momentum, float weight_decay, bool nesterov) {
    return method<SgdOptions, reference::Sgd>(
        std::move(name), SgdOptions{0.0625f, momentum, 0.0f, weight_decay, nesterov},
        reference::SgdOptions{0.0625, static_cast<double>(momentum), 0, static_cast<double>(weight_decay),
                              nesterov});
}

inline const std::vector<Method>& methods() {
    static const std::vector<Method> all{
        sgd("sgd", 0.0f, 0.0f, false), sgd("momentum", 0.75f, 0.125f, false),
        sgd("nesterov", 0.75f, 0.0f, true),
        method<AdamWOptions, reference::AdamW>("adamw", AdamWOptions{0.0625f, 0.75, 0.875, 0x1p-20f, 0.125f},
                                               reference::AdamWOptions{0.0625, 0.75, 0.875, 0x1p-20, 0.125}),
        method<LionOptions, reference::Lion>("lion", LionOptions{0.0625f, 0.75, 0.875, 0.125f},
                                             reference::LionOptions{0.0625, 0.75, 0.875, 0.125})};
    return all;
}

// Any mask of a matrix, on the device inside guards and as the oracle has it, blocks one below the other.
struct TrialMask {
    TrialMask(Stream& stream, const Shape& shape, unsigned seed, bool full = false)
        : bits(stream, DataType::u32, mask_shape(shape)),
          kept(shape.elements() / shape[shape.rank() - 1], shape[shape.rank() - 1]) {
        std::mt19937 engine(seed);
        for (auto& one : kept.data) one = full || engine() % 2 != 0;
        upload_into(stream, bits.tensor(), std::span<const std::uint32_t>(packed(kept)));
    }
    Guarded bits;
    reference::Mask kept;
};

inline Parameter masked(const Trial& trial, const Tensor& mask, float factor,
                        DecayForm form = DecayForm::before_moments) {
    Parameter parameter = trial.parameter();
    parameter.masked_decay = {mask, factor, form};
    return parameter;
}

// One step of the formulas: `gradient` is clipped already.
inline void exact_step(const Method& method, const OracleStep& oracle, std::vector<double>& weights,
                       const std::vector<double>& gradient, const reference::Mask& kept, double factor,
                       DecayForm form) {
    const reference::Matrix w(kept.rows, kept.cols, weights), none(kept.rows, kept.cols);
    if (form == DecayForm::before_moments) {
        const reference::Matrix g(kept.rows, kept.cols, gradient);
        oracle(weights, reference::masked_decay(g, w, kept, factor).data);
        return;
    }
    oracle(weights, gradient);
    const reference::Matrix decay = reference::masked_decay(none, w, kept, factor);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] -= method.learning_rate * decay.data[i];
}

}  // namespace danaus::test
