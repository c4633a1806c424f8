// Row-wise 2:4: the compressed form, and its way from and to dense matrices.
#include "check.hpp"
#include "masks.hpp"
#include "multiply.hpp"

#include <danaus/sparse24.hpp>

#include <algorithm>
#include <array>
#include <bit>

namespace danaus {
namespace {

using detail::check_mask;
using detail::check_matrix;
using detail::divide_up;
using detail::local_size;
using detail::require;
using detail::stride;

// A matrix or a batch of them as a batch, for kernels that always see three dimensions.
Tensor batched(const Tensor& t) {
    if (!t || t.rank() == 3) return t;
    return t.as_strided({1, t.size(0), t.size(1)}, {0, t.strides()[0], t.strides()[1]});
}

// Whether a kernel may load or store two columns at once: neighbours that start at a multiple of two
// elements.
bool in_pairs(const Tensor& t) {
    bool pairs = t.strides()[2] == 1 && t.offset() % 2 == 0 && t.buffer().starts_aligned();
    for (std::size_t i = 0; i < 2; ++i) pairs = pairs && (t.size(i) == 1 || t.strides()[i] % 2 == 0);
    return pairs;
}

bool loads_in_pairs(const Tensor& t) {
    // The partner of a last odd f32 column would be a word behind the operand.
    return in_pairs(t) && (size_of(t.type()) == 2 || t.size(2) % 2 == 0);
}

// Whether each row of `t` continues the one before, in units that 32 columns fill.
bool rows_continue(const Tensor& t, std::uint64_t cols) {
    // Spans are within reach of 32-bit offsets; a broadcast's tells nothing of its count.
    return cols % 32 == 0 && t.size(1) > 1 && t.strides()[2] > 0 &&
           t.strides()[1] == t.size(2) * t.strides()[2];
}

Tensor joined_rows(const Tensor& t) {
    return t.as_strided({t.size(0), 1, t.size(1) * t.size(2)}, t.strides());
}

// Calls `record` for pieces of `parts` along blocks and rows, each within what one dispatch can reach; rows
// that continue each other in all parts are joined to one. The parts are batches with the same blocks and
// rows, or null; `cols` are those of the dense one.
template <std::size_t Count, typename Record>
void for_pieces(const Recorder& recorder, const char* label, std::uint64_t cols,
                const std::array<Tensor, Count>& parts, const Record& record) {
    const Capabilities& caps = recorder.device().capabilities();
    std::array<Tensor, Count> head = parts, tail = parts;
    const auto halve = [&](std::size_t dimension) {
        for (std::size_t i = 0; i < Count; ++i) {
            if (!parts[i]) continue;
            const std::uint64_t size = parts[i].size(dimension);
            head[i] = parts[i].slice(dimension, 0, size / 2);
            tail[i] = parts[i].slice(dimension, size / 2, size);
        }
        for_pieces(recorder, label, cols, head, record);
        for_pieces(recorder, label, cols, tail, record);
    };
    for (const Tensor& part : parts) {
        if (!part) continue;
        const std::uint64_t limit = detail::operand_limit(caps, recorder.device().access(), part.type());
        if (part.span() > limit) {
            if (part.size(0) > 1) return halve(0);
            if (part.size(1) > 1) return halve(1);
            throw Error(ErrorKind::unsupported,
                        fmt::format("{}: one row spans {} elements of {}; one dispatch on {} reaches {}",
                                    label, part.span(), to_string(part.type()), caps.name, limit));
        }
        if (part.size(0) > caps.max_workgroup_count[2]) return halve(0);
    }
    if (std::all_of(parts.begin(), parts.end(),
                    [&](const Tensor& t) { return !t || rows_continue(t, cols); }))
        std::transform(parts.begin(), parts.end(), head.begin(),
                       [](const Tensor& t) { return t ? joined_rows(t) : t; });
    else
        head = parts;
    record(head);
}

// A grid for `count` items of each row, `lanes` at a time.
std::array<std::uint32_t, 3> grid_for(const Recorder& recorder, std::uint64_t count, std::uint64_t lanes,
                                      std::uint64_t rows, std::uint64_t blocks) {
    const auto& most = recorder.device().capabilities().max_workgroup_count;
    return {static_cast<std::uint32_t>(std::min<std::uint64_t>(divide_up(count, lanes), most[0])),
            static_cast<std::uint32_t>(std::min<std::uint64_t>(rows, most[1])),
            static_cast<std::uint32_t>(blocks)};
}

// Groups of four columns a lane. Lanes of a GPU load together what lies together; a CPU loads lane by lane,
// and decodes a word of bits once where one lane has all of its groups.
std::uint32_t groups_per_lane(const Recorder& recorder) {
    return recorder.device().capabilities().type == DeviceType::cpu ? 8 : 1;
}

void record_compress(Recorder& recorder, const Tensor& w, const Tensor& mask_in, const Tensor& mask_out,
                     const Sparse24& out, const char* label) {
    if (w.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, w_block, w_row, w_column, mask_block, mask_row, mask_word, values_block,
            meta_block;
    };
    const std::array<Tensor, 5> parts{batched(w), batched(mask_in), batched(mask_out), batched(out.values()),
                                      batched(out.metadata())};
    for_pieces(recorder, label, w.size(w.rank() - 1), parts, [&](const std::array<Tensor, 5>& piece) {
        const std::uint64_t blocks = piece[0].size(0), rows = piece[0].size(1), cols = piece[0].size(2);
        const Tensor& mask = mask_in ? piece[1] : piece[2];
        kernels::Sparse24Compress kernel;
        kernel.local_size = local_size(recorder);
        kernel.type = static_cast<std::uint32_t>(w.type());
        kernel.in_pairs = loads_in_pairs(piece[0]);
        kernel.by_magnitude = !mask_in;
        kernel.write_mask = static_cast<bool>(mask_out);
        kernel.write_compressed = static_cast<bool>(out);
        kernel.word_lanes = 8 / groups_per_lane(recorder);
        kernel.whole = cols % 32 == 0;
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid =
            grid_for(recorder, divide_up(cols, 32), kernel.local_size / kernel.word_lanes, rows, blocks);
        for (std::size_t i = 0; i < piece.size(); ++i)
            if (piece[i]) packet.operands[i] = detail::operand(piece[i], i < 2 ? Touch::read : Touch::write);
        packet.set_fields(Fields{static_cast<std::uint32_t>(rows), static_cast<std::uint32_t>(cols),
                                 stride(piece[0], 0), stride(piece[0], 1), stride(piece[0], 2),
                                 stride(mask, 0), stride(mask, 1), stride(mask, 2), stride(piece[3], 0) / 2,
                                 stride(piece[4], 0)});
        packet.work = blocks * rows * cols;
        packet.label = label;
        recorder.record(packet);
    });
}

void check_compressed(const Recorder& recorder, const char* name, const Sparse24& a) {
    require(static_cast<bool>(a), "{}: a null matrix", name);
    detail::require_tensor(recorder, name, a.values());
}

void check_compress(const Recorder& recorder, const Sparse24& out, const Tensor& w) {
    check_matrix(recorder, "w", w);
    check_compressed(recorder, "out", out);
    require(out.shape() == w.shape(), "out: shape {}, {} is needed", to_string(out.shape()),
            to_string(w.shape()));
    detail::require_type("out", out.values(), w.type());
    detail::require_disjoint("out", out.values(), "w", w);
    detail::require_disjoint("out", out.metadata(), "w", w);
}

void require_disjoint_mask(const Sparse24& out, const Tensor& mask) {
    detail::require_disjoint("out", out.values(), "mask", mask);
    detail::require_disjoint("out", out.metadata(), "mask", mask);
}

struct Layout {
    Shape values, metadata;
    std::uint64_t value_bytes, bytes;
};

Layout layout(DataType type, const Shape& shape) {
    require(is_floating(type), "sparse24: type {}, one of f32, f16, bf16 is needed", to_string(type));
    require(shape.rank() == 2 || shape.rank() == 3, "sparse24: shape {}, rank 2 or 3 is needed",
            to_string(shape));
    require(shape.elements() <= 1ull << 59, "sparse24: shape {} has more than 2^59 elements",
            to_string(shape));
    Layout out{shape, shape, 0, 0};
    const std::size_t last = shape.rank() - 1;
    const std::uint64_t groups = divide_up(shape[last], 4);
    out.values[last] = 2 * groups;
    out.metadata[last] = divide_up(groups, 8);
    out.value_bytes = out.values.elements() * size_of(type);
    out.bytes = out.value_bytes + out.metadata.elements() * 4;
    return out;
}

}  // namespace

Sparse24::Sparse24(const Device& device, DataType type, const Shape& shape)
    : Sparse24(device.allocate(bytes(type, shape)), type, shape) {}

Sparse24::Sparse24(const Buffer& buffer, DataType type, const Shape& shape, std::uint64_t byte_offset)
    : shape_(shape) {
    const Layout l = layout(type, shape);
    require(static_cast<bool>(buffer), "sparse24: a null buffer");
    require(byte_offset % 8 == 0, "byte_offset: {}, a multiple of 8 is needed", byte_offset);
    require(buffer.starts_aligned(), "buffer: an import that does not start at a multiple of 16 bytes");
    require(byte_offset <= buffer.size() && l.bytes <= buffer.size() - byte_offset,
            "sparse24: {} {} takes {} bytes from byte {} on, the buffer has {}", to_string(shape),
            to_string(type), l.bytes, byte_offset, buffer.size());
    values_ = Tensor(buffer, type, l.values, byte_offset / size_of(type));
    metadata_ = Tensor(buffer, DataType::u32, l.metadata, (byte_offset + l.value_bytes) / 4);
}

std::uint64_t Sparse24::bytes(DataType type, const Shape& shape) {
    return layout(type, shape).bytes;
}

std::uint64_t Sparse24::bytes() const {
    return *this ? bytes(type(), shape_) : 0;
}

Sparse24 empty_sparse24(Recorder& recorder, DataType type, const Shape& shape) {
    return Sparse24(recorder.allocate(Sparse24::bytes(type, shape)), type, shape);
}

Shape mask_shape(const Shape& shape) {
    require(shape.rank() > 0, "shape: {}, rank 1 or more is needed", to_string(shape));
    Shape mask = shape;
    mask[shape.rank() - 1] = divide_up(shape[shape.rank() - 1], 32);
    return mask;
}

void select_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w) {
    check_matrix(recorder, "w", w);
    check_mask(recorder, "out", out, w);
    detail::require_no_self_overlap("out", out);
    detail::require_disjoint("out", out, "w", w);
    record_compress(recorder, w, {}, out, {}, "select_mask");
}

Tensor select_mask(Recorder& recorder, const Tensor& w) {
    check_matrix(recorder, "w", w);
    const Tensor out = empty(recorder, DataType::u32, mask_shape(w.shape()));
    select_mask_into(recorder, out, w);
    return out;
}

void compress_into(Recorder& recorder, const Sparse24& out, const Tensor& w, const Tensor& mask) {
    check_compress(recorder, out, w);
    check_mask(recorder, "mask", mask, w);
    require_disjoint_mask(out, mask);
    record_compress(recorder, w, mask, {}, out, "compress");
}

Sparse24 compress(Recorder& recorder, const Tensor& w, const Tensor& mask) {
    check_matrix(recorder, "w", w);
    const Sparse24 out = empty_sparse24(recorder, w.type(), w.shape());
    compress_into(recorder, out, w, mask);
    return out;
}

void compress_by_magnitude_into(Recorder& recorder, const Sparse24& out, const Tensor& w,
                                const Tensor& mask) {
    check_compress(recorder, out, w);
    if (mask) {
        check_mask(recorder, "mask", mask, w);
        detail::require_no_self_overlap("mask", mask);
        detail::require_disjoint("mask", mask, "w", w);
        require_disjoint_mask(out, mask);
    }
    record_compress(recorder, w, {}, mask, out, "compress_by_magnitude");
}

Sparse24 compress_by_magnitude(Recorder& recorder, const Tensor& w) {
    check_matrix(recorder, "w", w);
    const Sparse24 out = empty_sparse24(recorder, w.type(), w.shape());
    compress_by_magnitude_into(recorder, out, w);
    return out;
}

void apply_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w, const Tensor& mask) {
    check_matrix(recorder, "w", w);
    check_mask(recorder, "mask", mask, w);
    detail::require_tensor(recorder, "out", out);
    detail::require_shape("out", out, w.shape());
    detail::require_type("out", out, w.type());
    detail::require_no_self_overlap("out", out);
    detail::require_disjoint("out", out, "mask", mask);
    const bool in_place =
        out.buffer() == w.buffer() && out.offset() == w.offset() && out.strides() == w.strides();
    if (!in_place) detail::require_disjoint("out", out, "w", w);
    if (w.elements() == 0) return;

    struct Fields {
        std::uint32_t rows, cols;
        std::array<std::uint32_t, 3> w, mask, out;
    };
    const std::array<Tensor, 3> parts{batched(w), batched(mask), batched(out)};
    for_pieces(recorder, "apply_mask", w.size(w.rank() - 1), parts, [&](const std::array<Tensor, 3>& piece) {
        const std::uint64_t blocks = piece[0].size(0), rows = piece[0].size(1), cols = piece[0].size(2);
        kernels::Sparse24ApplyMask kernel;
        kernel.local_size = local_size(recorder);
        kernel.type = static_cast<std::uint32_t>(w.type());
        kernel.in_pairs = loads_in_pairs(piece[0]);
        kernel.out_pairs = in_pairs(piece[2]);
        kernel.groups = groups_per_lane(recorder);
        kernel.whole = cols % 32 == 0;
        Fields fields{static_cast<std::uint32_t>(rows), static_cast<std::uint32_t>(cols), {}, {}, {}};
        for (std::size_t i = 0; i < 3; ++i) {
            fields.w[i] = stride(piece[0], i);
            fields.mask[i] = stride(piece[1], i);
            fields.out[i] = stride(piece[2], i);
        }
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = grid_for(recorder, divide_up(cols, 4), kernel.local_size * kernel.groups, rows, blocks);
        packet.operands[0] = detail::operand(piece[0], Touch::read);
        packet.operands[1] = detail::operand(piece[1], Touch::read);
        packet.operands[2] = detail::operand(piece[2], Touch::read_write);
        packet.set_fields(fields);
        packet.work = blocks * rows * cols;
        packet.label = "apply_mask";
        recorder.record(packet);
    });
}

Tensor apply_mask(Recorder& recorder, const Tensor& w, const Tensor& mask) {
    check_matrix(recorder, "w", w);
    const Tensor out = empty(recorder, w.type(), w.shape());
    apply_mask_into(recorder, out, w, mask);
    return out;
}

void verify_mask(Stream& stream, const Tensor& mask, std::uint64_t in_features) {
    detail::require_tensor(stream, "mask", mask);
    detail::require_type("mask", mask, DataType::u32);
    require(mask.rank() == 2 || mask.rank() == 3, "mask: shape {}, rank 2 or 3 is needed",
            to_string(mask.shape()));
    const std::uint64_t words = divide_up(in_features, 32), rows = mask.size(mask.rank() - 2);
    require(mask.size(mask.rank() - 1) == words, "mask: shape {}, {} words a row are needed for {} columns",
            to_string(mask.shape()), words, in_features);
    const std::vector<std::uint32_t> bits = download_u32(stream, mask);
    for (std::uint64_t row = 0; words > 0 && row < bits.size() / words; ++row) {
        const std::string place = mask.rank() == 3 ? fmt::format("block {}, row {}", row / rows, row % rows)
                                                   : fmt::format("row {}", row);
        for (std::uint64_t first = 0; first < words * 32; first += 4) {
            const std::uint64_t present =
                first < in_features ? std::min<std::uint64_t>(4, in_features - first) : 0;
            const std::uint32_t group = bits[row * words + first / 32] >> first % 32 & 15;
            const std::uint32_t real = group & ((1u << present) - 1);
            require(group == real, "mask: {}: a bit for column {} is set, the matrix has {} columns", place,
                    first + static_cast<std::uint64_t>(std::countr_zero(group ^ real)), in_features);
            const int needed = static_cast<int>(std::min<std::uint64_t>(2, present));
            require(std::popcount(real) == needed, "mask: {}, columns {} to {}: keeps {}, {} are needed",
                    place, first, first + std::max<std::uint64_t>(1, present) - 1, std::popcount(real),
                    needed);
        }
    }
}

void to_dense_into(Recorder& recorder, const Tensor& out, const Sparse24& a) {
    check_compressed(recorder, "a", a);
    detail::require_tensor(recorder, "out", out);
    detail::require_shape("out", out, a.shape());
    detail::require_type("out", out, a.type());
    detail::require_no_self_overlap("out", out);
    detail::require_disjoint("out", out, "a", a.values());
    detail::require_disjoint("out", out, "a", a.metadata());
    if (out.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, out_block, out_row, out_column, values_block, meta_block;
    };
    const std::array<Tensor, 3> parts{batched(a.values()), batched(a.metadata()), batched(out)};
    for_pieces(
        recorder, "to_dense", out.size(out.rank() - 1), parts, [&](const std::array<Tensor, 3>& piece) {
            const std::uint64_t blocks = piece[2].size(0), rows = piece[2].size(1), cols = piece[2].size(2);
            kernels::Sparse24Expand kernel;
            kernel.local_size = local_size(recorder);
            kernel.type = static_cast<std::uint32_t>(a.type());
            kernel.out_pairs = in_pairs(piece[2]);
            kernel.groups = groups_per_lane(recorder);
            kernel.whole = cols % 32 == 0;
            Packet packet;
            packet.kernel = kernel.kernel();
            packet.grid =
                grid_for(recorder, divide_up(cols, 4), kernel.local_size * kernel.groups, rows, blocks);
            packet.operands[0] = detail::operand(piece[0], Touch::read);
            packet.operands[1] = detail::operand(piece[1], Touch::read);
            packet.operands[2] = detail::operand(piece[2], Touch::read_write);
            packet.set_fields(Fields{static_cast<std::uint32_t>(rows), static_cast<std::uint32_t>(cols),
                                     stride(piece[2], 0), stride(piece[2], 1), stride(piece[2], 2),
                                     stride(piece[0], 0) / 2, stride(piece[1], 0)});
            packet.work = blocks * rows * cols;
            packet.label = "to_dense";
            recorder.record(packet);
        });
}

Tensor to_dense(Recorder& recorder, const Sparse24& a) {
    check_compressed(recorder, "a", a);
    const Tensor out = empty(recorder, a.type(), a.shape());
    to_dense_into(recorder, out, a);
    return out;
}

}  // namespace danaus
