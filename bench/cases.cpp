#include "cases.hpp"

#include "jobs.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace danaus::bench {
namespace {

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

using Tags = std::vector<std::string>;

// The list under construction. A case that is added again gets the tags of both.
class Catalogue {
public:
    void add(const Tags& tags, Case one) {
        const auto known = std::find_if(cases_.begin(), cases_.end(),
                                        [&](const Case& other) { return other.name() == one.name(); });
        Case& kept = known == cases_.end() ? cases_.emplace_back(std::move(one)) : *known;
        for (const std::string& tag : tags)
            if (!kept.has(tag)) kept.tags.push_back(tag);
    }

    void multiply(const Tags& tags, const char* operation, Job (*job)(Stream&, DataType, const Sizes&, Verb),
                  DataType type, Verb verb, const Sizes& s) {
        add(tags, {operation + suffix(verb),
                   to_string(type),
                   size_of_product(s, verb),
                   shape_of(s),
                   {},
                   [=](Stream& stream) { return job(stream, type, s, verb); }});
    }
    void dense(const Tags& tags, DataType type, const Sizes& s, Verb verb = Verb::forward) {
        multiply(tags, "matmul", bench::dense, type, verb, s);
    }
    void monarch(const Tags& tags, DataType type, const Sizes& s, Verb verb = Verb::forward) {
        multiply(tags, "monarch", bench::monarch, type, verb, s);
    }
    void sparse24(const Tags& tags, DataType type, const Sizes& s, Verb verb = Verb::forward) {
        multiply(tags, "sparse24", bench::sparse24, type, verb, s);
    }
    void monarch_backward(const Tags& tags, DataType type, const Sizes& s) {
        add(tags, {"monarch_backward",
                   to_string(type),
                   size_of_product(s, Verb::forward),
                   shape_of(s),
                   {},
                   [=](Stream& stream) { return bench::monarch_backward(stream, type, s); }});
    }

    [[nodiscard]] std::vector<Case> take() { return std::move(cases_); }

private:
    std::vector<Case> cases_;
};

const Tags quick{"quick", "full"}, full{"full"}, sweep{"sweep"};

Tags with(Tags tags, const char* tag) {
    tags.emplace_back(tag);
    return tags;
}

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

// Masks and the compressed form: kernels that memory should bound.
void add_masks(Catalogue& catalogue, DataType type) {
    const std::pair<const char*, MaskVerb> verbs[] = {
        {"sparse24_select_mask", MaskVerb::select},
        {"transposable_select_mask", MaskVerb::select_transposable},
        {"sparse24_apply_mask", MaskVerb::apply},
        {"sparse24_compress", MaskVerb::compress},
        {"sparse24_compress_by_magnitude", MaskVerb::select_and_compress},
        {"sparse24_to_dense", MaskVerb::expand}};
    for (const auto& [operation, verb] : verbs)
        catalogue.add(with(quick, "copy"), {operation,
                                            to_string(type),
                                            "4096x4096",
                                            {{"out", 4096}, {"in", 4096}},
                                            {},
                                            [type, verb = verb](Stream& stream) {
                                                return masking(stream, type, {0, 4096, 4096}, verb);
                                            }});
    const std::pair<const char*, UnbiasedPruning> prunings[] = {
        {"unbiased_least_variance", UnbiasedPruning::least_variance},
        {"unbiased_two_draws", UnbiasedPruning::two_draws}};
    for (const auto& [operation, pruning] : prunings)
        catalogue.add(with(quick, "copy"),
                      {operation,
                       to_string(type),
                       "4096x4096",
                       {{"tokens", 4096}, {"out", 4096}},
                       {},
                       [type, pruning = pruning](Stream& stream) {
                           return unbiased_compression(stream, type, {4096, 4096, 4096}, pruning);
                       }});
    if (type == DataType::f32)
        catalogue.add(with(quick, "copy"), {"adamw_masked_decay_flips",
                                            to_string(type),
                                            "4096x4096",
                                            {{"out", 4096}, {"in", 4096}},
                                            {},
                                            [](Stream& stream) {
                                                return masked_update(stream, {0, 4096, 4096});
                                            }});
}

// Transposable weights by tiles: compression that memory should bound, and multiplies beside row-wise ones.
void add_tiles(Catalogue& catalogue, DataType type) {
    const std::pair<const char*, TileVerb> verbs[] = {
        {"tile24_compress", TileVerb::compress},
        {"tile24_compress_transposable", TileVerb::select_and_compress},
        {"sparse24_compress_both", TileVerb::compress_both}};
    for (const auto& [operation, verb] : verbs)
        catalogue.add(with(quick, "copy"), {operation,
                                            to_string(type),
                                            "4096x4096",
                                            {{"out", 4096}, {"in", 4096}},
                                            {},
                                            [type, verb = verb](Stream& stream) {
                                                return tile_compression(stream, type, {0, 4096, 4096}, verb);
                                            }});
    const auto multiply = [&](const Tags& tags, const Sizes& s, Verb verb = Verb::forward) {
        catalogue.multiply(tags, "tile24", tile_sparse24, type, verb, s);
    };
    multiply(with(quick, "square"), {1024, 1024, 1024});
    multiply(quick, {1024, 1024, 1024}, Verb::transposed);
    for (const std::uint64_t tokens : {1u, 16u}) {
        const Tags tags = with(tokens == 1 ? quick : full, "decode");
        multiply(tags, {tokens, 4096, 4096});
        multiply(tags, {tokens, 4096, 4096}, Verb::transposed);
        catalogue.sparse24(tags, type, {tokens, 4096, 4096}, Verb::transposed);
    }
}

// Gated linear units of a feed-forward layer, forward and backward, in either memory order.
void add_gated(Catalogue& catalogue, DataType type) {
    const Sizes s{2048, 4096, 0};
    for (const Gate gate : {Gate::swiglu, Gate::geglu, Gate::geglu_erf, Gate::reglu})
        for (const bool backward : {false, true})
            for (const Order order : {Order::token_major, Order::feature_major})
                catalogue.add(
                    with(gate == Gate::swiglu ? quick : full, "copy"),
                    {fmt::format("gated_{}{}{}", to_string(gate), backward ? "_backward" : "",
                                 order == Order::feature_major ? "_feature_major" : ""),
                     to_string(type),
                     fmt::format("{}x{}", s.tokens, s.out),
                     {{"tokens", s.tokens}, {"features", s.out}},
                     {},
                     [=](Stream& stream) { return gated(stream, type, s, gate, backward, order); }});
}

// The layers that papers and users measure Monarch matrices on, each beside the dense layer and with one
// token.
void add_layers(Catalogue& catalogue, DataType type) {
    struct Layer {
        const char* tag;
        const Tags& suite;
        Sizes sizes;
    };
    const Layer layers[] = {
        {"gpt2", quick, {384, 768, 768, 4}},     {"gpt2", quick, {384, 3072, 768, 4}},
        {"vit", quick, {197, 768, 768, 4, 128}}, {"llama", full, {1024, 4096, 4096, 16, 1024}},
        {"sqrt", quick, {1024, 1024, 1024, 32}}, {"sqrt", quick, {256, 4096, 4096, 64}},
    };
    for (const Layer& layer : layers) {
        Sizes s = layer.sizes;
        catalogue.monarch(with(layer.suite, layer.tag), type, s);
        catalogue.dense(with(layer.suite, layer.tag), type, {s.tokens, s.out, s.in});
        s.tokens = 1;
        // One token reads every weight once: the layers of 4096 stand for the others in the quick suite.
        const Tags& decode = s.in == 4096 && s.blocks == 64 ? quick : full;
        catalogue.monarch(with(with(decode, "decode"), layer.tag), type, s);
        catalogue.dense(with(with(decode, "decode"), layer.tag), type, {s.tokens, s.out, s.in});
    }
    for (const Sizes& s :
         {Sizes{1024, 1024, 1024, 32}, Sizes{256, 4096, 4096, 64}, Sizes{384, 768, 768, 4}}) {
        catalogue.multiply(quick, "monarch_blocked_beside_blocks", monarch_blocked_beside_blocks, type,
                           Verb::forward, s);
        catalogue.multiply(quick, "monarch_beside_blocks", monarch_beside_blocks, type, Verb::forward, s);
    }
    for (const std::uint64_t tokens : {1u, 256u})
        for (const auto& [n, blocks] : {std::pair{1024u, 4u}, std::pair{1024u, 32u}, std::pair{4096u, 16u}}) {
            const Tags& suite = n == 1024 ? quick : full;
            const Tags tags = tokens == 1 ? with(suite, "decode") : suite;
            catalogue.multiply(tags, "sparse_monarch", sparse_monarch, type, Verb::forward,
                               {tokens, n, n, blocks});
            catalogue.multiply(tags, "tile_sparse_monarch", tile_sparse_monarch, type, Verb::forward,
                               {tokens, n, n, blocks});
            if (tokens > 1)
                catalogue.multiply(tags, "sparse_monarch", sparse_monarch, type, Verb::transposed,
                                   {tokens, n, n, blocks});
        }
    catalogue.monarch(quick, type, {256, 1024, 1024, 32});
    catalogue.monarch(quick, type, {1024, 1024, 1024, 16});
    catalogue.monarch(quick, type, {1024, 1024, 1024, 32}, Verb::transposed);
    for (const Sizes& s : {Sizes{1024, 1024, 1024, 32}, Sizes{256, 4096, 4096, 64}, Sizes{384, 3072, 768, 4}})
        catalogue.monarch_backward(quick, type, s);
}

// Butterflies, of radix 2 and merged, and Monarch matrices of order 3.
void add_chains(Catalogue& catalogue, DataType type) {
    const std::pair<const char*, ChainRival> rivals[] = {{"chain_beside_dense", ChainRival::dense},
                                                         {"chain_beside_monarch", ChainRival::monarch}};
    for (const auto& [operation, rival] : rivals)
        for (const auto& [s, radix] : {std::pair{Sizes{256, 1024, 1024, 32}, 2u},
                                       {{256, 1024, 1024, 32}, 4u},
                                       {{256, 4096, 4096, 64}, 16u}}) {
            auto shape = shape_of(s);
            shape.emplace_back("radix", radix);
            catalogue.add(full, {operation,
                                 to_string(type),
                                 fmt::format("{}x{}x{}r{}", s.tokens, s.out, s.in, radix),
                                 std::move(shape),
                                 {},
                                 [type, s = s, radix = radix, rival = rival](Stream& stream) {
                                     return chain(stream, type, s, radix, rival);
                                 }});
        }
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

// Feed-forward layers whole, d features and 4d hidden ones behind the gate.
void add_feed_forward(Catalogue& catalogue, DataType type) {
    const auto add = [&](const Tags& tags, const std::string& operation, const Sizes& s, const auto& job) {
        catalogue.add(with(tags, "ffn"), {operation,
                                          to_string(type),
                                          fmt::format("{}x{}x{}", s.tokens, s.in, s.out),
                                          {{"tokens", s.tokens}, {"in", s.in}, {"hidden", s.out}},
                                          {},
                                          [=](Stream& stream) { return job(stream, type, s); }});
    };
    const std::pair<const char*, FfnPart> parts[] = {
        {"ffn_forward", FfnPart::forward}, {"ffn_backward", FfnPart::backward}, {"ffn_step", FfnPart::step}};
    const auto pass = [&](const Tags& tags, std::size_t part, const Sizes& s,
                          FfnRival rival = FfnRival::dense, Order order = Order::token_major) {
        const std::string suffix = std::string(order == Order::feature_major ? "_feature_major" : "") +
                                   (rival == FfnRival::gate       ? "_gate"
                                    : rival == FfnRival::row_wise ? "_tiles"
                                                                  : "");
        add(tags, parts[part].first + suffix, s,
            [=, what = parts[part].second](Stream& stream, DataType of, const Sizes& sizes) {
                return ffn(stream, of, sizes, what, rival, order);
            });
    };
    for (const std::uint64_t d : {768u, 1024u, 1280u, 1600u, 2048u, 4096u}) {
        const Sizes s{d == 4096 ? 64u : 256u, 4 * d, d};
        for (std::size_t part = 0; part < 3; ++part) {
            pass(d == 768 ? quick : full, part, s);
            pass(d == 768 ? quick : full, part, s, FfnRival::row_wise);
            if (d > 2048) continue;
            pass(full, part, s, FfnRival::gate);
            pass(full, part, s, FfnRival::token_major, Order::feature_major);
        }
        for (const bool refresh : {false, true})
            add(d == 768 ? quick : full, refresh ? "ffn_refresh" : "ffn_recompress", s,
                [refresh](Stream& stream, DataType of, const Sizes& sizes) {
                    return ffn_upkeep(stream, of, sizes, refresh);
                });
    }
    for (const std::uint64_t d : {768u, 2048u, 7168u})
        for (const std::uint64_t tokens : {1u, 4u, 16u}) {
            // A whole layer of 7168 and 4 · 7168 features would be more than the suite may take.
            const bool large = d == 7168;
            if (large && (type == DataType::f32 || tokens == 4)) continue;
            const Sizes s{tokens, large ? 2 * d : 4 * d, d};
            const Tags tags = with(d == 768 && tokens != 4 ? quick : full, "decode");
            if (!large) pass(tags, 0, s);
            pass(with(full, "decode"), 0, s, FfnRival::gate);
            if (large) pass(with(full, "decode"), 1, s, FfnRival::gate);
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

// Complex multiplies beside real ones of as many multiply-adds.
void add_complex(Catalogue& catalogue) {
    const auto add = [&](const char* operation, Job (*job)(Stream&, const Sizes&), const Sizes& s) {
        catalogue.add(quick, {operation,
                              to_string(DataType::complex64),
                              size_of_product(s, Verb::forward),
                              shape_of(s),
                              {},
                              [=](Stream& stream) { return job(stream, s); }});
    };
    add("matmul_complex", complex_dense, {512, 512, 512});
    add("matmul_complex", complex_dense, {1024, 1024, 1024});
    add("monarch_complex", complex_monarch, {1024, 1024, 1024, 32});
    add("monarch_complex", complex_monarch, {64, 4096, 4096, 64});
    add("dft", fourier, {64, 4096, 4096});
}

// Dense matrices projected: many small blocks, and few that take panels of columns. The largest takes minutes
// on a CPU.
void add_projections(Catalogue& catalogue) {
    const auto add = [&](const Tags& tags, std::uint64_t n, std::uint64_t blocks) {
        const Sizes s{0, n, n, blocks};
        catalogue.add(with(tags, "projection"), {"project",
                                                 to_string(DataType::f32),
                                                 fmt::format("{0}x{0}b{1}", n, blocks),
                                                 {{"out", n}, {"in", n}, {"blocks", blocks}},
                                                 {},
                                                 [=](Stream& stream) { return projection(stream, s); }});
    };
    add(quick, 1024, 32);
    add(full, 1024, 4);
    add(full, 4096, 64);
    add(full, 4096, 4);
}

// What cost grows with: tokens, features (with the square root's power of two of blocks), and blocks.
void add_sweeps(Catalogue& catalogue) {
    constexpr DataType type = DataType::f32;
    for (std::uint64_t tokens = 1; tokens <= 65536; tokens *= 4) {
        const Tags tags = with(tokens <= 4096 ? with(quick, "sweep") : sweep, "tokens");
        catalogue.dense(tags, type, {tokens, 1024, 1024});
        catalogue.monarch(tags, type, {tokens, 1024, 1024, 32});
        catalogue.sparse24(tags, type, {tokens, 1024, 1024});
    }
    for (std::uint64_t n = 256, blocks = 16; n <= 16384; n *= 2) {
        const Tags tags = with(n <= 4096 ? with(quick, "sweep") : sweep, "features");
        catalogue.dense(tags, type, {64, n, n});
        catalogue.monarch(tags, type, {64, n, n, blocks});
        catalogue.sparse24(tags, type, {64, n, n});
        if (blocks * blocks < 2 * n) blocks *= 2;
    }
    for (const std::uint64_t n : {512u, 1024u, 2048u, 4096u}) {
        const Tags tags = with(with(quick, "sweep"), "blocks");
        catalogue.dense(tags, type, {256, n, n});
        catalogue.sparse24(tags, type, {256, n, n});
        for (const std::uint64_t blocks : {4u, 16u, 64u}) catalogue.monarch(tags, type, {256u, n, n, blocks});
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
