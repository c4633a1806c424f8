// The backward of the epilogue that every multiply shares.
#include "box.hpp"
#include "check.hpp"
#include "multiply.hpp"

#include <danaus/kernels.hpp>
#include <danaus/matmul.hpp>
#include <danaus/reduce.hpp>

#include <algorithm>

namespace danaus {
namespace {

using detail::divide_up;
using detail::require;

struct BackwardFields {
    std::array<std::uint32_t, 3> sizes, dz, dy, aux;
};

// Whether every row (the last dimension) of a 16-bit tensor starts at a whole word.
bool starts_whole_words(const Tensor& tensor) {
    bool even = tensor.offset() % 2 == 0 && tensor.buffer().starts_aligned();
    for (std::size_t i = 0; i + 1 < tensor.rank(); ++i)
        even = even && (tensor.size(i) <= 1 || tensor.strides()[i] % 2 == 0);
    return even;
}

// Whether no invocation of a backward into this 16-bit tensor shares a word with another.
bool owns_words(const Tensor& dz, const Tensor& aux) {
    const std::size_t last = dz.rank() - 1;
    const bool rows = dz.strides()[last] == 1 && dz.size(last) > 1 && starts_whole_words(dz);
    const bool one_row =
        dz.is_contiguous() && aux.is_contiguous() && dz.offset() % 2 == 0 && dz.buffer().starts_aligned();
    return rows || one_row;
}

// dz = dy · activation'(aux).
void record_backward(Recorder& recorder, const Tensor& dz, const Tensor& dy, const Tensor& aux,
                     Activation activation) {
    const Device device = recorder.device();
    const std::uint64_t limit = detail::operand_limit(device.capabilities(), device.access(), dz.type());
    const auto record = [&](const std::array<Tensor, 3>& piece) {
        const auto& [to, from, z] = piece;
        kernels::ActivationBackward kernel;
        kernel.type = static_cast<std::uint32_t>(to.type());
        kernel.activation = static_cast<std::uint32_t>(activation);
        kernel.pairs = size_of(to.type()) == 2 && to.strides()[2] == 1 && starts_whole_words(to);
        const auto groups = [](std::uint64_t count) {
            return static_cast<std::uint32_t>(std::min<std::uint64_t>(count, 65535));
        };
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = {
            groups(divide_up(to.size(2), std::uint64_t{kernel.local_size} * (kernel.pairs ? 2 : 1))),
            groups(to.size(1)), groups(to.size(0))};
        packet.operands[0] = detail::operand(from, Touch::read);
        packet.operands[1] = detail::operand(z, Touch::read);
        packet.operands[2] = detail::operand(to, Touch::read_write);
        packet.set_fields(BackwardFields{detail::three_fields(to.shape()), detail::three_fields(to.strides()),
                                         detail::three_fields(from.strides()),
                                         detail::three_fields(z.strides())});
        packet.work = 8 * to.elements();
        packet.label = "activation_backward";
        recorder.record(packet);
    };
    detail::for_box_pieces(detail::sorted_box(std::array{dz, dy, aux}), limit, record);
}

bool same_view(const Tensor& a, const Tensor& b) {
    return a.buffer() == b.buffer() && a.type() == b.type() && a.offset() == b.offset() &&
           a.shape() == b.shape() && a.strides() == b.strides();
}

}  // namespace

void epilogue_backward_into(Recorder& recorder, const Tensor& dz, const Tensor& dy, const Tensor& aux,
                            Activation activation, const Tensor& bias_gradient, bool accumulate) {
    detail::require_tensor(recorder, "dz", dz);
    detail::require_tensor(recorder, "dy", dy);
    detail::require_floating("dy", dy);
    require(dy.rank() == 2 || dy.rank() == 3, "dy: shape {}, rank 2 or 3 is needed", to_string(dy.shape()));
    require(static_cast<std::uint32_t>(activation) <= static_cast<std::uint32_t>(Activation::gelu_erf),
            "activation: unknown value {}", static_cast<std::uint32_t>(activation));
    detail::require_type("dz", dz, dy.type());
    detail::require_shape("dz", dz, dy.shape());
    detail::require_no_self_overlap("dz", dz);
    const bool in_place = same_view(dz, dy);
    if (!in_place) detail::require_disjoint("dz", dz, "dy", dy);
    require(aux || activation == Activation::none, "aux: a null tensor, the stored z is needed for {}",
            to_string(activation));
    if (aux) {
        detail::require_tensor(recorder, "aux", aux);
        detail::require_type("aux", aux, dy.type());
        detail::require_shape("aux", aux, dy.shape());
        detail::require_disjoint("dz", dz, "aux", aux);
    }
    if (bias_gradient) {
        detail::require_tensor(recorder, "bias_gradient", bias_gradient);
        detail::require_type("bias_gradient", bias_gradient, DataType::f32);
        detail::require_shape("bias_gradient", bias_gradient, {dy.size(dy.rank() - 1)});
        detail::require_no_self_overlap("bias_gradient", bias_gradient);
        detail::require_disjoint("bias_gradient", bias_gradient, "dz", dz);
        detail::require_disjoint("bias_gradient", bias_gradient, "dy", dy);
        if (aux) detail::require_disjoint("bias_gradient", bias_gradient, "aux", aux);
    }

    if (dz.elements() > 0) {
        if (activation == Activation::none) {
            if (!in_place) convert_into(recorder, dz, dy);
        } else if (in_place && size_of(dz.type()) == 2 && !owns_words(dz, aux)) {
            // One invocation would read a word that another is writing a half of.
            const Tensor scratch = empty(recorder, dz.type(), dz.shape());
            record_backward(recorder, scratch, dy, aux, activation);
            convert_into(recorder, dz, scratch);
        } else {
            record_backward(recorder, dz, dy, aux, activation);
        }
    }
    if (bias_gradient) column_sums_into(recorder, bias_gradient, detail::as_rows(recorder, dz), accumulate);
}

Tensor epilogue_backward(Recorder& recorder, const Tensor& dy, const Tensor& aux, Activation activation,
                         const Tensor& bias_gradient, bool accumulate) {
    detail::require_tensor(recorder, "dy", dy);
    const Tensor dz = empty(recorder, dy.type(), dy.shape());
    epilogue_backward_into(recorder, dz, dy, aux, activation, bias_gradient, accumulate);
    return dz;
}

}  // namespace danaus
