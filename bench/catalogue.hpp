// The list of cases under construction, and what the files that fill it share.
#pragma once

#include "jobs.hpp"

#include <algorithm>

namespace danaus::bench {

[[nodiscard]] std::string suffix(Verb verb);
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> shape_of(const Sizes& sizes);
/// Rows × columns × contraction of the dense product that the verb stands for.
[[nodiscard]] std::string size_of_product(const Sizes& sizes, Verb verb);

using Tags = std::vector<std::string>;

/// A case that is added again gets the tags of both.
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

inline const Tags quick{"quick", "full"}, full{"full"}, sweep{"sweep"};
[[nodiscard]] Tags with(Tags tags, const char* tag);

// cases_training.cpp: 2:4 training, masks to whole feed-forward layers.
void add_masks(Catalogue& catalogue, DataType type);
void add_tiles(Catalogue& catalogue, DataType type);
void add_gated(Catalogue& catalogue, DataType type);
void add_feed_forward(Catalogue& catalogue, DataType type);

// cases_monarch.cpp: Monarch matrices and what is made of them.
void add_layers(Catalogue& catalogue, DataType type);
void add_chains(Catalogue& catalogue, DataType type);
void add_complex(Catalogue& catalogue);
void add_projections(Catalogue& catalogue);
void add_grid(Catalogue& catalogue, DataType type);

}  // namespace danaus::bench
