// Fewer kernels with the same combinations of constants: a greedy covering array over kernels that exist.
#include "corpus.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <queue>
#include <stdexcept>
#include <utility>

namespace danaus::lab {
namespace {

// Calls visit(constants) for every choice of `strength` of `count` constants, ascending.
template <typename Visit>
void for_choices(std::size_t count, std::size_t strength, std::vector<std::size_t>& chosen,
                 const Visit& visit) {
    if (chosen.size() == strength) return visit(chosen);
    for (std::size_t i = chosen.empty() ? 0 : chosen.back() + 1; i < count; ++i) {
        chosen.push_back(i);
        for_choices(count, strength, chosen, visit);
        chosen.pop_back();
    }
}

// For every kernel the numbers of the combinations that it has.
struct Combinations {
    std::vector<std::vector<std::uint32_t>> of_kernel;
    std::size_t count = 0;
};

// The different values of constant `place`, and which of them each kernel has.
struct Values {
    Values(const Kernels& kernels, std::size_t place) {
        std::map<std::uint32_t, std::size_t> seen;
        for (const kernels::Kernel& kernel : kernels) {
            const auto [found, fresh] = seen.emplace(kernel.constants[place], seen.size());
            of_kernel.push_back(found->second);
        }
        count = seen.size();
    }
    std::vector<std::size_t> of_kernel;
    std::size_t count = 0;
};

Combinations combinations(const Kernels& kernels, unsigned strength) {
    constexpr auto none = std::numeric_limits<std::uint32_t>::max();
    const std::size_t constants = kernels.front().count;
    std::vector<Values> values;
    for (std::size_t place = 0; place < constants; ++place) values.emplace_back(kernels, place);
    Combinations result;
    result.of_kernel.resize(kernels.size());
    std::vector<std::size_t> chosen;
    for_choices(constants, std::min<std::size_t>(strength, constants), chosen, [&](const auto& places) {
        std::size_t possible = 1;
        for (const std::size_t place : places) possible *= values[place].count;
        std::vector<std::uint32_t> numbers(possible, none);
        for (std::size_t i = 0; i < kernels.size(); ++i) {
            std::size_t key = 0;
            for (const std::size_t place : places)
                key = key * values[place].count + values[place].of_kernel[i];
            if (numbers[key] == none) numbers[key] = static_cast<std::uint32_t>(result.count++);
            result.of_kernel[i].push_back(numbers[key]);
        }
    });
    return result;
}

}  // namespace

Kernels covering(const Kernels& kernels, unsigned strength) {
    if (strength == 0) throw std::invalid_argument("strength: 0, at least 1 is needed");
    if (kernels.empty()) return {};
    Kernels sorted = kernels;
    std::sort(sorted.begin(), sorted.end(),
              [](const auto& a, const auto& b) { return a.constants < b.constants; });
    const Combinations all = combinations(sorted, strength);
    std::vector<bool> covered(all.count);
    const auto gain = [&](std::size_t i) {
        return std::count_if(all.of_kernel[i].begin(), all.of_kernel[i].end(),
                             [&](std::uint32_t number) { return !covered[number]; });
    };
    // Gains only shrink, so the first of the queue whose gain is still the one it was queued with is the
    // best; of equal ones the first in order.
    using Entry = std::pair<std::ptrdiff_t, std::ptrdiff_t>;  // gain, -index
    std::priority_queue<Entry> queue;
    for (std::size_t i = 0; i < sorted.size(); ++i) queue.push({gain(i), -static_cast<std::ptrdiff_t>(i)});
    std::vector<std::size_t> taken;
    while (!queue.empty()) {
        const auto [queued, minus] = queue.top();
        queue.pop();
        const auto i = static_cast<std::size_t>(-minus);
        const std::ptrdiff_t now = gain(i);
        if (now == 0) continue;
        if (now != queued) {
            queue.push({now, minus});
            continue;
        }
        taken.push_back(i);
        for (const std::uint32_t number : all.of_kernel[i]) covered[number] = true;
    }
    std::sort(taken.begin(), taken.end());
    Kernels result;
    for (const std::size_t i : taken) result.push_back(sorted[i]);
    return result;
}

}  // namespace danaus::lab
