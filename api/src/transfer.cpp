// Moving elements: fill, strided copy with conversion, upload and download.
#include "check.hpp"
#include "flat.hpp"
#include "multiply.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

namespace danaus {
namespace {

using detail::require;

struct CopyFields {
    std::array<std::uint32_t, 4> sizes, source_strides, destination_strides;
};

struct Dimension {
    std::uint64_t size, source, destination;
};

// A box of at most four dimensions, the destination's smallest stride last, in element offsets from two
// starts.
struct Box {
    std::vector<Dimension> dimensions;
    std::uint64_t source, destination;

    [[nodiscard]] std::uint64_t span(std::uint64_t Dimension::*stride) const {
        std::uint64_t last = 1;
        for (const Dimension& d : dimensions) last += (d.size - 1) * (d.*stride);
        return last;
    }
};

// Sorted and with dimensions merged that follow each other without a gap on both sides.
Box box_of(const Tensor& out, const Tensor& in) {
    Box box{{}, in.offset(), out.offset()};
    for (std::size_t i = 0; i < out.rank(); ++i)
        if (out.size(i) != 1) box.dimensions.push_back({out.size(i), in.strides()[i], out.strides()[i]});
    std::sort(box.dimensions.begin(), box.dimensions.end(),
              [](const Dimension& a, const Dimension& b) { return a.destination > b.destination; });
    for (std::size_t i = 0; i + 1 < box.dimensions.size();) {
        const Dimension inner = box.dimensions[i + 1];
        Dimension& outer = box.dimensions[i];
        if (outer.source == inner.source * inner.size &&
            outer.destination == inner.destination * inner.size) {
            outer = {outer.size * inner.size, inner.source, inner.destination};
            box.dimensions.erase(box.dimensions.begin() + static_cast<std::ptrdiff_t>(i) + 1);
            i = 0;
        } else {
            ++i;
        }
    }
    return box;
}

bool converts(DataType from, DataType to) {
    return from == to || (is_floating(from) && (is_floating(to) || is_complex(to)));
}

std::uint32_t bits_of(DataType type) {
    // Integers travel as words, like f32.
    return is_floating(type) ? static_cast<std::uint32_t>(type) : static_cast<std::uint32_t>(DataType::f32);
}

// A box that reaches further than one dispatch may is halved along its largest reach.
void record_box(Recorder& recorder, const Tensor& out, const Tensor& in, const Box& box, bool negate) {
    const Capabilities& caps = recorder.device().capabilities();
    const Access access = recorder.device().access();
    const std::uint64_t from_limit = detail::operand_limit(caps, access, in.type());
    const std::uint64_t to_limit = detail::operand_limit(caps, access, out.type());
    const std::uint64_t from_span = box.span(&Dimension::source), to_span = box.span(&Dimension::destination);
    if (std::min(from_limit, to_limit) == 0)
        throw Error(
            ErrorKind::unsupported,
            fmt::format(
                "copy: {} binds {} bytes of storage, less than one element behind its alignment of {}",
                caps.name, caps.max_storage_range, caps.storage_offset_alignment));
    if (from_span > from_limit || to_span > to_limit) {
        const auto reach = [](const Dimension& d) {
            return (d.size - 1) * std::max(d.source, d.destination);
        };
        const auto largest =
            std::max_element(box.dimensions.begin(), box.dimensions.end(),
                             [&](const auto& a, const auto& b) { return reach(a) < reach(b); });
        Box first = box, second = box;
        const auto i = static_cast<std::size_t>(largest - box.dimensions.begin());
        // An even half, so that both may store pairs.
        const std::uint64_t half = largest->size < 4 ? 1 : largest->size / 4 * 2;
        first.dimensions[i].size = half;
        second.dimensions[i].size -= half;
        second.source += half * largest->source;
        second.destination += half * largest->destination;
        record_box(recorder, out, in, first, negate);
        record_box(recorder, out, in, second, negate);
        return;
    }
    // One long row is many short ones, and a rest.
    constexpr std::uint64_t row = 1024;
    if (box.dimensions.size() == 1 && box.dimensions[0].size >= 8 * row) {
        const Dimension all = box.dimensions[0];
        const std::uint64_t rows = all.size / row, rest = all.size % row;
        Box head = box, tail = box;
        head.dimensions = {{rows, row * all.source, row * all.destination},
                           {row, all.source, all.destination}};
        record_box(recorder, out, in, head, negate);
        tail.dimensions[0].size = rest;
        tail.source += rows * row * all.source;
        tail.destination += rows * row * all.destination;
        if (rest) record_box(recorder, out, in, tail, negate);
        return;
    }
    // A transpose: the dimension that is contiguous in the source is walked next to the lanes.
    std::vector<Dimension> dimensions = box.dimensions;
    bool transposes = false;
    for (auto d = dimensions.begin(); dimensions.size() > 1 && d < dimensions.end() - 1; ++d)
        if (d->source > 0 && d->source < dimensions.back().source && d->size >= 8) {
            std::rotate(d, d + 1, dimensions.end() - 1);
            transposes = true;
            break;
        }
    CopyFields fields{{1, 1, 1, 1}, {0, 0, 0, 0}, {0, 0, 0, 0}};
    const std::size_t skip = 4 - dimensions.size();
    for (std::size_t i = 0; i < dimensions.size(); ++i) {
        fields.sizes[skip + i] = static_cast<std::uint32_t>(dimensions[i].size);
        fields.source_strides[skip + i] = static_cast<std::uint32_t>(dimensions[i].source);
        fields.destination_strides[skip + i] = static_cast<std::uint32_t>(dimensions[i].destination);
    }
    const bool narrow = size_of(out.type()) == 2;
    bool pairs = narrow && fields.destination_strides[3] == 1 && box.destination % 2 == 0;
    for (std::size_t i = 0; i < 3; ++i) pairs = pairs && fields.destination_strides[i] % 2 == 0;

    kernels::Copy kernel;
    kernel.in_type = bits_of(in.type());
    kernel.out_type = bits_of(out.type());
    kernel.pairs = pairs;
    kernel.tile = fields.sizes[2] < 8 ? 1 : 16;
    kernel.wide = transposes && !pairs;
    kernel.negates = negate;
    // Twice the rows use two cache lines that follow each other, few lanes leave fewer pages open.
    if (transposes && caps.type == DeviceType::cpu && fields.sizes[2] >= 32) {
        kernel.tile = 32;
        kernel.local_size = 8;
    }
    Packet packet;
    packet.kernel = kernel.kernel();
    const std::uint64_t lanes = detail::divide_up(fields.sizes[3], pairs || kernel.wide ? 2 : 1);
    const std::uint64_t outer = std::uint64_t{fields.sizes[0]} * fields.sizes[1];
    const auto most = [&](std::size_t i) { return std::uint64_t{caps.max_workgroup_count[i]}; };
    // Long rows are walked in strides of the grid, so that starting invocations costs little.
    packet.grid = {
        static_cast<std::uint32_t>(std::min(detail::divide_up(lanes, kernel.local_size), most(0))),
        static_cast<std::uint32_t>(std::min(detail::divide_up(fields.sizes[2], kernel.tile), most(1))),
        static_cast<std::uint32_t>(std::min(outer, most(2)))};
    packet.operands[0] = {in.buffer(), box.source * size_of(in.type()), from_span * size_of(in.type()),
                          Touch::read};
    packet.operands[1] = {out.buffer(), box.destination * size_of(out.type()), to_span * size_of(out.type()),
                          Touch::write};
    packet.set_fields(fields);
    packet.work = lanes * fields.sizes[2] * outer;
    packet.label = "copy";
    recorder.record(packet);
}

void record_convert(Recorder& recorder, const Tensor& out, const Tensor& in, bool negate = false) {
    if (out.elements() == 0) return;
    if (is_complex(out.type()) && !is_complex(in.type())) {
        record_convert(recorder, real(out), in);
        return fill_into(recorder, imag(out), 0.0);
    }
    const Box box = box_of(out, in);
    const bool flat =
        box.dimensions.empty() ||
        (box.dimensions.size() == 1 && box.dimensions[0].source == 1 && box.dimensions[0].destination == 1);
    if (flat && in.type() == out.type() && !negate) {
        const std::uint64_t size = size_of(in.type());
        recorder.record(Copy{in.buffer(), out.buffer(), box.source * size, box.destination * size,
                             out.elements() * size});
        return;
    }
    if (is_complex(in.type())) {
        record_convert(recorder, real(out), real(in));
        return record_convert(recorder, imag(out), imag(in));
    }
    record_box(recorder, out, in, box, negate);
}

// Uploads words or floats, through a contiguous temporary where the layout or the type differs.
template <typename T>
void upload_values(Stream& stream, const Tensor& out, std::span<const T> values, DataType type) {
    detail::require_tensor(stream, "out", out);
    require(values.size() == out.elements(), "values: {} given, out {} has {} elements", values.size(),
            to_string(out.shape()), out.elements());
    if (values.empty()) return;
    if (out.type() == type && out.is_contiguous()) {
        stream.upload(out.buffer(), out.offset() * size_of(type), std::as_bytes(values));
        return;
    }
    require(converts(type, out.type()), "out: type {}, values of type {} cannot be converted to it",
            to_string(out.type()), to_string(type));
    detail::require_no_self_overlap("out", out);
    const Tensor plain(stream.device(), type, out.shape());
    stream.upload(plain.buffer(), 0, std::as_bytes(values));
    record_convert(stream, out, plain);
}

template <typename T>
std::vector<T> download_values(Stream& stream, const Tensor& tensor, DataType type) {
    detail::require_tensor(stream, "tensor", tensor);
    require(converts(tensor.type(), type), "tensor: type {} cannot be downloaded as {}",
            to_string(tensor.type()), to_string(type));
    std::vector<T> values(tensor.elements());
    if (values.empty()) return values;
    Tensor plain = tensor;
    if (tensor.type() != type || !tensor.is_contiguous()) {
        plain = Tensor(stream.device(), type, tensor.shape());
        record_convert(stream, plain, tensor);
    }
    stream.download(plain.buffer(), plain.offset() * size_of(type),
                    std::as_writable_bytes(std::span(values)));
    return values;
}

}  // namespace

Tensor empty(Recorder& recorder, DataType type, const Shape& shape) {
    const std::uint64_t count = shape.elements();
    require(count <= (1ull << 60), "shape: {} has more than 2^60 elements", to_string(shape));
    return Tensor(recorder.allocate(count * size_of(type)), type, shape);
}

void convert_into(Recorder& recorder, const Tensor& out, const Tensor& in) {
    detail::require_tensor(recorder, "out", out);
    detail::require_tensor(recorder, "in", in);
    detail::require_shape("out", out, in.shape());
    require(converts(in.type(), out.type()), "out: type {}, {} can only be converted to {}",
            to_string(out.type()), to_string(in.type()),
            is_floating(in.type())  ? "f32, f16, bf16 and complex64"
            : is_complex(in.type()) ? "itself; use real() and imag()"
                                    : "itself");
    detail::require_no_self_overlap("out", out);
    detail::require_disjoint("out", out, "in", in);
    record_convert(recorder, out, in);
}

Tensor convert(Recorder& recorder, const Tensor& in, DataType type) {
    detail::require_tensor(recorder, "in", in);
    const Tensor out = empty(recorder, type, in.shape());
    convert_into(recorder, out, in);
    return out;
}

Tensor contiguous(Recorder& recorder, const Tensor& in) {
    return convert(recorder, in, in.type());
}

void conjugate_into(Recorder& recorder, const Tensor& out, const Tensor& in) {
    detail::require_tensor(recorder, "out", out);
    detail::require_tensor(recorder, "in", in);
    detail::require_shape("out", out, in.shape());
    detail::require_type("out", out, in.type());
    require(is_floating(in.type()) || is_complex(in.type()),
            "in: type {}, a floating one or complex64 is needed", to_string(in.type()));
    detail::require_no_self_overlap("out", out);
    detail::require_disjoint("out", out, "in", in);
    if (!is_complex(in.type())) return record_convert(recorder, out, in);
    record_convert(recorder, real(out), real(in));
    record_convert(recorder, imag(out), imag(in), true);
}

Tensor conjugate(Recorder& recorder, const Tensor& in) {
    detail::require_tensor(recorder, "in", in);
    const Tensor out = empty(recorder, in.type(), in.shape());
    conjugate_into(recorder, out, in);
    return out;
}

void fill_into(Recorder& recorder, const Tensor& out, double value) {
    detail::require_tensor(recorder, "out", out);
    detail::require_no_self_overlap("out", out);
    if (out.elements() == 0) return;
    if (is_complex(out.type())) {
        if (value == 0.0 && out.is_contiguous())
            return fill_into(
                recorder, Tensor(out.buffer(), DataType::f32, {2 * out.elements()}, 2 * out.offset()), 0.0);
        fill_into(recorder, real(out), value);
        return fill_into(recorder, imag(out), 0.0);
    }
    const auto representable = [&](double low, double high) {
        require(value > low && value < high, "value: {} does not fit into {}", value, to_string(out.type()));
    };
    if (out.type() == DataType::i32) representable(-0x1p31 - 1, 0x1p31);
    if (out.type() == DataType::u32) representable(-1, 0x1p32);
    std::uint32_t word = 0;
    if (out.type() == DataType::i32)
        word = static_cast<std::uint32_t>(static_cast<std::int32_t>(value));
    else if (out.type() == DataType::u32)
        word = static_cast<std::uint32_t>(value);
    else
        word = std::bit_cast<std::uint32_t>(static_cast<float>(value));

    const bool words = size_of(out.type()) == 4 && out.is_contiguous();
    // Anything else is a copy of one element with strides of 0.
    const Tensor cell =
        words ? out : Tensor(recorder.allocate(4), is_floating(out.type()) ? DataType::f32 : out.type(), {1});
    struct Fields {
        std::uint32_t count, value;
    };
    const Capabilities& caps = recorder.device().capabilities();
    detail::for_pieces(recorder, cell.elements(), [&](std::uint64_t done, std::uint64_t count) {
        const kernels::Fill kernel;
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = {
            static_cast<std::uint32_t>(std::min<std::uint64_t>(
                detail::divide_up(count, kernel.local_size), std::min(16384u, caps.max_workgroup_count[0]))),
            1, 1};
        packet.operands[0] = {cell.buffer(), (cell.offset() + done) * 4, count * 4, Touch::write};
        packet.set_fields(Fields{static_cast<std::uint32_t>(count), word});
        packet.work = count;
        packet.label = "fill";
        recorder.record(packet);
    });
    if (!words) {
        Shape zeros = out.shape();
        for (std::size_t i = 0; i < zeros.rank(); ++i) zeros[i] = 0;
        record_convert(recorder, out, cell.as_strided(out.shape(), zeros));
    }
}

void upload_into(Stream& stream, const Tensor& out, std::span<const float> values) {
    upload_values(stream, out, values, DataType::f32);
}
void upload_into(Stream& stream, const Tensor& out, std::span<const std::uint32_t> values) {
    upload_values(stream, out, values, DataType::u32);
}
void upload_into(Stream& stream, const Tensor& out, std::span<const std::int32_t> values) {
    upload_values(stream, out, values, DataType::i32);
}

void upload_into(Stream& stream, const Tensor& out, std::span<const std::complex<float>> values) {
    upload_values(stream, out, values, DataType::complex64);
}

Tensor upload(Stream& stream, std::span<const float> values, const Shape& shape, DataType type) {
    const Tensor out(stream.device(), type, shape);
    upload_into(stream, out, values);
    return out;
}
Tensor upload(Stream& stream, std::span<const std::uint32_t> values, const Shape& shape) {
    const Tensor out(stream.device(), DataType::u32, shape);
    upload_into(stream, out, values);
    return out;
}
Tensor upload(Stream& stream, std::span<const std::int32_t> values, const Shape& shape) {
    const Tensor out(stream.device(), DataType::i32, shape);
    upload_into(stream, out, values);
    return out;
}
Tensor upload(Stream& stream, std::span<const std::complex<float>> values, const Shape& shape) {
    const Tensor out(stream.device(), DataType::complex64, shape);
    upload_into(stream, out, values);
    return out;
}

std::vector<float> download(Stream& stream, const Tensor& tensor) {
    return download_values<float>(stream, tensor, DataType::f32);
}
std::vector<std::uint32_t> download_u32(Stream& stream, const Tensor& tensor) {
    return download_values<std::uint32_t>(stream, tensor, DataType::u32);
}
std::vector<std::int32_t> download_i32(Stream& stream, const Tensor& tensor) {
    return download_values<std::int32_t>(stream, tensor, DataType::i32);
}
std::vector<std::complex<float>> download_complex(Stream& stream, const Tensor& tensor) {
    return download_values<std::complex<float>>(stream, tensor, DataType::complex64);
}

}  // namespace danaus
