// Decompositions: where working vectors lie, and their rotations pair by pair, for small matrices and in f64.
// Large ones are rotated by pairs of panels (svd_panels.cpp).
#include "svd_rotate.hpp"

#include "pieces.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace danaus::detail {

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return divide_up(value, unit) * unit;
}

bool is_cpu(const Recorder& recorder) {
    return recorder.device().capabilities().type == DeviceType::cpu;
}

std::uint64_t rotation_lanes(const Recorder& recorder) {
    return is_cpu(recorder) ? 8 : 32;
}

namespace {

// Steps of one invocation's loop over rows within a dispatch, so that none runs for seconds.
constexpr std::uint64_t most_steps = 1ull << 24;
// Multiply-adds of a dispatch, a fraction of what a stream submits at once on a CPU.
constexpr std::uint64_t most_work = 1ull << 32;
// Words of working vectors at a time.
constexpr std::uint64_t most_words = 1ull << 27;

// Rows that an invocation keeps in registers of each of two vectors, and as many of what turns along. On CPUs
// they lie on the stack, which is better than gathers; on GPUs four times 16 are what all of them have
// registers for.
std::uint64_t most_kept(const Recorder& recorder) {
    return is_cpu(recorder) ? 64 : 16;
}

bool in_registers(const Recorder& recorder, const Decomposition& d) {
    return d.extent * d.parts <= most_kept(recorder);
}

Decomposition layout_of(const Recorder& recorder, const Tensor& a, const SvdOptions& options,
                        bool both_sides) {
    Decomposition d;
    const std::uint64_t m = a.size(2), n = a.size(3);
    // Of square matrices those whose elements are neighbours in memory.
    d.by_columns = m > n || (m == n && a.strides()[2] <= a.strides()[3]);
    d.batch = a.size(0) * a.size(1);
    d.count = std::min(m, n);
    d.extent = std::max(m, n);
    d.parts = is_complex(a.type()) ? 2 : 1;
    d.local_size = is_cpu(recorder) ? 8 : 64;
    const std::uint64_t extent = d.extent * d.parts;
    if (!in_registers(recorder, d) && options.arithmetic == Arithmetic::f32) {
        d.panels =
            std::min(most_kept(recorder) / d.parts, std::max<std::uint64_t>(8, std::bit_ceil(d.count)));
        d.vectors = round_up(d.count, d.panels);
        d.dot_rows = round_up(extent, 16);
        d.identity = both_sides ? d.dot_rows : 0;
        // An odd number of cache lines, so that the rows of neighbouring vectors fall into different places.
        d.rows = (divide_up(d.dot_rows + (both_sides ? d.vectors * d.parts : 0), 16) | 1) * 16;
    } else {
        d.lanes = rotation_lanes(recorder);
        d.vectors = d.count;
        d.dot_rows = in_registers(recorder, d) ? std::max<std::uint64_t>(8, std::bit_ceil(extent))
                                               : round_up(extent, 8);
        d.identity = both_sides ? d.dot_rows : 0;
        // In registers as many rows of the other side as of this one, in memory no more than there are.
        const std::uint64_t others = in_registers(recorder, d) ? d.dot_rows : round_up(d.count * d.parts, 8);
        d.rows = d.dot_rows + (both_sides ? others : 0);
    }
    return d;
}

std::uint64_t filled(const Decomposition& d) {
    return round_up(d.batch, d.lanes);
}
std::uint64_t work_elements(const Decomposition& d) {
    return filled(d) * d.vectors * d.rows;
}

}  // namespace

float rounding_of(const Decomposition& d, const SvdOptions& options) {
    if (options.arithmetic == Arithmetic::f64) return 0x1p-36f;
    return 0x1p-23f * std::sqrt(static_cast<float>(std::max<std::uint64_t>(16, d.extent * d.parts)));
}
float tolerance_of(const Decomposition& d, const SvdOptions& options) {
    return options.tolerance > 0.0f ? options.tolerance : rounding_of(d, options);
}

namespace {

void prepare(Recorder& recorder, const Decomposition& d, const Tensor& a) {
    kernels::SvdPrepare kernel;
    kernel.local_size = d.local_size;
    kernel.in_type = Decomposition::part_type(a);
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {narrow32(d.state.size(0)), 1, 1};
    packet.operands[0] = operand(a, Touch::read);
    packet.operands[1] = operand(d.work, Touch::write);
    packet.operands[2] = operand(d.state, Touch::write);
    packet.set_fields(std::array<std::uint32_t, 14>{
        narrow32(a.size(1)), narrow32(d.batch), narrow32(filled(d)), Decomposition::stride(a, 0),
        Decomposition::stride(a, 1), Decomposition::stride(a, d.by_columns ? 3 : 2),
        Decomposition::stride(a, d.by_columns ? 2 : 3), narrow32(d.count), narrow32(d.extent * d.parts),
        narrow32(d.vectors), narrow32(d.rows), narrow32(d.lanes), narrow32(d.identity),
        d.is_complex() ? 1u : 0u});
    packet.work = 8 * d.work.elements();
    packet.label = "svd_prepare";
    recorder.record(packet);
}

}  // namespace

void record_rotations(Recorder& recorder, const kernels::SvdJacobi& kernel, JacobiFields fields,
                      std::uint64_t groups, std::uint64_t lanes, const std::array<Operand, 4>& operands,
                      std::string_view label) {
    const std::uint64_t steps = std::uint64_t{fields.vectors} * (fields.vectors - 1) / 2 * fields.rows *
                                std::min<std::uint64_t>(fields.sweeps, 8);
    const std::uint64_t at_once = std::clamp<std::uint64_t>(most_work / (6 * lanes * (steps + 1)), 1, groups);
    for (std::uint64_t group = 0; group < groups; group += at_once) {
        const std::uint64_t now = std::min(at_once, groups - group);
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = {narrow32(now), 1, 1};
        std::copy(operands.begin(), operands.end(), packet.operands.begin());
        fields.first_group = narrow32(group);
        packet.set_fields(fields);
        packet.work = 6 * lanes * now * steps;
        packet.label = label;
        recorder.record(packet);
    }
}

namespace {

void rotate(Recorder& recorder, const Decomposition& d, const Tensor& vectors, const SvdOptions& options) {
    if (d.vectors < 2) return;
    kernels::SvdJacobi kernel;
    if (options.arithmetic == Arithmetic::f64) kernel.real = kernels::SvdJacobi::Real::f64;
    kernel.local_size = narrow32(d.lanes);
    if (d.is_complex()) kernel.element = kernels::SvdJacobi::Element::complex;
    kernel.kept = in_registers(recorder, d) ? narrow32(d.dot_rows) : 0;
    kernel.parts = kernel.kept > 0 && d.rows > d.dot_rows ? 2 : 1;
    const std::array<Operand, 4> operands{operand(vectors, Touch::read_write),
                                          operand(d.state, Touch::read_write)};
    const std::uint64_t groups = filled(d) / d.lanes;
    JacobiFields fields{narrow32(d.vectors),
                        narrow32(d.rows),
                        narrow32(d.dot_rows),
                        0,
                        narrow32(d.vectors - 1),
                        0,
                        tolerance_of(d, options),
                        0.0f,
                        0,
                        1,
                        0,
                        0};
    const std::uint64_t a_sweep = d.vectors * (d.vectors - 1) / 2 * d.rows;
    const std::uint64_t at_once = std::clamp<std::uint64_t>(most_steps / a_sweep, 1, options.sweeps);
    for (std::uint64_t sweep = 0; sweep < options.sweeps; sweep += at_once) {
        fields.sweeps = narrow32(std::min<std::uint64_t>(at_once, options.sweeps - sweep));
        for (fields.first = 0; fields.first + 1 < d.vectors; fields.first = fields.last) {
            std::uint64_t steps = 0;
            fields.last = fields.first;
            while (fields.last + 1 < d.vectors && (steps == 0 || at_once > 1 || steps < most_steps))
                steps += (d.vectors - 1 - fields.last++) * d.rows;
            record_rotations(recorder, kernel, fields, groups, d.lanes, operands, "svd_rotate");
        }
    }
}

void rotate_wide(Recorder& recorder, const Decomposition& d, const SvdOptions& options) {
    const Tensor wide(recorder.allocate(d.work.elements() * 8), DataType::f32, {d.work.elements() * 2});
    const auto convert = [&](bool widen) {
        kernels::SvdWidth kernel;
        kernel.local_size = d.local_size;
        kernel.widen = widen;
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = {narrow32(std::clamp<std::uint64_t>(d.work.elements() / (16 * d.local_size), 1, 16384)),
                       1, 1};
        packet.operands[0] = operand(d.work, Touch::read_write);
        packet.operands[1] = operand(wide, Touch::read_write);
        packet.set_fields(narrow32(d.work.elements()));
        packet.work = d.work.elements();
        packet.label = "svd_width";
        recorder.record(packet);
    };
    convert(true);
    rotate(recorder, d, wide, options);
    convert(false);
}

void measure(Recorder& recorder, const Decomposition& d) {
    kernels::SvdNorms kernel;
    kernel.local_size = d.local_size;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {narrow32(divide_up(d.vectors * d.lanes, kernel.local_size)),
                   narrow32(divide_up(d.batch, d.lanes)), 1};
    packet.operands[0] = operand(d.work, Touch::read);
    packet.operands[1] = operand(d.norms, Touch::write);
    packet.set_fields(std::array<std::uint32_t, 7>{narrow32(d.batch), narrow32(d.vectors), narrow32(d.rows),
                                                   narrow32(d.dot_rows), narrow32(d.lanes),
                                                   narrow32(d.identity), narrow32(d.count * d.parts)});
    packet.work = d.work.elements();
    packet.label = "svd_norms";
    recorder.record(packet);
}

}  // namespace

void check_svd_options(const Recorder& recorder, const SvdOptions& options) {
    require(options.arithmetic == Arithmetic::f32 || options.arithmetic == Arithmetic::f64,
            "options.arithmetic: {} is none of the known ones",
            static_cast<std::uint32_t>(options.arithmetic));
    require(options.sweeps >= 1, "options.sweeps: 0, at least 1 is needed");
    require(options.tolerance >= 0.0f && std::isfinite(options.tolerance),
            "options.tolerance: {}, it must be finite and at least 0", options.tolerance);
    const Capabilities& caps = recorder.device().capabilities();
    if (options.arithmetic == Arithmetic::f64 && !caps.shader_float64)
        throw Error(ErrorKind::unsupported,
                    fmt::format("options.arithmetic = f64: {} lacks shaderFloat64", caps.name));
}

void for_svd_pieces(const Recorder& recorder, const Tensor& a, const SvdOptions& options, bool both_sides,
                    const std::function<bool(const BatchRange&)>& reachable,
                    const std::function<void(const BatchRange&)>& record) {
    const Device device = recorder.device();
    const Capabilities& caps = device.capabilities();
    const auto limit = [&](DataType type) { return operand_limit(caps, device.access(), type); };
    const std::uint64_t words = std::min(most_words, limit(DataType::f32));
    const std::function<void(const BatchRange&)> split = [&](const BatchRange& range) {
        const Tensor part = range.of(a);
        const Decomposition d = layout_of(recorder, part, options, both_sides);
        const std::uint64_t elements = work_elements(d) * (options.arithmetic == Arithmetic::f64 ? 2 : 1);
        const std::uint64_t groups =
            *std::min_element(caps.max_workgroup_count.begin(), caps.max_workgroup_count.end());
        // Gram matrices and rotations of panels take up to 1.5 · size / rows of the vectors' own memory.
        const std::uint64_t beside = d.batch * d.vectors * 2 * d.panels * d.parts;
        const bool single = part.size(0) * part.size(1) == 1;
        const bool in_reach = part.span() <= limit(part.type()) && reachable(range);
        // Every other kernel has at most a lane for each row or a workgroup for each vector.
        const std::uint64_t wide =
            std::max(divide_up(d.rows, d.local_size), divide_up(d.vectors * d.lanes, 8));
        if (in_reach && wide <= groups && filled(d) + rotation_lanes(recorder) <= groups &&
            (std::max(elements, beside) <= words ||
             (single && std::max(elements, beside) <= limit(DataType::f32))))
            return record(range);
        if (single)
            throw Error(
                ErrorKind::unsupported,
                fmt::format("a: a matrix ({}, {}) takes {} words to decompose, {} workgroups of {}, and "
                            "spans {} elements; one dispatch on {} reaches {} words and {} workgroups",
                            a.size(2), a.size(3), elements, wide, d.local_size, part.span(), caps.name,
                            limit(DataType::f32), groups));
        BatchRange head = range, tail = range;
        if (part.size(0) > 1)
            head.outer_end = tail.outer_begin = (range.outer_begin + range.outer_end) / 2;
        else
            head.inner_end = tail.inner_begin = (range.inner_begin + range.inner_end) / 2;
        split(head);
        split(tail);
    };
    if (a.elements() > 0) split({0, a.size(0), 0, a.size(1)});
}

Decomposition decompose(Recorder& recorder, const Tensor& a, const SvdOptions& options, bool both_sides) {
    Decomposition d = layout_of(recorder, a, options, both_sides);
    d.work = empty(recorder, DataType::f32, {work_elements(d)});
    // Lanes without a pair of panels look at the state of matrices behind the last one.
    const std::uint64_t states = filled(d) + (d.panels > 0 ? rotation_lanes(recorder) : 0);
    d.state = empty(recorder, DataType::u32, {states, 4});
    d.norms = empty(recorder, DataType::f32, {d.batch, d.vectors});
    prepare(recorder, d, a);
    if (d.panels > 0)
        rotate_panels(recorder, d, options);
    else if (options.arithmetic == Arithmetic::f64)
        rotate_wide(recorder, d, options);
    else
        rotate(recorder, d, d.work, options);
    measure(recorder, d);
    return d;
}

}  // namespace danaus::detail
