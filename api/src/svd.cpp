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
    kernel.out_type = static_cast<std::uint32_t>(out.type());
    kernel.terms = places.kind;
    kernel.form = form;
    const std::uint64_t extent = form == 1 ? d.count : d.extent;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {groups_of(extent, d.local_size), narrow32(terms), narrow32(d.batch)};
    packet.operands[0] = operand(d.work, Touch::read);
    packet.operands[1] = operand(order, Touch::read);
    packet.operands[2] = operand(out, out.type() == DataType::f32 ? Touch::write : Touch::read_write);
    const Shape& strides = out.strides();
    packet.set_fields(std::array<std::uint32_t, 15>{
        narrow32(extent), narrow32(form == 1 ? d.identity : 0), narrow32(d.vectors), narrow32(d.rows),
        narrow32(d.lanes), narrow32(places.inner), narrow32(places.first_outer), narrow32(places.first_inner),
        narrow32(places.q), narrow32(places.l), narrow32(places.kept), narrow32(strides[0]),
        narrow32(strides[1]), narrow32(strides[3]), narrow32(strides[2])});
    packet.work = d.batch * terms * extent;
    packet.label = "svd_vectors";
    recorder.record(packet);
}

void store_products(Recorder& recorder, const Decomposition& d, const TermPlaces& places, const Tensor& order,
                    std::uint64_t terms, const Tensor& a, const Tensor& out) {
    kernels::SvdProducts kernel;
    kernel.local_size = d.local_size;
    kernel.in_type = static_cast<std::uint32_t>(a.type());
    kernel.out_type = static_cast<std::uint32_t>(out.type());
    kernel.terms = places.kind;
    kernel.tile = terms < 4 ? 1 : 8;
    const Shape &from = a.strides(), &to = out.strides();
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {groups_of(d.count, d.local_size), groups_of(terms, kernel.tile), narrow32(d.batch)};
    packet.operands[0] = operand(a, Touch::read);
    packet.operands[1] = operand(d.work, Touch::read);
    packet.operands[2] = operand(order, Touch::read);
    packet.operands[3] = operand(out, out.type() == DataType::f32 ? Touch::write : Touch::read_write);
    packet.set_fields(std::array<std::uint32_t, 19>{
        narrow32(from[0]), narrow32(from[1]), narrow32(from[d.by_columns ? 2 : 3]),
        narrow32(from[d.by_columns ? 3 : 2]), narrow32(d.extent), narrow32(d.count), narrow32(d.vectors),
        narrow32(d.rows), narrow32(d.lanes), narrow32(places.inner), narrow32(places.first_outer),
        narrow32(places.first_inner), narrow32(places.q), narrow32(places.l), narrow32(places.kept),
        narrow32(to[0]), narrow32(to[1]), narrow32(to[3]), narrow32(to[2])});
    packet.work = d.batch * terms * d.extent * d.count;
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
    require_floating("a", a);
    require(a.rank() >= 2, "a: shape {}, ranks 2 to 4 are possible", to_string(a.shape()));
    check_svd_options(recorder, options);
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
    const std::array<std::tuple<const char*, const Tensor*, const Shape*>, 3> parts{
        {{"out.u", &out.u, &shapes.u},
         {"out.sigma", &out.sigma, &shapes.sigma},
         {"out.v", &out.v, &shapes.v}}};
    for (const auto& [name, tensor, shape] : parts) {
        require_tensor(recorder, name, *tensor);
        require_type(name, *tensor, DataType::f32);
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
    const std::uint64_t limit = operand_limit(device.capabilities(), device.access(), DataType::f32);
    const auto reachable = [&](const BatchRange& range) {
        return range.of(u).span() <= limit && range.of(v).span() <= limit && range.of(sigma).span() <= limit;
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
    const Svd out{empty(recorder, DataType::f32, shapes.u), empty(recorder, DataType::f32, shapes.sigma),
                  empty(recorder, DataType::f32, shapes.v)};
    svd_into(recorder, out, a, options);
    return out;
}

}  // namespace danaus
