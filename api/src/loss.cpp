#include "check.hpp"
#include "multiply.hpp"

#include <danaus/kernels.hpp>
#include <danaus/loss.hpp>

#include <algorithm>
#include <bit>
#include <limits>

namespace danaus {
namespace {

using detail::divide_up;
using detail::require;

constexpr std::uint64_t metric_words = 4;

struct CountFields {
    std::uint32_t rows, stride, classes;
};
struct LossFields {
    std::uint32_t rows, classes, row_stride, class_stride, label_stride, gradient_row, gradient_class, counts;
};
struct FinishFields {
    std::uint32_t partials, counts, accumulate;
};

constexpr std::uint32_t narrow(std::uint64_t value) {
    return static_cast<std::uint32_t>(value);
}

// Rows of `matrix` that one dispatch reaches.
std::uint64_t rows_within_reach(const Recorder& recorder, const char* name, const Tensor& matrix) {
    const Device device = recorder.device();
    const std::uint64_t limit = detail::operand_limit(device.capabilities(), device.access(), matrix.type());
    const std::uint64_t row = (matrix.size(1) - 1) * matrix.strides()[1] + 1;
    if (row > limit)
        throw Error(ErrorKind::unsupported,
                    fmt::format("{}: a row of shape {} spans {} elements, one dispatch on {} reaches {}",
                                name, to_string(matrix.shape()), row, device.capabilities().name, limit));
    if (matrix.strides()[0] == 0) return matrix.size(0);
    return std::min(matrix.size(0), (limit - row) / matrix.strides()[0] + 1);
}

void check(const Recorder& recorder, const LossMetrics& metrics, const Tensor& gradient, const Tensor& logits,
           const Tensor& labels, const CrossEntropyOptions& options) {
    detail::require_tensor(recorder, "metrics", metrics.words);
    detail::require_type("metrics", metrics.words, DataType::u32);
    detail::require_shape("metrics", metrics.words, {metric_words});
    require(metrics.words.is_contiguous(), "metrics: must be contiguous");
    detail::require_tensor(recorder, "logits", logits);
    detail::require_floating("logits", logits);
    detail::require_rank("logits", logits, 2);
    detail::require_tensor(recorder, "labels", labels);
    detail::require_type("labels", labels, DataType::u32);
    detail::require_shape("labels", labels, {logits.size(0)});
    detail::require_disjoint("metrics", metrics.words, "logits", logits);
    detail::require_disjoint("metrics", metrics.words, "labels", labels);
    if (options.loss_scale) {
        detail::require_tensor(recorder, "loss_scale", options.loss_scale);
        detail::require_type("loss_scale", options.loss_scale, DataType::f32);
        require(options.loss_scale.elements() == 1, "loss_scale: shape {}, one element is needed",
                to_string(options.loss_scale.shape()));
    }
    if (gradient) {
        detail::require_tensor(recorder, "gradient", gradient);
        detail::require_type("gradient", gradient, logits.type());
        detail::require_shape("gradient", gradient, logits.shape());
        detail::require_no_self_overlap("gradient", gradient);
        detail::require_disjoint("gradient", gradient, "logits", logits);
        detail::require_disjoint("gradient", gradient, "labels", labels);
        detail::require_disjoint("gradient", gradient, "metrics", metrics.words);
        if (options.loss_scale)
            detail::require_disjoint("gradient", gradient, "loss_scale", options.loss_scale);
    }
    constexpr std::uint64_t most = std::numeric_limits<std::int32_t>::max();
    const Device device = recorder.device();
    const std::uint64_t reach = detail::operand_limit(device.capabilities(), device.access(), DataType::u32);
    if (logits.size(0) > most || logits.size(1) > most || labels.span() > reach)
        throw Error(
            ErrorKind::unsupported,
            fmt::format("logits: shape {} with labels spanning {} elements; at most {} rows, {} classes and "
                        "{} elements of labels",
                        to_string(logits.shape()), labels.span(), most, most, reach));
}

std::uint32_t record_counts(Recorder& recorder, const Tensor& counts, const Tensor& labels,
                            std::uint64_t classes) {
    const kernels::LabelCount kernel;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {narrow(std::min(divide_up(labels.size(0), 8ull * kernel.local_size), counts.size(0))), 1,
                   1};
    packet.operands[0] = detail::operand(labels, Touch::read);
    packet.operands[1] = detail::operand(counts, Touch::write);
    packet.set_fields(CountFields{narrow(labels.size(0)), narrow(labels.strides()[0]), narrow(classes)});
    packet.work = labels.size(0);
    packet.label = "label_count";
    recorder.record(packet);
    return packet.grid[0];
}

kernels::CrossEntropy choose_kernel(const Tensor& gradient, const Tensor& logits) {
    kernels::CrossEntropy kernel;
    const std::uint64_t classes = logits.size(1);
    kernel.local_size_x = classes <= 16 ? 1 : classes <= 256 ? 8 : 128;
    kernel.local_size_y = classes <= 16 ? 64 : classes <= 256 ? 8 : 1;
    kernel.type = narrow(static_cast<std::uint64_t>(logits.type()));
    kernel.has_gradient = static_cast<bool>(gradient);
    if (gradient)
        kernel.pairs = size_of(gradient.type()) == 2 && gradient.strides()[1] == 1 &&
                       gradient.offset() % 2 == 0 &&
                       (gradient.size(0) == 1 || gradient.strides()[0] % 2 == 0);
    return kernel;
}

}  // namespace

LossMetrics::LossMetrics(Recorder& recorder) : words(recorder.device(), DataType::u32, {metric_words}) {
    clear(recorder);
}

Tensor LossMetrics::mean_loss() const {
    return Tensor(words.buffer(), DataType::f32, {1}, words.offset());
}
Tensor LossMetrics::loss_sum() const {
    return Tensor(words.buffer(), DataType::f32, {1}, words.offset() + 1);
}
Tensor LossMetrics::correct() const {
    return words.slice(0, 2, 3);
}
Tensor LossMetrics::counted() const {
    return words.slice(0, 3, 4);
}

void LossMetrics::clear(Recorder& recorder) const {
    fill_into(recorder, words, 0.0);
}

LossSummary LossMetrics::read(Stream& stream) const {
    const std::vector<std::uint32_t> values = download_u32(stream, words);
    return {std::bit_cast<float>(values.at(0)), std::bit_cast<float>(values.at(1)), values.at(2),
            values.at(3)};
}

void softmax_cross_entropy_into(Recorder& recorder, const LossMetrics& metrics, const Tensor& gradient,
                                const Tensor& logits, const Tensor& labels,
                                const CrossEntropyOptions& options) {
    check(recorder, metrics, gradient, logits, labels, options);
    // Without classes every label is out of range: no row counts.
    const std::uint64_t rows = logits.size(1) == 0 ? 0 : logits.size(0);
    const std::uint64_t piece =
        rows == 0 ? 1
                  : std::min(rows_within_reach(recorder, "logits", logits),
                             gradient ? rows_within_reach(recorder, "gradient", gradient) : rows);
    const kernels::CrossEntropy shape = choose_kernel(gradient, logits);
    const auto groups_of = [&](std::uint64_t count) {
        return std::min<std::uint64_t>(divide_up(count, shape.local_size_y), 2048);
    };
    std::uint64_t groups = 0;
    for (std::uint64_t first = 0; first < rows; first += piece)
        groups += groups_of(std::min(piece, rows - first));

    const Tensor counts = empty(recorder, DataType::u32, {64});
    const Tensor partials = empty(recorder, DataType::u32, {2 * std::max<std::uint64_t>(1, groups)});
    const std::uint32_t count_words = rows == 0 ? 0 : record_counts(recorder, counts, labels, logits.size(1));
    std::uint64_t next = 0;
    for (std::uint64_t first = 0; first < rows; first += piece) {
        const std::uint64_t count = std::min(piece, rows - first);
        const Tensor some_logits = logits.slice(0, first, first + count);
        const Tensor some_gradient = gradient ? gradient.slice(0, first, first + count) : Tensor{};
        kernels::CrossEntropy kernel = shape;
        kernel.has_scale = gradient && options.loss_scale;
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = {narrow(groups_of(count)), 1, 1};
        packet.operands[0] = detail::operand(some_logits, Touch::read);
        packet.operands[1] = detail::operand(labels.slice(0, first, first + count), Touch::read);
        packet.operands[2] = detail::operand(counts, Touch::read);
        packet.operands[3] =
            detail::operand(partials.slice(0, 2 * next, 2 * (next + groups_of(count))), Touch::write);
        if (kernel.has_scale) packet.operands[4] = detail::operand(options.loss_scale, Touch::read);
        if (gradient) packet.operands[5] = detail::operand(some_gradient, Touch::read_write);
        packet.set_fields(LossFields{narrow(count), narrow(logits.size(1)), narrow(logits.strides()[0]),
                                     narrow(logits.strides()[1]), narrow(labels.strides()[0]),
                                     gradient ? narrow(gradient.strides()[0]) : 0,
                                     gradient ? narrow(gradient.strides()[1]) : 0, count_words});
        packet.work = 16 * count * logits.size(1);
        packet.label = "cross_entropy";
        recorder.record(packet);
        next += groups_of(count);
    }

    const kernels::LossFinish finish;
    Packet packet;
    packet.kernel = finish.kernel();
    packet.operands[0] = detail::operand(partials, Touch::read);
    packet.operands[1] = detail::operand(counts, Touch::read);
    packet.operands[2] = detail::operand(metrics.words, Touch::read_write);
    packet.set_fields(FinishFields{narrow(groups), count_words, options.accumulate ? 1u : 0u});
    packet.work = groups;
    packet.label = "loss_finish";
    recorder.record(packet);
}

Tensor softmax_cross_entropy(Recorder& recorder, const LossMetrics& metrics, const Tensor& logits,
                             const Tensor& labels, const CrossEntropyOptions& options) {
    detail::require_tensor(recorder, "logits", logits);
    const Tensor gradient = empty(recorder, logits.type(), logits.shape());
    softmax_cross_entropy_into(recorder, metrics, gradient, logits, labels, options);
    return gradient;
}

}  // namespace danaus
