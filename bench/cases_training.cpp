#include "catalogue.hpp"

#include <fmt/format.h>

namespace danaus::bench {

namespace {

// What is done to a weight of 4096 × 4096.
template <typename Work>
void add_weight(Catalogue& catalogue, DataType type, const char* operation,
                Job (*job)(Stream&, DataType, const Sizes&, Work), Work work) {
    const auto prepare = [=](Stream& stream) { return job(stream, type, {0, 4096, 4096}, work); };
    catalogue.add(with(quick, "copy"),
                  {operation, to_string(type), "4096x4096", {{"out", 4096}, {"in", 4096}}, {}, prepare});
}

}  // namespace

// Masks and the compressed form: kernels that memory should bound.
void add_masks(Catalogue& catalogue, DataType type) {
    const std::pair<const char*, MaskVerb> verbs[] = {
        {"sparse24_select_mask", MaskVerb::select},
        {"transposable_select_mask", MaskVerb::select_transposable},
        {"sparse24_apply_mask", MaskVerb::apply},
        {"sparse24_compress", MaskVerb::compress},
        {"sparse24_compress_by_magnitude", MaskVerb::select_and_compress},
        {"sparse24_to_dense", MaskVerb::expand}};
    for (const auto& [operation, verb] : verbs) add_weight(catalogue, type, operation, masking, verb);
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
        add_weight(catalogue, type, operation, tile_compression, verb);
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

}  // namespace danaus::bench
