// Packing: layouts, and the packets that write them.
#include "pack.hpp"

#include "check.hpp"

#include <algorithm>

namespace danaus::detail {

std::uint64_t PackLayout::panel_elements(std::uint64_t k) const {
    return divide_up(k, depth) * depth * panel;
}

std::uint64_t PackLayout::elements(std::uint64_t rows, std::uint64_t k) const {
    return divide_up(rows, panel) * panel_elements(k);
}

PackLayout pack_layout(const Capabilities& caps, DataType type, std::uint64_t rows, std::uint64_t k) {
    const bool cpu = caps.type == DeviceType::cpu;
    // Tall panels where the padding is small beside them.
    // A CPU decodes a scalar at a time: once, then. A GPU reads fewer bytes.
    PackLayout layout{8, 4, cpu ? DataType::f32 : type};
    for (const std::uint32_t panel : {16u, 32u, 64u, 128u})
        if (cpu && divide_up(rows, panel) * panel <= rows + rows / 8) layout.panel = panel;
    if (cpu) layout.depth = cpu_depth(k);
    return layout;
}

namespace {

struct Fields {
    std::uint32_t rows, k, batch, panels, blocks;
    std::uint32_t row_stride, k_stride, batch_stride;
    std::uint32_t meta;
};

// Elements of source and result that one dispatch reaches, whatever their types.
std::uint64_t pack_limit(const Capabilities& caps, Access access) {
    return operand_limit(caps, access, DataType::f32);
}

std::uint64_t source_span(const PackSource& s) {
    const std::uint64_t size = size_of(s.view.type);
    if (s.weight != kernels::Pack::Weight::dense)
        return ((s.metadata_word + s.metadata_words) * 4 - s.view.offset * size) / size;
    return 1 + (s.rows - 1) * s.view.row + (s.k - 1) * s.view.column + (s.batch - 1) * s.view.inner;
}

void record_piece(Recorder& recorder, const Tensor& data, PackLayout layout, const PackSource& s) {
    const Capabilities& caps = recorder.device().capabilities();
    const bool sparse = s.weight != kernels::Pack::Weight::dense;
    const std::uint64_t size = size_of(s.view.type);
    kernels::Pack kernel;
    kernel.weight = s.weight;
    kernel.tile_codes = s.tile_codes;
    kernel.type = static_cast<std::uint32_t>(s.view.type);
    kernel.out_type = static_cast<std::uint32_t>(layout.type);
    kernel.panel_rows = layout.panel;
    kernel.panel_depth = layout.depth;
    const std::uint64_t panels = divide_up(s.rows, layout.panel), blocks = divide_up(s.k, layout.depth);
    Fields f{};
    f.rows = static_cast<std::uint32_t>(s.rows);
    f.k = static_cast<std::uint32_t>(s.k);
    f.batch = static_cast<std::uint32_t>(s.batch);
    f.panels = static_cast<std::uint32_t>(panels);
    f.blocks = static_cast<std::uint32_t>(blocks);
    f.row_stride = s.rows > 1 ? static_cast<std::uint32_t>(s.view.row) : 0;
    f.k_stride = s.k > 1 || sparse ? static_cast<std::uint32_t>(s.view.column) : 0;
    f.batch_stride = s.batch > 1 ? static_cast<std::uint32_t>(s.view.inner) : 0;
    if (sparse) f.meta = static_cast<std::uint32_t>(s.metadata_word - s.view.offset * size / 4);

    if (caps.type == DeviceType::cpu && layout.depth == 1) kernel.local_size = 8;
    Packet packet;
    packet.kernel = kernel.kernel();
    const auto most = [&](std::size_t i) { return std::uint64_t{caps.max_workgroup_count[i]}; };
    std::uint64_t across = divide_up(blocks * layout.panel, kernel.local_size), matrices = panels * s.batch;
    if (caps.type == DeviceType::cpu && layout.depth == 1) {
        // An element an invocation: beginning a workgroup would cost more than its work.
        across = 1;
        matrices = std::min<std::uint64_t>(matrices, 64);
    }
    packet.grid = {static_cast<std::uint32_t>(std::min(across, most(0))), 1,
                   static_cast<std::uint32_t>(std::min(matrices, most(2)))};
    packet.operands[0] = {s.view.buffer, s.view.offset * size, source_span(s) * size, Touch::read};
    const std::uint64_t out_size = size_of(layout.type);
    packet.operands[1] = {data.buffer(), data.offset() * out_size,
                          s.batch * layout.elements(s.rows, s.k) * out_size, Touch::write};
    packet.set_fields(f);
    packet.work = s.batch * layout.elements(s.rows, s.k);
    packet.label = "pack";
    recorder.record(packet);
}

}  // namespace

// Halves what one dispatch cannot reach: batches, then rows in whole panels.
void record_pack(Recorder& recorder, const Tensor& data, PackLayout layout, const PackSource& s) {
    if (s.rows == 0 || s.k == 0 || s.batch == 0) return;
    const std::uint64_t limit = pack_limit(recorder.device().capabilities(), recorder.device().access());
    const std::uint64_t matrix = layout.elements(s.rows, s.k);
    const bool dense = s.weight == kernels::Pack::Weight::dense;
    if (source_span(s) <= limit && s.batch * matrix <= limit) return record_piece(recorder, data, layout, s);
    PackSource first = s, second = s;
    std::uint64_t written = 0;
    if (dense && s.batch > 1) {
        first.batch = s.batch / 2;
        second.batch = s.batch - first.batch;
        second.view.offset += first.batch * s.view.inner;
        written = first.batch * matrix;
    } else if (dense && s.rows > layout.panel) {
        first.rows = divide_up(s.rows / 2, layout.panel) * layout.panel;
        second.rows = s.rows - first.rows;
        second.view.offset += first.rows * s.view.row;
        written = layout.elements(first.rows, s.k);
    } else {
        throw Error(
            ErrorKind::unsupported,
            fmt::format(
                "pack: {} rows of {} columns span {} elements, {} packed; one dispatch on {} reaches {}",
                s.rows, s.k, source_span(s), matrix, recorder.device().capabilities().name, limit));
    }
    record_pack(recorder, data, layout, first);
    record_pack(recorder, data.slice(0, written, data.size(0)), layout, second);
}

MultiplyProblem with_packed(const MultiplyProblem& problem, const Tensor& data, PackLayout layout) {
    MultiplyProblem p = exchanged(problem);
    const std::uint64_t matrix = layout.elements(p.m, p.k);
    p.weight = kernels::MatmulDirect::Weight::dense;
    p.tile_codes = false;
    p.metadata_word = p.metadata_words = 0;
    p.contract_columns = true;
    p.a = {data.buffer(), data.type(), data.offset(), layout.panel_elements(p.k), 0, 0, matrix};
    p.a_panel = layout.panel;
    p.a_depth = layout.depth;
    return p;
}

bool may_pack(const MultiplyProblem& p, const Capabilities& caps, Access access) {
    if (p.a_panel) return false;
    // One weight for all: a batch of weights is packed as such only where it is the inner one.
    if (p.outer > 1 && (is_sparse(p) || p.b.outer != 0)) return false;
    // Packed, less can be cut: what is more than a dispatch reaches is left as it is.
    const PackLayout layout = pack_layout(caps, p.b.type, p.n, p.k);
    return std::max(source_span(pack_source(p)), p.inner * layout.elements(p.n, p.k)) <=
           pack_limit(caps, access);
}

bool packing_pays(const MultiplyProblem& p, const Capabilities& caps, Access access) {
    return caps.type == DeviceType::cpu && p.m * p.outer >= 256 && p.n >= 128 && p.k >= 512 &&
           may_pack(p, caps, access);
}

PackSource pack_source(const MultiplyProblem& p) {
    PackSource source;
    source.view = transposed(p.b);
    source.rows = p.n;
    source.k = p.k;
    source.batch = p.inner;
    if (is_sparse(p)) {
        source.weight = kernels::Pack::Weight::sparse24;
        source.tile_codes = p.tile_codes;
        source.metadata_word = p.metadata_word;
        source.metadata_words = p.metadata_words;
    }
    return source;
}

ScratchPack::ScratchPack(Recorder& recorder, const MultiplyProblem& p)
    : layout_(pack_layout(recorder.device().capabilities(), p.b.type, p.n, p.k)),
      source_(pack_source(p)),
      data_(empty(recorder, layout_.type, {source_.batch * layout_.elements(p.n, p.k)})) {}

MultiplyProblem ScratchPack::problem(const MultiplyProblem& p) const {
    return with_packed(p, data_, layout_);
}

void ScratchPack::record(Recorder& recorder) const {
    record_pack(recorder, data_, layout_, source_);
}

}  // namespace danaus::detail
