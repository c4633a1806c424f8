#include "reduce.hpp"

#include "check.hpp"
#include "flat.hpp"

#include <danaus/kernels.hpp>
#include <danaus/reduce.hpp>

#include <cmath>
#include <limits>

namespace danaus {
namespace {

using detail::divide_up;
using detail::require;

struct ColumnFields {
    std::uint32_t rows, columns, row_stride, column_stride, chunk_rows, chunk_stride, out_stride, accumulate;
    float scale;
};

// One dispatch: x (rows, columns) summed over `chunks` chunks of rows, chunk i going to row i of `out`.
void record_pass(Recorder& recorder, const Tensor& out, const Tensor& x, std::uint64_t chunks,
                 std::uint64_t chunk_rows, bool accumulate, float scale) {
    kernels::ColumnSum kernel;
    const bool tall = x.size(0) > 1 && x.size(1) > 1 && x.strides()[0] < x.strides()[1];
    kernel.local_size_x = tall ? 4 : 32;
    kernel.local_size_y = tall ? 32 : 4;
    kernel.in_type = static_cast<std::uint32_t>(x.type());
    const auto narrow = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {narrow(std::min<std::uint64_t>(divide_up(x.size(1), kernel.local_size_x), 16384)),
                   narrow(chunks), 1};
    packet.operands[0] = detail::operand(x, Touch::read);
    packet.operands[1] = detail::operand(out, accumulate ? Touch::read_write : Touch::write);
    packet.set_fields(ColumnFields{narrow(x.size(0)), narrow(x.size(1)), narrow(x.strides()[0]),
                                   narrow(x.strides()[1]), narrow(chunk_rows), narrow(x.size(1)),
                                   narrow(out.strides()[out.rank() - 1]), accumulate ? 1u : 0u, scale});
    packet.work = x.elements();
    packet.label = "column_sums";
    recorder.record(packet);
}

void record_sums(Recorder& recorder, const Tensor& out, const Tensor& x, bool accumulate, float scale) {
    const Device device = recorder.device();
    const auto reach = [&](const Tensor& tensor) {
        return detail::operand_limit(device.capabilities(), device.access(), tensor.type());
    };
    const std::uint64_t rows = x.size(0), columns = x.size(1);
    if (x.span() > reach(x) || out.span() > reach(out)) {
        const bool by_rows = out.span() <= reach(out) &&
                             (columns < 2 || (rows - 1) * x.strides()[0] >= (columns - 1) * x.strides()[1]);
        const std::size_t dimension = by_rows ? 0 : 1;
        const std::uint64_t size = x.size(dimension), half = size / 2;
        const Tensor first = x.slice(dimension, 0, half), second = x.slice(dimension, half, size);
        record_sums(recorder, by_rows ? out : out.slice(0, 0, half), first, accumulate, scale);
        record_sums(recorder, by_rows ? out : out.slice(0, half, size), second, by_rows || accumulate, scale);
        return;
    }
    // Enough chunks to fill a device, chosen from the sizes alone so that every device adds in the same
    // order.
    const std::uint64_t chunks =
        std::clamp<std::uint64_t>(std::min<std::uint64_t>(rows / 256, (1ull << 20) / columns), 1, 64);
    if (chunks == 1) {
        record_pass(recorder, out, x, 1, rows, accumulate, scale);
        return;
    }
    const std::uint64_t chunk_rows = divide_up(rows, chunks);
    const std::uint64_t used = divide_up(rows, chunk_rows);
    const Tensor partial = empty(recorder, DataType::f32, {used, columns});
    record_pass(recorder, partial, x, used, chunk_rows, false, 1.0f);
    record_pass(recorder, out, partial, 1, used, accumulate, scale);
}

constexpr std::uint64_t square_groups(std::uint64_t count) {
    return std::clamp<std::uint64_t>(divide_up(count, 4096), 1, 256);
}

}  // namespace

void column_sums_into(Recorder& recorder, const Tensor& out, const Tensor& x, bool accumulate, float scale) {
    detail::require_tensor(recorder, "out", out);
    detail::require_tensor(recorder, "x", x);
    detail::require_floating("x", x);
    detail::require_rank("x", x, 2);
    detail::require_type("out", out, DataType::f32);
    detail::require_shape("out", out, {x.size(1)});
    detail::require_no_self_overlap("out", out);
    detail::require_disjoint("out", out, "x", x);
    constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
    if (x.size(0) > most || x.size(1) > most)
        throw Error(ErrorKind::unsupported,
                    fmt::format("x: shape {}, at most {} rows and columns", to_string(x.shape()), most));
    if (x.size(1) == 0) return;
    if (x.size(0) == 0) {
        if (!accumulate) fill_into(recorder, out, 0.0);
        return;
    }
    record_sums(recorder, out, x, accumulate, scale);
}

Tensor column_sums(Recorder& recorder, const Tensor& x, float scale) {
    detail::require_tensor(recorder, "x", x);
    detail::require_rank("x", x, 2);
    const Tensor out = empty(recorder, DataType::f32, {x.size(1)});
    column_sums_into(recorder, out, x, false, scale);
    return out;
}

detail::SquareSums detail::record_square_sums(Recorder& recorder, std::span<const Tensor> tensors,
                                              const Tensor& state) {
    std::uint64_t total = 0;
    for (const Tensor& tensor : tensors)
        for_pieces(recorder, tensor.elements(),
                   [&](std::uint64_t, std::uint64_t count) { total += square_groups(count); });
    SquareSums sums{empty(recorder, DataType::f32, {std::max<std::uint64_t>(1, total), 2}),
                    static_cast<std::uint32_t>(total)};
    std::uint32_t next = 0;
    for (const Tensor& tensor : tensors)
        for_pieces(recorder, tensor.elements(), [&](std::uint64_t first, std::uint64_t count) {
            kernels::SquareSum kernel;
            kernel.in_type = static_cast<std::uint32_t>(tensor.type());
            kernel.unscaled = static_cast<bool>(state);
            const auto groups = static_cast<std::uint32_t>(square_groups(count));
            Packet packet;
            packet.kernel = kernel.kernel();
            packet.grid = {groups, 1, 1};
            packet.operands[0] = flat_operand(tensor, first, count, Touch::read);
            packet.operands[1] = flat_operand(sums.partials, 2ull * next, 2ull * groups, Touch::write);
            if (state) packet.operands[2] = operand(state, Touch::read);
            packet.set_fields(static_cast<std::uint32_t>(count));
            packet.work = count;
            packet.label = "square_sums";
            recorder.record(packet);
            next += groups;
        });
    return sums;
}

void global_norm_into(Recorder& recorder, const Tensor& out, std::span<const Tensor> tensors) {
    detail::require_tensor(recorder, "out", out);
    detail::require_type("out", out, DataType::f32);
    require(out.elements() == 1, "out: shape {}, one element is needed", to_string(out.shape()));
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const std::string name = fmt::format("tensors[{}]", i);
        detail::require_tensor(recorder, name.c_str(), tensors[i]);
        detail::require_floating(name.c_str(), tensors[i]);
    }
    std::vector<Tensor> flat(tensors.begin(), tensors.end());
    for (Tensor& tensor : flat)
        if (!tensor.is_contiguous()) tensor = contiguous(recorder, tensor);
    const detail::SquareSums sums = detail::record_square_sums(recorder, flat);
    const kernels::NormFinish kernel;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.operands[0] = detail::operand(sums.partials, Touch::read);
    packet.operands[1] = detail::operand(out, Touch::write);
    packet.set_fields(sums.count);
    packet.work = sums.count;
    packet.label = "global_norm";
    recorder.record(packet);
}

Tensor global_norm(Recorder& recorder, std::span<const Tensor> tensors) {
    const Tensor out = empty(recorder, DataType::f32, {1});
    global_norm_into(recorder, out, tensors);
    return out;
}

}  // namespace danaus
