#include "catalogue.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace danaus::bench {

std::string suffix(Verb verb) {
    return verb == Verb::transposed ? "_transposed" : verb == Verb::gradient ? "_weight_gradient" : "";
}

std::vector<std::pair<std::string, std::uint64_t>> shape_of(const Sizes& s) {
    std::vector<std::pair<std::string, std::uint64_t>> shape{
        {"tokens", s.tokens}, {"out", s.out}, {"in", s.in}};
    if (s.blocks > 1) shape.emplace_back("blocks", s.blocks);
    if (s.q) shape.emplace_back("q", s.q);
    return shape;
}

// Rows × columns × contraction of the dense product that the verb stands for.
std::string size_of_product(const Sizes& s, Verb verb) {
    std::string blocks = s.blocks > 1 ? fmt::format("b{}", s.blocks) : "";
    if (s.q) blocks += fmt::format("q{}", s.q);
    if (verb == Verb::transposed) return fmt::format("{}x{}x{}{}", s.tokens, s.in, s.out, blocks);
    if (verb == Verb::gradient) return fmt::format("{}x{}x{}{}", s.out, s.in, s.tokens, blocks);
    return fmt::format("{}x{}x{}{}", s.tokens, s.out, s.in, blocks);
}

Tags with(Tags tags, const char* tag) {
    tags.emplace_back(tag);
    return tags;
}

namespace {

void add_copies(Catalogue& catalogue) {
    const auto add = [&](const char* operation, DataType from, DataType to, std::uint64_t size,
                         std::uint64_t pitch, bool transpose) {
        const std::string dtype =
            from == to ? to_string(from) : fmt::format("{}-{}", to_string(from), to_string(to));
        catalogue.add(with(quick, "copy"),
                      {operation,
                       dtype,
                       fmt::format("{0}x{0}", size),
                       {{"rows", size}, {"columns", size}},
                       {},
                       [=](Stream& stream) { return copy(stream, from, to, size, size, pitch, transpose); }});
    };
    // "copy" is the driver's own, "copy_strided" our kernel: its rows are a little apart.
    add("copy", DataType::f32, DataType::f32, 4096, 4096, false);
    add("copy_strided", DataType::f32, DataType::f32, 4096, 4104, false);
    add("copy_strided", DataType::f16, DataType::f16, 4096, 4104, false);
    add("transpose", DataType::f32, DataType::f32, 2048, 2048, true);
    add("transpose", DataType::f16, DataType::f16, 2048, 2048, true);
    add("convert", DataType::f32, DataType::f16, 4096, 4096, false);
    add("convert", DataType::f16, DataType::f32, 4096, 4096, false);
    for (const DataType type : {DataType::f32, DataType::f16})
        for (const std::uint64_t a : {std::uint64_t{64}, std::uint64_t{0}}) {
            const Sizes features{1024, 4096, 4096};
            catalogue.add(with(quick, "copy"),
                          {a ? "permutation_stride" : "permutation_indices",
                           to_string(type),
                           "1024x4096",
                           shape_of(features),
                           {},
                           [=](Stream& stream) { return permutation(stream, type, features, a); }});
        }
}

// Dense multiplies, forward and backward.
void add_dense(Catalogue& catalogue, DataType type) {
    const Tags squares = with(quick, "square");
    for (const std::uint64_t n : {64u, 256u, 512u, 1024u}) catalogue.dense(squares, type, {n, n, n});
    for (const std::uint64_t n : {2048u, 4096u}) catalogue.dense(with(full, "square"), type, {n, n, n});
    for (const std::uint64_t n : {512u, 1024u}) catalogue.dense(quick, type, {n, n, n}, Verb::transposed);
    catalogue.dense(quick, type, {256, 512, 512}, Verb::gradient);
    catalogue.dense(quick, type, {1024, 1024, 1024}, Verb::gradient);
    for (const Verb verb : {Verb::forward, Verb::transposed, Verb::gradient})
        for (const std::uint64_t blocks : {16u, 4u})
            catalogue.multiply(quick, "block_diagonal", block_diagonal, type, verb,
                               {1024, 1024, 1024, blocks});
}

// The same by weights packed beforehand, and what packing costs.
void add_packed(Catalogue& catalogue, DataType type) {
    const auto add = [&](const char* operation, auto job, const Tags& tags, const Sizes& s) {
        catalogue.multiply(tags, operation, job, type, Verb::forward, s);
    };
    for (const std::uint64_t n : {512u, 1024u})
        add("matmul_packed", packed_dense, with(quick, "square"), {n, n, n});
    for (const std::uint64_t n : {2048u, 4096u})
        add("matmul_packed", packed_dense, with(full, "square"), {n, n, n});
    for (const std::uint64_t blocks : {16u, 4u})
        add("block_diagonal_packed", packed_block_diagonal, quick, {1024, 1024, 1024, blocks});
    for (const std::uint64_t n : {1024u, 4096u})
        catalogue.add(with(quick, "copy"), {"pack",
                                            to_string(type),
                                            fmt::format("{0}x{0}", n),
                                            {{"out", n}, {"in", n}},
                                            {},
                                            [=](Stream& stream) {
                                                return packing(stream, type, {0, n, n});
                                            }});
}

// 2:4 multiplies: squares, the feed-forward layers d -> 4d of 2:4 training, and few tokens.
void add_sparse24(Catalogue& catalogue, DataType type) {
    for (const std::uint64_t n : {512u, 1024u}) catalogue.sparse24(with(quick, "square"), type, {n, n, n});
    catalogue.sparse24(with(quick, "gpt2"), type, {384, 3072, 768});
    catalogue.sparse24(quick, type, {1024, 1024, 1024}, Verb::transposed);
    const auto feed_forward = [&](std::uint64_t d, std::uint64_t tokens) {
        catalogue.dense(with(full, "ffn"), type, {tokens, 4 * d, d});
        catalogue.sparse24(with(full, "ffn"), type, {tokens, 4 * d, d});
    };
    for (const std::uint64_t d : {768u, 1600u, 2048u}) feed_forward(d, 2048);
    for (const std::uint64_t d : {768u, 2048u, 4096u, 7168u}) feed_forward(d, 16);
    for (const std::uint64_t d : {768u, 4096u, 7168u}) feed_forward(d, 1);
    for (const std::uint64_t d : {4096u, 7168u}) feed_forward(d, 256);
    for (const std::uint64_t tokens : {1u, 2u, 4u, 8u, 16u}) {
        const Tags tags = with(tokens == 1 || tokens == 16 ? quick : full, "decode");
        catalogue.dense(tags, type, {tokens, 4096, 4096});
        catalogue.sparse24(tags, type, {tokens, 4096, 4096});
        catalogue.monarch(tags, type, {tokens, 4096, 4096, 64});
    }
}

// Vector-wise N:M multiplies and compression: squares, feed-forward layers, and the height of panels.
void add_vector_sparse(Catalogue& catalogue, DataType type) {
    const auto add = [&](const Tags& tags, const VectorPattern& p, const Sizes& s,
                         Verb verb = Verb::forward) {
        catalogue.add(tags, {fmt::format("vector_{}of{}x{}{}", p.keep, p.of, p.rows, suffix(verb)),
                             to_string(type),
                             size_of_product(s, verb),
                             shape_of(s),
                             {},
                             [=](Stream& stream) { return vector_sparse(stream, type, s, verb, p); }});
    };
    const VectorPattern half{2, 4, 64}, quarter{1, 4, 64};
    for (const std::uint64_t n : {512u, 1024u})
        for (const VectorPattern& pattern : {half, quarter}) add(with(quick, "square"), pattern, {n, n, n});
    for (const std::uint32_t rows : {16u, 32u, 128u}) add(quick, {2, 4, rows}, {1024, 1024, 1024});
    add(quick, half, {1024, 1024, 1024}, Verb::transposed);
    add(with(quick, "gpt2"), half, {384, 3072, 768});
    for (const std::uint64_t d : {768u, 2048u}) add(with(full, "ffn"), half, {2048, 4 * d, d});
    for (const std::uint64_t tokens : {1u, 16u}) add(with(full, "decode"), half, {tokens, 4096, 4096});
    for (const std::uint64_t n : {1024u, 4096u})
        catalogue.add(with(quick, "copy"), {"vector_compress",
                                            to_string(type),
                                            fmt::format("{0}x{0}", n),
                                            {{"out", n}, {"in", n}},
                                            {},
                                            [=](Stream& stream) {
                                                return vector_compression(stream, type, {0, n, n}, half);
                                            }});
}

// What cost grows with: tokens, features and blocks; Monarch multiplies of the latter two are some of
// add_grid's.
void add_sweeps(Catalogue& catalogue) {
    constexpr DataType type = DataType::f32;
    for (std::uint64_t tokens = 1; tokens <= 65536; tokens *= 4) {
        const Tags tags = with(tokens <= 4096 ? with(quick, "sweep") : sweep, "tokens");
        catalogue.dense(tags, type, {tokens, 1024, 1024});
        catalogue.monarch(tags, type, {tokens, 1024, 1024, 32});
        catalogue.sparse24(tags, type, {tokens, 1024, 1024});
    }
    for (std::uint64_t n = 256; n <= 16384; n *= 2) {
        Tags tags = with(n <= 4096 ? with(quick, "sweep") : sweep, "features");
        if (n >= 512 && n <= 4096) tags = with(tags, "blocks");
        catalogue.dense(tags, type, {64, n, n});
        catalogue.sparse24(tags, type, {64, n, n});
    }
}

}  // namespace

bool Case::has(const std::string& tag) const {
    return std::find(tags.begin(), tags.end(), tag) != tags.end();
}

std::vector<Case> all_cases() {
    Catalogue catalogue;
    add_copies(catalogue);
    for (const DataType type : {DataType::f32, DataType::f16}) {
        add_dense(catalogue, type);
        add_packed(catalogue, type);
        add_masks(catalogue, type);
        add_tiles(catalogue, type);
        add_gated(catalogue, type);
        add_layers(catalogue, type);
        add_chains(catalogue, type);
        add_grid(catalogue, type);
        add_sparse24(catalogue, type);
        add_feed_forward(catalogue, type);
        add_vector_sparse(catalogue, type);
    }
    add_complex(catalogue);
    add_projections(catalogue);
    add_sweeps(catalogue);
    return catalogue.take();
}

}  // namespace danaus::bench
