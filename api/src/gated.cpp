// Gated linear units and their gradients.
#include "box.hpp"
#include "check.hpp"
#include "factor.hpp"

#include <danaus/gated.hpp>
#include <danaus/kernels.hpp>

#include <algorithm>

namespace danaus {
namespace {

using detail::divide_up;
using detail::require;

// What the shader's constant of that name means.
enum Result : std::uint32_t { product = 0, gradients = 1, slope = 2 };

struct Fields {
    std::array<std::uint32_t, 3> sizes, out, x, dy;
    std::uint32_t other;
};

// Of a box, dimensions as the shader walks them.
using Box = std::array<Tensor, 4>;  // out, x, g, dy; with `product` x is not read, and stands in for dy in a
                                    // forward pass

bool even(std::uint64_t value) {
    return value % 2 == 0;
}

// Whether units of two elements that are words of `out` are words of every other operand.
bool shares_words(const Box& box, Result result) {
    bool shared = true;
    for (const Tensor& tensor : box) {
        if (result == product && &tensor == &box[1]) continue;
        shared = shared && tensor.strides()[2] == 1 && even(tensor.offset() + box[0].offset()) &&
                 tensor.buffer().starts_aligned();
        for (std::size_t i = 0; i < 2; ++i)
            shared = shared && (tensor.size(i) == 1 || even(tensor.strides()[i] + box[0].strides()[i]));
    }
    return shared;
}

// A transpose: what is contiguous in [x | g] becomes the second dimension, where a lane takes several.
bool turn(Box& box) {
    const Shape& strides = box[1].strides();
    for (const std::size_t i : {std::size_t{1}, std::size_t{0}})
        if (box[1].size(i) >= 8 && strides[i] > 0 && strides[i] < strides[2]) {
            if (i == 0)
                for (Tensor& tensor : box) tensor = tensor.transpose(0, 1);
            return true;
        }
    return false;
}

void record_box(Recorder& recorder, Box box, std::uint64_t other, Gate gate, Result result) {
    const Capabilities& caps = recorder.device().capabilities();
    const bool cpu = caps.type == DeviceType::cpu, narrow = size_of(box[0].type()) == 2;
    kernels::Gated kernel;
    kernel.type = static_cast<std::uint32_t>(box[0].type());
    kernel.gate = static_cast<std::uint32_t>(gate);
    kernel.result = result;
    kernel.rows = turn(box);
    kernel.pairs = !narrow || box[0].strides()[2] != 1 ? 0 : shares_words(box, result) ? 2 : 1;
    kernel.local_size = cpu ? 8 : 64;
    kernel.tile = cpu ? 16 : 4;
    const std::uint64_t units = kernel.pairs ? box[0].size(2) / 2 + 1 : box[0].size(2), rows = box[0].size(1);
    // Short rows are taken several at a time.
    if (!kernel.rows && units <= kernel.local_size * kernel.tile / 2) {
        kernel.rows = rows >= kernel.tile;
        if (!kernel.rows) kernel.tile = 1;
    }
    // Nothing is left over, and rows of words start at words.
    const Tensor& out = box[0];
    bool evens = even(out.offset()) && out.buffer().starts_aligned();
    for (std::size_t i = 0; i < 2; ++i) evens = evens && (out.size(i) == 1 || even(out.strides()[i]));
    const std::uint64_t lanes = std::uint64_t{kernel.local_size} * (kernel.rows ? 1 : kernel.tile);
    kernel.whole = out.size(2) % (lanes * (kernel.pairs ? 2 : 1)) == 0 &&
                   (!kernel.rows || rows % kernel.tile == 0) && (!kernel.pairs || evens);
    const auto groups = [&](std::uint64_t count, std::uint64_t each, std::size_t i) {
        return static_cast<std::uint32_t>(
            std::min<std::uint64_t>(divide_up(count, each), caps.max_workgroup_count[i]));
    };
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {groups(units, lanes, 0), groups(rows, kernel.rows ? kernel.tile : 1, 1),
                   groups(box[0].size(0), 1, 2)};
    if (result != product) packet.operands[0] = detail::operand(box[1], Touch::read);
    packet.operands[1] = detail::operand(box[2], Touch::read);
    packet.operands[2] = detail::operand(box[3], Touch::read);
    // Halves of words are stored by reading them.
    packet.operands[3] = detail::operand(box[0], narrow ? Touch::read_write : Touch::write);
    packet.operands[3].bytes += other * size_of(box[0].type());
    packet.set_fields(Fields{detail::three_fields(box[0].shape()), detail::three_fields(box[0].strides()),
                             detail::three_fields(box[1].strides()), detail::three_fields(box[3].strides()),
                             static_cast<std::uint32_t>(other)});
    packet.work = 16 * box[0].elements();
    packet.label = "gated";
    recorder.record(packet);
}

// Elements that one dispatch may span, few enough that no index of the shader overflows.
std::uint64_t reach(const Recorder& recorder, DataType type) {
    const Device device = recorder.device();
    return std::min<std::uint64_t>(1ull << 30,
                                   detail::operand_limit(device.capabilities(), device.access(), type));
}

void record(Recorder& recorder, const Box& operands, std::uint64_t other, Gate gate, Result result) {
    detail::for_box_pieces(detail::sorted_box(operands), reach(recorder, operands[0].type()) - other,
                           [&](const Box& piece) { record_box(recorder, piece, other, gate, result); });
}

Tensor half(const Tensor& both, bool second) {
    const std::size_t last = both.rank() - 1;
    const std::uint64_t h = both.size(last) / 2;
    return both.slice(last, second ? h : 0, second ? 2 * h : h);
}

void check_input(const Recorder& recorder, const Tensor& xg, Gate gate) {
    detail::require_tensor(recorder, "xg", xg);
    detail::require_floating("xg", xg);
    require(xg.rank() == 2 || xg.rank() == 3, "xg: shape {}, rank 2 or 3 is needed", to_string(xg.shape()));
    require(even(xg.size(xg.rank() - 1)), "xg: shape {}, an even last size is needed, x and g side by side",
            to_string(xg.shape()));
    require(gate <= Gate::reglu, "gate: unknown value {}, 0 to {} are known",
            static_cast<std::uint32_t>(gate), static_cast<std::uint32_t>(Gate::reglu));
}

Shape halved(Shape shape) {
    shape[shape.rank() - 1] /= 2;
    return shape;
}

}  // namespace

const char* to_string(Gate gate) noexcept {
    constexpr std::array names{"swiglu", "geglu", "geglu_erf", "reglu"};
    const auto index = static_cast<std::size_t>(gate);
    return index < names.size() ? names[index] : "unknown";
}

void gated_activation_into(Recorder& recorder, const Tensor& out, const Tensor& xg, Gate gate) {
    check_input(recorder, xg, gate);
    detail::require_tensor(recorder, "out", out);
    detail::require_type("out", out, xg.type());
    detail::require_shape("out", out, halved(xg.shape()));
    detail::require_no_self_overlap("out", out);
    detail::require_disjoint("out", out, "xg", xg);
    if (out.elements() == 0) return;
    const Tensor x = half(xg, false);
    record(recorder, {out, x, half(xg, true), x}, 0, gate, product);
}

Tensor gated_activation(Recorder& recorder, const Tensor& xg, Gate gate) {
    check_input(recorder, xg, gate);
    const Tensor out = detail::empty_like(recorder, xg, xg.type(), halved(xg.shape()));
    gated_activation_into(recorder, out, xg, gate);
    return out;
}

void gated_activation_backward_into(Recorder& recorder, const Tensor& dxg, const Tensor& dy, const Tensor& xg,
                                    Gate gate) {
    check_input(recorder, xg, gate);
    detail::require_tensor(recorder, "dy", dy);
    detail::require_type("dy", dy, xg.type());
    detail::require_shape("dy", dy, halved(xg.shape()));
    detail::require_tensor(recorder, "dxg", dxg);
    detail::require_type("dxg", dxg, xg.type());
    detail::require_shape("dxg", dxg, xg.shape());
    detail::require_no_self_overlap("dxg", dxg);
    detail::require_disjoint("dxg", dxg, "dy", dy);
    detail::require_disjoint("dxg", dxg, "xg", xg);
    if (dy.elements() == 0) return;
    const Tensor x = half(xg, false), g = half(xg, true), dx = half(dxg, false), dg = half(dxg, true);
    // One dispatch for both where it reaches both and the halves' words of 16-bit elements fall alike.
    const std::uint64_t other = dg.offset() - dx.offset();
    if (other <= reach(recorder, xg.type()) / 2 && (even(other) || size_of(xg.type()) == 4)) {
        record(recorder, {dx, x, g, dy}, other, gate, gradients);
    } else {
        record(recorder, {dx, x, g, dy}, 0, gate, product);
        record(recorder, {dg, x, g, dy}, 0, gate, slope);
    }
}

Tensor gated_activation_backward(Recorder& recorder, const Tensor& dy, const Tensor& xg, Gate gate) {
    check_input(recorder, xg, gate);
    const Tensor dxg = detail::empty_like(recorder, xg, xg.type(), xg.shape());
    gated_activation_backward_into(recorder, dxg, dy, xg, gate);
    return dxg;
}

}  // namespace danaus
