// Vector-wise N:M: the compressed form, and its way from and to dense matrices.
#include "vector_pieces.hpp"

#include <bit>

namespace danaus {
using namespace detail;

void detail::check_pattern(const VectorPattern& p) {
    require(p.of >= 1 && p.of <= 32, "pattern: groups of {} columns, 1 to 32 are allowed", p.of);
    require(p.keep >= 1 && p.keep <= p.of, "pattern: {} of {} columns are kept, 1 to {} are allowed", p.keep,
            p.of, p.of);
    require(std::has_single_bit(p.rows) && p.rows >= 4 && p.rows <= 128,
            "pattern: {} rows at a time, a power of two from 4 to 128 is needed", p.rows);
}

std::uint64_t detail::kept_columns(const VectorPattern& p, std::uint64_t in) {
    return in / p.of * p.keep + std::min<std::uint64_t>(p.keep, in % p.of);
}

void detail::check_vector_sparse(const Recorder& recorder, const char* name, const VectorSparse& a) {
    require(static_cast<bool>(a), "{}: a null matrix", name);
    detail::require_tensor(recorder, name, a.values());
}

namespace {

struct Layout {
    Shape values, indices;
    std::uint64_t value_bytes, bytes;
};

Layout layout(DataType type, const Shape& shape, const VectorPattern& pattern) {
    require(is_floating(type), "vector_sparse: type {}, one of f32, f16, bf16 is needed", to_string(type));
    require(shape.rank() == 2 || shape.rank() == 3, "vector_sparse: shape {}, rank 2 or 3 is needed",
            to_string(shape));
    check_pattern(pattern);
    // A panel may be 128 times as high as its rows.
    require(shape.elements() <= 1ull << 50, "vector_sparse: shape {} has more than 2^50 elements",
            to_string(shape));
    const std::size_t r = shape.rank();
    const std::uint64_t panels = divide_up(shape[r - 2], pattern.rows),
                        kept = kept_columns(pattern, shape[r - 1]);
    Layout out{{panels, kept, pattern.rows}, {panels, kept}, 0, 0};
    if (r == 3) out = {{shape[0], panels, kept, pattern.rows}, {shape[0], panels, kept}, 0, 0};
    out.value_bytes = out.values.elements() * size_of(type);
    out.bytes = out.value_bytes + out.indices.elements() * 4;
    return out;
}

}  // namespace

VectorSparse::VectorSparse(const Device& device, DataType type, const Shape& shape,
                           const VectorPattern& pattern)
    : VectorSparse(device.allocate(bytes(type, shape, pattern)), type, shape, pattern) {}

VectorSparse::VectorSparse(const Buffer& buffer, DataType type, const Shape& shape,
                           const VectorPattern& pattern, std::uint64_t byte_offset)
    : shape_(shape), pattern_(pattern) {
    const Layout l = layout(type, shape, pattern);
    require(static_cast<bool>(buffer), "vector_sparse: a null buffer");
    require(byte_offset % 8 == 0, "byte_offset: {}, a multiple of 8 is needed", byte_offset);
    require(buffer.starts_aligned(), "buffer: an import that does not start at a multiple of 16 bytes");
    require(byte_offset <= buffer.size() && l.bytes <= buffer.size() - byte_offset,
            "vector_sparse: {} {} takes {} bytes from byte {} on, the buffer has {}", to_string(shape),
            to_string(type), l.bytes, byte_offset, buffer.size());
    values_ = Tensor(buffer, type, l.values, byte_offset / size_of(type));
    indices_ = Tensor(buffer, DataType::u32, l.indices, (byte_offset + l.value_bytes) / 4);
}

std::uint64_t VectorSparse::kept() const {
    return *this ? kept_columns(pattern_, shape_[shape_.rank() - 1]) : 0;
}

std::uint64_t VectorSparse::bytes(DataType type, const Shape& shape, const VectorPattern& pattern) {
    return layout(type, shape, pattern).bytes;
}

std::uint64_t VectorSparse::bytes() const {
    return *this ? bytes(type(), shape_, pattern_) : 0;
}

VectorSparse empty_vector_sparse(Recorder& recorder, DataType type, const Shape& shape,
                                 const VectorPattern& pattern) {
    return VectorSparse(recorder.allocate(VectorSparse::bytes(type, shape, pattern)), type, shape, pattern);
}

void to_dense_into(Recorder& recorder, const Tensor& out, const VectorSparse& a) {
    check_vector_sparse(recorder, "a", a);
    require_tensor(recorder, "out", out);
    require_shape("out", out, a.shape());
    require_type("out", out, a.type());
    require_no_self_overlap("out", out);
    require_disjoint("out", out, "a", a.values());
    require_disjoint("out", out, "a", a.indices());
    if (out.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, panels, kept, keep, group, panel_rows, out_block, out_row, out_column;
    };
    const VectorPattern& pattern = a.pattern();
    for_pieces(recorder, "to_dense", pattern.rows, parts_of(out, {}, {}, a), [&](const Parts& piece) {
        const std::uint64_t blocks = piece.w.size(0), rows = piece.w.size(1), cols = piece.w.size(2),
                            panels = divide_up(rows, pattern.rows);
        kernels::VectorExpand kernel;
        kernel.local_size = local_size(recorder);
        kernel.type = moved_as(a.type());
        const Tensor& w = piece.w;
        kernel.out_pairs = size_of(a.type()) == 2 && w.strides()[2] == 1 && w.offset() % 2 == 0 &&
                           w.buffer().starts_aligned() && stride(w, 0) % 2 == 0 && stride(w, 1) % 2 == 0;
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = {groups_of(recorder, divide_up(panels * divide_up(cols, 2), kernel.local_size)),
                       narrow32(blocks), 1};
        packet.operands[0] = operand(piece.values, Touch::read);
        packet.operands[1] = operand(piece.indices, Touch::read);
        packet.operands[2] = operand(w, Touch::read_write);
        packet.set_fields(Fields{narrow32(rows), narrow32(cols), narrow32(panels), narrow32(a.kept()),
                                 pattern.keep, pattern.of, pattern.rows, stride(w, 0), stride(w, 1),
                                 stride(w, 2)});
        packet.work = blocks * rows * cols;
        packet.label = "to_dense";
        recorder.record(packet);
    });
}

Tensor to_dense(Recorder& recorder, const VectorSparse& a) {
    check_vector_sparse(recorder, "a", a);
    const Tensor out = empty(recorder, a.type(), a.shape());
    to_dense_into(recorder, out, a);
    return out;
}

}  // namespace danaus
