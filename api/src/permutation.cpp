// Permutations of features: strided copies, and gathers by an index tensor.
#include "check.hpp"
#include "multiply.hpp"

#include <danaus/permutation.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

namespace danaus {
namespace {

using detail::divide_up;
using detail::require;

std::uint64_t reach_limit(const Recorder& recorder, const Tensor& t) {
    return detail::operand_limit(recorder.device().capabilities(), recorder.device().access(), t.type());
}

struct Dimension {
    std::uint64_t size = 1, source = 0, destination = 0;
};

// The dimensions but the last one, the destination's largest stride first, merged where both sides allow it.
std::vector<Dimension> outer_dimensions(const Tensor& out, const Tensor& in) {
    std::vector<Dimension> dims;
    for (std::size_t i = 0; i + 1 < out.rank(); ++i)
        if (out.size(i) != 1) dims.push_back({out.size(i), in.strides()[i], out.strides()[i]});
    std::sort(dims.begin(), dims.end(),
              [](const auto& a, const auto& b) { return a.destination > b.destination; });
    for (std::size_t i = dims.size(); i-- > 1;) {
        const Dimension inner = dims[i];
        Dimension& outer = dims[i - 1];
        if (outer.source != inner.source * inner.size || outer.destination != inner.destination * inner.size)
            continue;
        outer = {outer.size * inner.size, inner.source, inner.destination};
        dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return dims;
}

struct GatherFields {
    std::uint32_t features, index_stride;
    std::array<std::uint32_t, 4> sizes, source_strides, destination_strides;
};

void record_piece(Recorder& recorder, const Tensor& out, const Tensor& in, const Tensor& index) {
    const std::size_t last = out.rank() - 1;
    const Dimension features{out.size(last), in.strides()[last], out.strides()[last]};
    std::vector<Dimension> dims = outer_dimensions(out, in);
    // Lanes run along the destination's smallest stride, so that their stores are neighbours.
    const bool along_features =
        dims.empty() || features.size == 1 || features.destination < dims.back().destination;
    dims.insert(along_features ? dims.end() : dims.end() - 1, features);
    dims.insert(dims.begin(), 4 - dims.size(), Dimension{});

    GatherFields fields{static_cast<std::uint32_t>(in.size(last)),
                        index.size(0) > 1 ? static_cast<std::uint32_t>(index.strides()[0]) : 0,
                        {},
                        {},
                        {}};
    const bool narrow = size_of(out.type()) == 2;
    bool pairs = narrow && out.offset() % 2 == 0 && dims[3].destination == 1;
    for (std::size_t i = 0; i < 4; ++i) {
        // A stride along one element is never followed; a feature's stride is followed on the source's side.
        const bool followed = dims[i].size > 1;
        const bool gathered = i == (along_features ? 3u : 2u);
        fields.sizes[i] = static_cast<std::uint32_t>(dims[i].size);
        fields.source_strides[i] = followed || gathered ? static_cast<std::uint32_t>(dims[i].source) : 0;
        fields.destination_strides[i] = followed ? static_cast<std::uint32_t>(dims[i].destination) : 0;
        pairs = pairs && (i == 3 || fields.destination_strides[i] % 2 == 0);
    }
    kernels::Gather kernel;
    kernel.narrow = narrow;
    kernel.features = along_features ? 3 : 2;
    kernel.pairs = pairs;
    const std::uint64_t lanes = divide_up(dims[3].size, pairs ? 2 : 1);
    const std::uint64_t outer = dims[0].size * dims[1].size;
    const auto& most = recorder.device().capabilities().max_workgroup_count;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {
        static_cast<std::uint32_t>(std::min<std::uint64_t>(divide_up(lanes, kernel.local_size), most[0])),
        static_cast<std::uint32_t>(std::min<std::uint64_t>(dims[2].size, most[1])),
        static_cast<std::uint32_t>(std::min<std::uint64_t>(outer, most[2]))};
    packet.operands[0] = detail::operand(in, Touch::read);
    packet.operands[1] = detail::operand(index, Touch::read);
    packet.operands[2] = detail::operand(out, Touch::read_write);
    packet.set_fields(fields);
    packet.work = lanes * dims[2].size * outer;
    packet.label = "permute";
    recorder.record(packet);
}

// The dimension of `t` below `count` that reaches furthest, if one has more than one element.
std::optional<std::size_t> longest(const Tensor& t, std::size_t count) {
    std::optional<std::size_t> best;
    const auto reach = [&](std::size_t i) { return (t.size(i) - 1) * t.strides()[i]; };
    for (std::size_t i = 0; i < count; ++i)
        if (t.size(i) > 1 && (!best || reach(i) > reach(*best))) best = i;
    return best;
}

// Halves what one dispatch cannot reach; the features of the source stay together.
void record_gather(Recorder& recorder, const Tensor& out, const Tensor& in, const Tensor& index) {
    const std::size_t last = out.rank() - 1;
    const bool source_long = in.span() > reach_limit(recorder, in);
    const bool result_long = out.span() > reach_limit(recorder, out);
    if (!source_long && !result_long) return record_piece(recorder, out, in, index);
    const std::size_t d = source_long ? longest(in, last).value() : longest(out, last + 1).value();
    const std::uint64_t size = out.size(d), half = size / 2;
    for (const auto& [begin, end] : {std::pair{std::uint64_t{0}, half}, std::pair{half, size}}) {
        const bool features = d == last;
        record_gather(recorder, out.slice(d, begin, end), features ? in : in.slice(d, begin, end),
                      features ? index.slice(0, begin, end) : index);
    }
}

void check_reach(const Recorder& recorder, const char* name, const Tensor& x) {
    const std::size_t last = x.rank() - 1;
    const std::uint64_t span = 1 + (x.size(last) - 1) * x.strides()[last], limit = reach_limit(recorder, x);
    if (span > limit)
        throw Error(
            ErrorKind::unsupported,
            fmt::format("{}: the features of one token span {} elements of {}; one dispatch on {} reaches {}",
                        name, span, to_string(x.type()), recorder.device().capabilities().name, limit));
}

// The last dimension, a·b features, as two: (…, a, b).
Tensor split_features(const Tensor& t, std::uint64_t a, std::uint64_t b) {
    const std::size_t last = t.rank() - 1;
    std::array<std::uint64_t, Shape::max_rank> sizes{}, strides{};
    for (std::size_t i = 0; i < last; ++i) {
        sizes[i] = t.size(i);
        strides[i] = t.strides()[i];
    }
    sizes[last] = a;
    sizes[last + 1] = b;
    strides[last] = b * t.strides()[last];
    strides[last + 1] = t.strides()[last];
    return t.as_strided(Shape(std::span<const std::uint64_t>(sizes.data(), last + 2)),
                        Shape(std::span<const std::uint64_t>(strides.data(), last + 2)));
}

void record_stride(Recorder& recorder, const Tensor& out, const Tensor& in, std::uint64_t a,
                   std::uint64_t b) {
    if (out.rank() == Shape::max_rank) {
        for (std::uint64_t i = 0; i < out.size(0); ++i)
            record_stride(recorder, out.select(0, i), in.select(0, i), a, b);
        return;
    }
    convert_into(recorder, split_features(out, b, a), split_features(in, a, b).transpose());
}

void permute_into(Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                  const Permutation& p) {
    detail::require_tensor(recorder, name, x);
    detail::require_tensor(recorder, "out", out);
    require(x.rank() > 0, "{}: rank 0, at least one dimension is needed", name);
    require(x.size(x.rank() - 1) == p.size(), "{}: shape {}, its last size must be {}, the permutation's",
            name, to_string(x.shape()), p.size());
    detail::require_shape("out", out, x.shape());
    detail::require_type("out", out, x.type());
    detail::require_no_self_overlap("out", out);
    detail::require_disjoint("out", out, name, x);
    if (p.index()) {
        detail::require_tensor(recorder, "p", p.index());
        detail::require_disjoint("out", out, "p", p.index());
        detail::require_disjoint("out", out, "p", p.inverse_index());
    }
    if (x.elements() == 0) return;
    if (p.is_stride()) return record_stride(recorder, out, x, p.a(), p.b());
    const bool complex = is_complex(x.type());
    check_reach(recorder, name, complex ? real(x) : x);
    if (!complex) return record_gather(recorder, out, x, p.index());
    record_gather(recorder, real(out), real(x), p.index());
    record_gather(recorder, imag(out), imag(x), p.index());
}

Tensor permute(Recorder& recorder, const char* name, const Tensor& x, const Permutation& p) {
    detail::require_tensor(recorder, name, x);
    const Tensor out = empty(recorder, x.type(), x.shape());
    permute_into(recorder, out, name, x, p);
    return out;
}

}  // namespace

Permutation Permutation::stride(std::uint64_t a, std::uint64_t b) {
    Permutation p;
    p.size_ = Shape{a, b}.elements();
    p.a_ = a;
    p.b_ = b;
    return p;
}

Permutation Permutation::from_indices(Stream& stream, std::span<const std::uint32_t> index) {
    const std::size_t size = index.size();
    constexpr std::size_t most = std::size_t{1} << 31;
    require(size <= most, "index: {} indices, at most {} are supported", size, most);
    std::vector<std::uint32_t> inverse(size);
    std::vector<bool> seen(size);
    for (std::size_t i = 0; i < size; ++i) {
        require(index[i] < size, "index[{}]: {}, an index below {} is needed", i, index[i], size);
        require(!seen[index[i]], "index[{}]: {} is also index[{}], each index is needed once", i, index[i],
                inverse[index[i]]);
        seen[index[i]] = true;
        inverse[index[i]] = static_cast<std::uint32_t>(i);
    }
    Permutation p;
    p.size_ = size;
    p.index_ = upload(stream, index, {size});
    p.inverse_index_ = upload(stream, std::span<const std::uint32_t>(inverse), {size});
    return p;
}

Permutation Permutation::from_tensor(Recorder& recorder, const Tensor& index) {
    detail::require_tensor(recorder, "index", index);
    detail::require_type("index", index, DataType::u32);
    detail::require_rank("index", index, 1);
    const std::uint64_t limit = reach_limit(recorder, index);
    if (std::max(index.span(), index.size(0)) > limit)
        throw Error(
            ErrorKind::unsupported,
            fmt::format("index: spans {} elements; one dispatch on {} reaches {}",
                        std::max(index.span(), index.size(0)), recorder.device().capabilities().name, limit));
    Permutation p;
    p.size_ = index.size(0);
    p.index_ = index;
    p.inverse_index_ = empty(recorder, DataType::u32, {p.size_});
    if (p.size_ == 0) return p;
    // A feature that no index names reads nothing.
    fill_into(recorder, p.inverse_index_, 0xffffffffu);
    struct Fields {
        std::uint32_t count, index_stride;
    };
    const kernels::InvertPermutation kernel;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {
        static_cast<std::uint32_t>(std::min<std::uint64_t>(
            divide_up(p.size_, kernel.local_size), recorder.device().capabilities().max_workgroup_count[0])),
        1, 1};
    packet.operands[0] = detail::operand(index, Touch::read);
    packet.operands[1] = detail::operand(p.inverse_index_, Touch::write);
    packet.set_fields(Fields{static_cast<std::uint32_t>(p.size_),
                             p.size_ > 1 ? static_cast<std::uint32_t>(index.strides()[0]) : 0});
    packet.work = p.size_;
    packet.label = "invert_permutation";
    recorder.record(packet);
    return p;
}

Permutation Permutation::inverse() const {
    Permutation p = *this;
    std::swap(p.a_, p.b_);
    std::swap(p.index_, p.inverse_index_);
    return p;
}

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Permutation& p) {
    permute_into(recorder, out, "x", x, p);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Permutation& p) {
    return permute(recorder, "x", x, p);
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Permutation& p) {
    permute_into(recorder, out, "dy", dy, p.inverse());
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Permutation& p) {
    return permute(recorder, "dy", dy, p.inverse());
}

void to_dense_into(Recorder& recorder, const Tensor& out, const Permutation& p) {
    detail::require_tensor(recorder, "out", out);
    detail::require_shape("out", out, {p.size(), p.size()});
    detail::require_no_self_overlap("out", out);
    if (p.size() == 0) return;
    // I·P, from an identity matrix.
    const Tensor identity = empty(recorder, out.type(), out.shape());
    fill_into(recorder, identity, 0.0);
    fill_into(recorder, identity.as_strided({p.size()}, {p.size() + 1}), 1.0);
    permute_into(recorder, out, "identity", identity, p.inverse());
}

Tensor to_dense(Recorder& recorder, const Permutation& p, DataType type) {
    const Tensor out = empty(recorder, type, {p.size(), p.size()});
    to_dense_into(recorder, out, p);
    return out;
}

}  // namespace danaus
