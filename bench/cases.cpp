#include "cases.hpp"

#include "jobs.hpp"

#include <fmt/format.h>

namespace danaus::bench {
namespace {

std::string prefix(Verb verb) {
    return verb == Verb::transposed ? "_transposed" : verb == Verb::gradient ? "_weight_gradient" : "";
}

std::vector<std::pair<std::string, std::uint64_t>> shape_of(const Sizes& s) {
    std::vector<std::pair<std::string, std::uint64_t>> shape{
        {"tokens", s.tokens}, {"out", s.out}, {"in", s.in}};
    if (s.blocks > 1) shape.emplace_back("blocks", s.blocks);
    return shape;
}

// Rows × columns × contraction of the dense product that the verb stands for.
std::string size_of_product(const Sizes& s, Verb verb) {
    const std::string blocks = s.blocks > 1 ? fmt::format("b{}", s.blocks) : "";
    if (verb == Verb::transposed) return fmt::format("{}x{}x{}{}", s.tokens, s.in, s.out, blocks);
    if (verb == Verb::gradient) return fmt::format("{}x{}x{}{}", s.out, s.in, s.tokens, blocks);
    return fmt::format("{}x{}x{}{}", s.tokens, s.out, s.in, blocks);
}

void add_copies(std::vector<Case>& cases) {
    const auto add = [&](const char* operation, DataType from, DataType to, std::uint64_t size,
                         std::uint64_t pitch, bool transpose) {
        const std::string dtype =
            from == to ? to_string(from) : fmt::format("{}-{}", to_string(from), to_string(to));
        cases.push_back(
            {operation,
             dtype,
             fmt::format("{0}x{0}", size),
             {{"rows", size}, {"columns", size}},
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
}

}  // namespace

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    add_copies(cases);
    for (const DataType type : {DataType::f32, DataType::f16}) {
        const auto add = [&](std::string operation, std::string size, const Sizes& s,
                             std::function<Job(Stream&)> prepare) {
            cases.push_back(
                {std::move(operation), to_string(type), std::move(size), shape_of(s), std::move(prepare)});
        };
        const auto multiply = [&](const char* operation, auto job, Verb verb, std::vector<Sizes> sizes) {
            for (const Sizes& s : sizes)
                add(operation + prefix(verb), size_of_product(s, verb), s,
                    [=](Stream& stream) { return job(stream, type, s, verb); });
        };
        multiply("matmul", dense, Verb::forward,
                 {{64, 64, 64}, {512, 512, 512}, {1024, 1024, 1024}, {384, 3072, 768}, {1, 4096, 4096}});
        multiply("matmul", dense, Verb::transposed, {{512, 512, 512}, {1024, 1024, 1024}});
        multiply("matmul", dense, Verb::gradient, {{256, 512, 512}, {1024, 1024, 1024}});
        const std::vector<Sizes> blocks{{1024, 1024, 1024, 16}, {1024, 1024, 1024, 4}};
        for (const Verb verb : {Verb::forward, Verb::transposed, Verb::gradient})
            multiply("block_diagonal", block_diagonal, verb, blocks);
        multiply("monarch", monarch, Verb::forward,
                 {{256, 1024, 1024, 32},
                  {1024, 1024, 1024, 16},
                  {1024, 1024, 1024, 32},
                  {256, 4096, 4096, 64},
                  {384, 3072, 768, 4},
                  {1, 4096, 4096, 64}});
        multiply("monarch", monarch, Verb::transposed, {{1024, 1024, 1024, 32}});
        for (const Sizes s :
             {Sizes{1024, 1024, 1024, 32}, Sizes{256, 4096, 4096, 64}, Sizes{384, 3072, 768, 4}})
            add("monarch_backward", size_of_product(s, Verb::forward), s,
                [=](Stream& stream) { return monarch_backward(stream, type, s); });
        multiply("sparse24", sparse24, Verb::forward,
                 {{512, 512, 512}, {1024, 1024, 1024}, {384, 3072, 768}, {1, 4096, 4096}});
        multiply("sparse24", sparse24, Verb::transposed, {{1024, 1024, 1024}});
        const Sizes features{1024, 4096, 4096};
        for (const std::uint64_t a : {std::uint64_t{64}, std::uint64_t{0}})
            add(a ? "permutation_stride" : "permutation_indices", "1024x4096", features,
                [=](Stream& stream) { return permutation(stream, type, features, a); });
    }
    return cases;
}

}  // namespace danaus::bench
