#include "dataset.hpp"

#include <array>
#include <stdexcept>

#include <fmt/format.h>
#include <zlib.h>

namespace sample {
namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& why) {
    throw std::runtime_error(fmt::format("{}: {}", file.string(), why));
}

std::vector<std::uint8_t> read_gzip(const std::filesystem::path& file, std::size_t expected) {
    if (!std::filesystem::exists(file))
        fail(file, "not found; Debian's package dataset-fashion-mnist has it, or --data names its folder");
    const gzFile in = gzopen(file.c_str(), "rb");
    if (!in) fail(file, "cannot be opened");
    std::vector<std::uint8_t> bytes(expected + 1);  // one more, to notice a longer file
    std::size_t done = 0;
    int error = Z_OK;
    while (done < bytes.size()) {
        const int got = gzread(in, bytes.data() + done, static_cast<unsigned>(bytes.size() - done));
        if (got <= 0) {
            gzerror(in, &error);
            break;
        }
        done += static_cast<std::size_t>(got);
    }
    const bool plain = gzdirect(in) != 0;
    gzclose(in);
    if (plain) fail(file, "not a gzip file");
    if (done != expected || error != Z_OK)
        fail(file, done < expected
                       ? fmt::format("cut or damaged: {} bytes unpack, {} are needed", done, expected)
                       : fmt::format("unpacks to more than the {} bytes expected", expected));
    bytes.resize(expected);
    return bytes;
}

std::uint32_t big_endian(const std::uint8_t* p) {
    return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

// An IDX file of bytes with the given sizes: magic 0x0800 + rank, the sizes, the bytes.
template <std::size_t Rank>
std::vector<std::uint8_t> read_idx(const std::filesystem::path& file,
                                   const std::array<std::uint32_t, Rank>& sizes) {
    std::size_t payload = 1;
    for (const std::uint32_t size : sizes) payload *= size;
    constexpr std::size_t header = 4 + 4 * Rank;
    std::vector<std::uint8_t> bytes = read_gzip(file, header + payload);
    const std::uint32_t magic = big_endian(bytes.data());
    if (magic != 0x0800 + Rank) fail(file, fmt::format("not an IDX file of bytes: magic {:#x}", magic));
    for (std::size_t i = 0; i < Rank; ++i)
        if (const std::uint32_t size = big_endian(bytes.data() + 4 + 4 * i); size != sizes[i])
            fail(file, fmt::format("size {} of dimension {}, {} is expected", size, i, sizes[i]));
    bytes.erase(bytes.begin(), bytes.begin() + header);
    return bytes;
}

Images read_images(const std::filesystem::path& folder, const char* stem, std::uint32_t count) {
    Images images;
    images.pixels = read_idx<3>(folder / fmt::format("{}-images-idx3-ubyte.gz", stem), {count, 28, 28});
    const auto labels = folder / fmt::format("{}-labels-idx1-ubyte.gz", stem);
    images.labels = read_idx<1>(labels, {count});
    for (std::size_t i = 0; i < images.labels.size(); ++i)
        if (images.labels[i] >= class_count)
            fail(labels, fmt::format("label {} of image {}, at most 9 is expected", images.labels[i], i));
    return images;
}

}  // namespace

Dataset load_dataset(const std::filesystem::path& folder) {
    return {read_images(folder, "train", 60000), load_test_images(folder)};
}

Images load_test_images(const std::filesystem::path& folder) {
    return read_images(folder, "t10k", 10000);
}

void gather(const Images& images, const std::uint32_t* indices, std::size_t count, std::vector<float>& rows,
            std::vector<std::uint32_t>& labels) {
    static constexpr auto brightness = [] {
        std::array<float, 256> table{};
        for (std::size_t i = 0; i < table.size(); ++i)
            table[i] = (static_cast<float>(i) / 255.0f - pixel_mean) / pixel_deviation;
        return table;
    }();
    rows.resize(count * image_size);
    labels.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint8_t* pixels = images.pixels.data() + indices[i] * image_size;
        float* row = rows.data() + i * image_size;
        for (std::size_t j = 0; j < image_size; ++j) row[j] = brightness[pixels[j]];
        labels[i] = images.labels[indices[i]];
    }
}

}  // namespace sample
