// The backward of the epilogue that every multiply shares.
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
    bool even = tensor.offset() % 2 == 0;
    for (std::size_t i = 0; i + 1 < tensor.rank(); ++i)
        even = even && (tensor.size(i) <= 1 || tensor.strides()[i] % 2 == 0);
    return even;
}

// Whether no invocation of a backward into this 16-bit tensor shares a word with another.
bool owns_words(const Tensor& dz, const Tensor& aux) {
    const std::size_t last = dz.rank() - 1;
    const bool rows = dz.strides()[last] == 1 && dz.size(last) > 1 && starts_whole_words(dz);
    const bool one_row = dz.is_contiguous() && aux.is_contiguous() && dz.offset() % 2 == 0;
    return rows || one_row;
}

// dz = dy · activation'(aux) for tensors of rank 3, dz's smallest stride last.
void record_backward(Recorder& recorder, const Tensor& dz, const Tensor& dy, const Tensor& aux,
                     Activation activation) {
    const Device device = recorder.device();
    const std::uint64_t limit = detail::operand_limit(device.capabilities(), device.access(), dz.type());
    if (std::max({dz.span(), dy.span(), aux.span()}) > limit) {
        // Halved along the dimension that reaches furthest.
        std::size_t dimension = 0;
        std::uint64_t furthest = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            const std::uint64_t reach =
                (dz.size(i) - 1) * std::max({dz.strides()[i], dy.strides()[i], aux.strides()[i]});
            if (reach > furthest) dimension = i, furthest = reach;
        }
        const std::uint64_t size = dz.size(dimension), half = size / 2;
        for (const auto& [begin, end] : {std::pair{std::uint64_t{0}, half}, std::pair{half, size}})
            record_backward(recorder, dz.slice(dimension, begin, end), dy.slice(dimension, begin, end),
                            aux.slice(dimension, begin, end), activation);
        return;
    }
    kernels::ActivationBackward kernel;
    kernel.type = static_cast<std::uint32_t>(dz.type());
    kernel.activation = static_cast<std::uint32_t>(activation);
    kernel.pairs = size_of(dz.type()) == 2 && dz.strides()[2] == 1 && starts_whole_words(dz);
    const auto narrow = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
    const auto three = [&](const Shape& shape) {
        return std::array{narrow(shape[0]), narrow(shape[1]), narrow(shape[2])};
    };
    constexpr std::uint64_t most = 65535;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {
        narrow(
            std::min(divide_up(dz.size(2), std::uint64_t{kernel.local_size} * (kernel.pairs ? 2 : 1)), most)),
        narrow(std::min(dz.size(1), most)), narrow(std::min(dz.size(0), most))};
    packet.operands[0] = detail::operand(dy, Touch::read);
    packet.operands[1] = detail::operand(aux, Touch::read);
    packet.operands[2] = detail::operand(dz, Touch::read_write);
    packet.set_fields(
        BackwardFields{three(dz.shape()), three(dz.strides()), three(dy.strides()), three(aux.strides())});
    packet.work = 8 * dz.elements();
    packet.label = "activation_backward";
    recorder.record(packet);
}

// The tensors as rank 3, dimensions sorted by dz's strides and merged where all three allow it.
void record_sorted(Recorder& recorder, const Tensor& dz, const Tensor& dy, const Tensor& aux,
                   Activation activation) {
    struct Dimension {
        std::uint64_t size, dz, dy, aux;
    };
    std::vector<Dimension> dims;
    for (std::size_t i = 0; i < dz.rank(); ++i)
        if (dz.size(i) != 1) dims.push_back({dz.size(i), dz.strides()[i], dy.strides()[i], aux.strides()[i]});
    std::sort(dims.begin(), dims.end(), [](const Dimension& a, const Dimension& b) { return a.dz > b.dz; });
    for (std::size_t i = dims.size(); i-- > 1;) {
        Dimension& outer = dims[i - 1];
        const Dimension inner = dims[i];
        if (outer.dz != inner.dz * inner.size || outer.dy != inner.dy * inner.size ||
            outer.aux != inner.aux * inner.size || outer.size * inner.size > (1ull << 31))
            continue;
        outer = {outer.size * inner.size, inner.dz, inner.dy, inner.aux};
        dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(i));
    }
    Shape sizes{1, 1, 1}, dz_strides{0, 0, 1}, dy_strides{0, 0, 1}, aux_strides{0, 0, 1};
    for (std::size_t i = 0; i < dims.size(); ++i) {
        const std::size_t at = 3 - dims.size() + i;
        sizes[at] = dims[i].size;
        dz_strides[at] = dims[i].dz;
        dy_strides[at] = dims[i].dy;
        aux_strides[at] = dims[i].aux;
    }
    record_backward(recorder, dz.as_strided(sizes, dz_strides), dy.as_strided(sizes, dy_strides),
                    aux.as_strided(sizes, aux_strides), activation);
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
            record_sorted(recorder, scratch, dy, aux, activation);
            convert_into(recorder, dz, scratch);
        } else {
            record_sorted(recorder, dz, dy, aux, activation);
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
