// A 2:4 matrix of either form as two tensors of a safetensors file.
#include "check.hpp"
#include "safetensors_header.hpp"
#include "sparse24_host.hpp"

#include <danaus/sparse24_formats.hpp>

#include <algorithm>
#include <charconv>

namespace danaus {
namespace {

using detail::HostSparse24;
using detail::in_quotes;
using detail::require;
using detail::Stored24;

// What says where values belong.
const char* places_name(bool tile_codes) {
    return tile_codes ? "codes" : "metadata";
}

// Read and checked. The shape comes from the tensors but for the columns.
HostSparse24 read(const SafetensorsFile& file, const std::string& name, bool tile_codes) {
    const std::string places = places_name(tile_codes);
    const SafetensorsEntry &values = file.entry(name + ".values"),
                           &metadata = file.entry(name + "." + places);
    const auto found = file.metadata().find(name + ".columns");
    require(found != file.metadata().end(), "name: safetensors file {} has no metadata {}", file.label(),
            in_quotes(name + ".columns"));
    const auto check = [&](bool condition, const std::string& what) {
        if (!condition)
            throw Error(ErrorKind::file, fmt::format("safetensors file {}: matrix {}: {}", file.label(),
                                                     in_quotes(name), what));
    };
    const std::string& digits = found->second;
    std::uint64_t columns = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), columns);
    check(parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size() && columns <= 1ull << 59,
          fmt::format("columns {}, a number is needed", in_quotes(digits)));
    check(values.type() && is_floating(*values.type()),
          fmt::format("values are {}, one of F32, F16, BF16 is needed", values.dtype));
    check(metadata.dtype == "U32", fmt::format("{} are {}, U32 is needed", places, metadata.dtype));
    const std::size_t rank = values.shape.size();
    check(rank == 2 || rank == 3, fmt::format("values of rank {}, 2 or 3 is needed", rank));

    HostSparse24 out{*values.type(), Shape(values.shape), {}, {}, tile_codes};
    out.shape[rank - 1] = columns;
    std::vector<std::uint64_t> expected = values.shape;
    expected[rank - 1] = 2 * out.groups();
    check(values.shape == expected, fmt::format("values of {} a row, {} columns take {}",
                                                values.shape[rank - 1], columns, 2 * out.groups()));
    expected[rank - 1] = out.words();
    if (tile_codes) expected[rank - 2] = detail::divide_up(expected[rank - 2], 4);
    check(metadata.shape == expected,
          fmt::format("{} of shape ({}), ({}) is needed", places, fmt::join(metadata.shape, ", "),
                      fmt::join(expected, ", ")));
    check(out.shape.elements() <= 1ull << 59, "more than 2^59 elements");
    out.values = file.read(values.name);
    const std::vector<std::byte> words = file.read(metadata.name);
    out.metadata.resize(words.size() / 4);
    std::copy(words.begin(), words.end(), std::as_writable_bytes(std::span(out.metadata)).begin());
    const std::string why = tile_codes ? detail::invalid_tiles(out) : detail::invalid_places(out);
    check(why.empty(), why);
    return out;
}

void add(SafetensorsWriter& writer, const std::string& name, const Stored24& a) {
    require(static_cast<bool>(a.values), "a: a null matrix");
    const std::string values = name + ".values", places = name + "." + places_name(a.tile_codes);
    for (const std::string& part : {values, places})
        require(!writer.contains(part), "name: {} was added before", in_quotes(part));
    writer.add(values, a.values);
    writer.add(places, a.places);
    writer.set_metadata(name + ".columns", std::to_string(a.shape[a.shape.rank() - 1]));
}

template <typename Form>
Form load(Stream& stream, const SafetensorsFile& file, const std::string& name, bool tile_codes) {
    const HostSparse24 host = read(file, name, tile_codes);
    const Form out(stream.device(), host.type, host.shape);
    detail::upload(stream, out, host);
    return out;
}

void load_into(Stream& stream, const Stored24& out, const SafetensorsFile& file, const std::string& name) {
    detail::check_stored(stream, "out", out);
    const HostSparse24 host = read(file, name, out.tile_codes);
    require(host.shape == out.shape, "out: shape {}, matrix {} of safetensors file {} has {}",
            to_string(out.shape), in_quotes(name), file.label(), to_string(host.shape));
    require(host.type == out.values.type(), "out: type {}, matrix {} of safetensors file {} is {}",
            to_string(out.values.type()), in_quotes(name), file.label(), to_string(host.type));
    detail::upload(stream, out, host);
}

}  // namespace

void add_sparse24(SafetensorsWriter& writer, const std::string& name, const Sparse24& a) {
    add(writer, name, a);
}

Sparse24 load_sparse24(Stream& stream, const SafetensorsFile& file, const std::string& name) {
    return load<Sparse24>(stream, file, name, false);
}

void load_sparse24_into(Stream& stream, const Sparse24& out, const SafetensorsFile& file,
                        const std::string& name) {
    load_into(stream, out, file, name);
}

void add_tile_sparse24(SafetensorsWriter& writer, const std::string& name, const TileSparse24& a) {
    add(writer, name, a);
}

TileSparse24 load_tile_sparse24(Stream& stream, const SafetensorsFile& file, const std::string& name) {
    return load<TileSparse24>(stream, file, name, true);
}

void load_tile_sparse24_into(Stream& stream, const TileSparse24& out, const SafetensorsFile& file,
                             const std::string& name) {
    load_into(stream, out, file, name);
}

}  // namespace danaus
