// Linear layers of Monarch matrices.
#include "monarch_padding.hpp"

#include <danaus/linear.hpp>

namespace danaus {

MonarchLinear::MonarchLinear(Recorder& recorder, std::uint64_t in, std::uint64_t out, std::uint64_t blocks,
                             const LinearOptions& options)
    : Linear(recorder, in, out, options,
             {{"blkdiag1",
               {blocks, detail::monarch_block(in, out, blocks).inner,
                detail::monarch_block(in, out, blocks).in}},
              {"blkdiag2",
               {blocks, detail::monarch_block(in, out, blocks).out,
                detail::monarch_block(in, out, blocks).inner}}}) {}

Monarch MonarchLinear::weight() const {
    return {parameters_[0].working, parameters_[1].working};
}

std::uint64_t MonarchLinear::inner_features() const {
    return weight().inner_features();
}

void MonarchLinear::multiply(Recorder& recorder, const Tensor& y, const Tensor& x, const Epilogue& epilogue,
                             Tensor* inner) const {
    detail::multiply_padded(recorder, y, x, weight(), epilogue, inner);
}

void MonarchLinear::differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                                  const BackwardOptions& options) const {
    const Monarch w = weight();
    const Monarch dw(parameters_[0].gradient, parameters_[1].gradient);
    detail::differentiate_padded(recorder, dx, dz, saved.x, w,
                                 [&](const Tensor& wide_dx, const Tensor& wide_dz, const Tensor& wide_x) {
                                     danaus::backward_into(recorder, {wide_dx, dw}, wide_dz, wide_x, w,
                                                           saved.inner,
                                                           detail::gradient_options(saved, options));
                                 });
}

}  // namespace danaus
