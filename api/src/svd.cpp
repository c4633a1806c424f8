#include "svd.hpp"

#include "pieces.hpp"

#include <danaus/kernels.hpp>

#include <algorithm>
#include <tuple>
#include <vector>

namespace danaus {
namespace detail {
namespace {

std::uint32_t groups_of(std::uint64_t elements, std::uint32_t local_size) {
    return narrow32(divide_up(elements, local_size));
}

}  // namespace

std::uint32_t Decomposition::stride(const Tensor& tensor, std::size_t dimension) {
    return narrow32(tensor.strides()[dimension] * (danaus::is_complex(tensor.type()) ? 2 : 1));
}
std::uint32_t Decomposition::part_type(const Tensor& tensor) {
    return static_cast<std::uint32_t>(danaus::is_complex(tensor.type()) ? DataType::f32 : tensor.type());
}

Tensor order_vectors(Recorder& recorder, const Decomposition& d, const TermPlaces& places,
                     const Tensor& out) {
    const Tensor order = empty(recorder, DataType::u32, {d.batch, places.kept, 4});
    kernels::SvdOrder kernel;
    kernel.local_size = d.local_size;
    kernel.terms = places.kind;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {narrow32(d.batch), 1, 1};
    packet.operands[0] = operand(d.state, Touch::read);
    packet.operands[1] = operand(d.norms, Touch::read);
    packet.operands[2] = operand(order, Touch::write);
    packet.operands[3] = operand(out, Touch::write);
    packet.set_fields(std::array<std::uint32_t, 10>{
        narrow32(d.vectors), narrow32(places.inner), narrow32(places.first_outer),
        narrow32(places.first_inner), narrow32(places.q), narrow32(places.l), narrow32(places.kept),
        narrow32(out.strides()[0]), narrow32(out.strides()[1]),
        out.rank() > 2 ? narrow32(out.strides()[2]) : 0});
    packet.work = d.batch * d.vectors * d.vectors;
    packet.label = "svd_order";
    recorder.record(packet);
    return order;
}

void store_vectors(Recorder& recorder, const Decomposition& d, const TermPlaces& places, const Tensor& order,
                   std::uint64_t terms, std::uint32_t form, const Tensor& out) {
    kernels::SvdVectors kernel;
    kernel.local_size = d.local_size;
    kernel.out_type = Decomposition::part_type(out);
    kernel.terms = places.kind;
    kernel.form = form;
    const std::uint64_t extent = (form == 1 ? d.count : d.extent) * d.parts;
    // Of rows, which are not conjugated when they become vectors: Aᵀ = v* diag(sigma) uᵀ.
    const std::uint32_t conjugates = d.is_complex() && places.kind == 0 && !d.by_columns ? 1 : 0;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {groups_of(extent, d.local_size), narrow32(terms), narrow32(d.batch)};
    packet.operands[0] = operand(d.work, Touch::read);
    packet.operands[1] = operand(order, Touch::read);
    packet.operands[2] = operand(out, size_of(out.type()) > 2 ? Touch::write : Touch::read_write);
    packet.set_fields(std::array<std::uint32_t, 17>{
        narrow32(extent), narrow32(form == 1 ? d.identity : 0), narrow32(d.vectors), narrow32(d.rows),
        narrow32(d.lanes), narrow32(places.inner), narrow32(places.first_outer), narrow32(places.first_inner),
        narrow32(places.q), narrow32(places.l), narrow32(places.kept), Decomposition::stride(out, 0),
        Decomposition::stride(out, 1), Decomposition::stride(out, 3), Decomposition::stride(out, 2),
        d.is_complex() ? 1u : 0u, conjugates});
    packet.work = d.batch * terms * extent;
    packet.label = "svd_vectors";
    recorder.record(packet);
}

void store_products(Recorder& recorder, const Decomposition& d, const TermPlaces& places, const Tensor& order,
                    std::uint64_t terms, const Tensor& a, const Tensor& out) {
    kernels::SvdProducts kernel;
    kernel.local_size = d.local_size;
    kernel.in_type = Decomposition::part_type(a);
    kernel.out_type = Decomposition::part_type(out);
    kernel.terms = places.kind;
    kernel.tile = terms < 4 ? 1 : 8;
    const std::uint64_t width = d.count * d.parts;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {groups_of(width, d.local_size), groups_of(terms, kernel.tile), narrow32(d.batch)};
    packet.operands[0] = operand(a, Touch::read);
    packet.operands[1] = operand(d.work, Touch::read);
    packet.operands[2] = operand(order, Touch::read);
    packet.operands[3] = operand(out, size_of(out.type()) > 2 ? Touch::write : Touch::read_write);
    packet.set_fields(std::array<std::uint32_t, 20>{Decomposition::stride(a, 0),
                                                    Decomposition::stride(a, 1),
                                                    Decomposition::stride(a, d.by_columns ? 2 : 3),
                                                    Decomposition::stride(a, d.by_columns ? 3 : 2),
                                                    narrow32(d.extent * d.parts),
                                                    narrow32(width),
                                                    narrow32(d.vectors),
                                                    narrow32(d.rows),
                                                    narrow32(d.lanes),
                                                    narrow32(places.inner),
                                                    narrow32(places.first_outer),
                                                    narrow32(places.first_inner),
                                                    narrow32(places.q),
                                                    narrow32(places.l),
                                                    narrow32(places.kept),
                                                    Decomposition::stride(out, 0),
                                                    Decomposition::stride(out, 1),
                                                    Decomposition::stride(out, 3),
                                                    Decomposition::stride(out, 2),
                                                    d.is_complex() ? 1u : 0u});
    packet.work = d.batch * terms * d.extent * d.parts * width;
    packet.label = "svd_products";
    recorder.record(packet);
}

}  // namespace detail

using namespace detail;

namespace {

// The batch of a matrix, of matrices or of batches of them as (outer, inner), in front of the last `kept`
// dimensions.
Tensor two_batches(const Tensor& tensor, std::size_t kept) {
    const std::size_t batches = tensor.rank() - kept;
    std::array<std::uint64_t, Shape::max_rank> sizes{1, 1}, steps{};
    for (std::size_t i = 0; i < tensor.rank(); ++i) {
        const std::size_t to = i < batches ? 2 - batches + i : 2 + i - batches;
        sizes[to] = tensor.size(i);
        steps[to] = tensor.strides()[i];
    }
    return tensor.as_strided(Shape(std::span(sizes).first(2 + kept)),
                             Shape(std::span(steps).first(2 + kept)));
}

Shape without_matrix(const Shape& shape, std::initializer_list<std::uint64_t> last) {
    std::vector<std::uint64_t> sizes(shape.begin(), shape.end() - 2);
    sizes.insert(sizes.end(), last);
    return Shape(std::span<const std::uint64_t>(sizes));
}

void check_matrices(const Recorder& recorder, const Tensor& a, const SvdOptions& options) {
    require_tensor(recorder, "a", a);
    require_number("a", a);
    require(a.rank() >= 2, "a: shape {}, ranks 2 to 4 are possible", to_string(a.shape()));
    check_svd_options(recorder, options);
}

DataType vector_type(const Tensor& a) {
    return is_complex(a.type()) ? a.type() : DataType::f32;
}

struct Shapes {
    Shape u, sigma, v;
};
Shapes shapes_of(const Tensor& a) {
    const std::uint64_t m = a.size(a.rank() - 2), n = a.size(a.rank() - 1), rho = std::min(m, n);
    return {without_matrix(a.shape(), {m, rho}), without_matrix(a.shape(), {rho}),
            without_matrix(a.shape(), {n, rho})};
}

}  // namespace

void svd_into(Recorder& recorder, const Svd& out, const Tensor& a, const SvdOptions& options) {
    check_matrices(recorder, a, options);
    const Shapes shapes = shapes_of(a);
    const DataType type = vector_type(a);
    const std::array<std::tuple<const char*, const Tensor*, const Shape*, DataType>, 3> parts{
        {{"out.u", &out.u, &shapes.u, type},
         {"out.sigma", &out.sigma, &shapes.sigma, DataType::f32},
         {"out.v", &out.v, &shapes.v, type}}};
    for (const auto& [name, tensor, shape, part_type] : parts) {
        require_tensor(recorder, name, *tensor);
        require_type(name, *tensor, part_type);
        require_shape(name, *tensor, *shape);
        require_no_self_overlap(name, *tensor);
        require_disjoint(name, *tensor, "a", a);
    }
    require_disjoint("out.u", out.u, "out.sigma", out.sigma);
    require_disjoint("out.u", out.u, "out.v", out.v);
    require_disjoint("out.sigma", out.sigma, "out.v", out.v);
    if (out.sigma.elements() == 0) return;

    const Tensor matrices = two_batches(a, 2), u = two_batches(out.u, 2), v = two_batches(out.v, 2),
                 sigma = two_batches(out.sigma, 1);
    const Device device = recorder.device();
    const auto reaches = [&](const Tensor& tensor) {
        return tensor.span() <= operand_limit(device.capabilities(), device.access(), tensor.type());
    };
    const auto reachable = [&](const BatchRange& range) {
        return reaches(range.of(u)) && reaches(range.of(v)) && reaches(range.of(sigma));
    };
    for_svd_pieces(recorder, matrices, options, true, reachable, [&](const BatchRange& range) {
        const Tensor part = range.of(matrices);
        const Decomposition d = decompose(recorder, part, options, true);
        TermPlaces places;
        places.inner = part.size(1);
        places.kept = d.count;
        const Tensor order = order_vectors(recorder, d, places, range.of(sigma));
        store_vectors(recorder, d, places, order, d.count, 0, range.of(d.by_columns ? u : v));
        store_vectors(recorder, d, places, order, d.count, 1, range.of(d.by_columns ? v : u));
    });
}

Svd svd(Recorder& recorder, const Tensor& a, const SvdOptions& options) {
    check_matrices(recorder, a, options);
    const Shapes shapes = shapes_of(a);
    const Svd out{empty(recorder, vector_type(a), shapes.u), empty(recorder, DataType::f32, shapes.sigma),
                  empty(recorder, vector_type(a), shapes.v)};
    svd_into(recorder, out, a, options);
    return out;
}

}  // namespace danaus
