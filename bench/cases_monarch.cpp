#include "catalogue.hpp"

#include <fmt/format.h>

namespace danaus::bench {

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

// Squares of n features by 2 to n / 16 blocks, with one token and with many, each beside separate permutation
// passes, and the dense multiply of the same n.
void add_grid(Catalogue& catalogue, DataType type) {
    constexpr std::uint64_t many = 64;  // 256 tokens take a CPU more than a second with 16384 features
    const bool f32 = type == DataType::f32;
    for (std::uint64_t n = 256; n <= (f32 ? 16384 : 4096); n *= 2)
        for (const std::uint64_t tokens : {std::uint64_t{1}, many}) {
            catalogue.dense({"grid"}, type, {tokens, n, n});
            for (std::uint64_t blocks = 2; blocks <= n / 16; blocks *= 2) {
                Tags tags{"grid"};
                // What cost grows with (add_sweeps): features, with the square root's power of two of blocks,
                // and blocks.
                if (f32 && tokens == many) {
                    const bool root = blocks * blocks >= n && blocks * blocks < 4 * n;
                    const bool some = n >= 512 && n <= 4096 && (blocks == 4 || blocks == 16 || blocks == 64);
                    if (root) tags.insert(tags.end(), {"sweep", "features"});
                    if (some) tags.insert(tags.end(), {"sweep", "blocks"});
                    if (n <= 4096 && (root || some)) tags.insert(tags.end(), quick.begin(), quick.end());
                }
                catalogue.multiply(tags, "monarch_beside_passes", monarch_beside_passes, type, Verb::forward,
                                   {tokens, n, n, blocks});
            }
        }
}

}  // namespace danaus::bench
