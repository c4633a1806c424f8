#include "corpus.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace danaus::lab {
namespace {

bool before(const kernels::Kernel& a, const kernels::Kernel& b) {
    return std::pair(a.module, a.constants) < std::pair(b.module, b.constants);
}

}  // namespace

std::string short_name(const kernels::Kernel& kernel) {
    const auto& info = kernels::info(kernel.module);
    return fmt::format("{} {}", info.name,
                       fmt::join(kernel.constants.begin(), kernel.constants.begin() + kernel.count, ","));
}

Corpus corpus_of(Kernels chosen, const Capabilities& capabilities, Access access, unsigned strength) {
    std::sort(chosen.begin(), chosen.end(), before);
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    std::map<kernels::Module, Kernels> modules;
    for (const kernels::Kernel& kernel : chosen) {
        if (const std::string wrong = kernels::check(kernel); !wrong.empty())
            throw std::logic_error("a plan chose a kernel that shaders/kernels.json does not admit: " +
                                   wrong);
        modules[kernel.module].push_back(kernel);
    }
    Corpus result;
    result.chosen = chosen.size();
    for (std::size_t i = 0; i < kernels::module_count; ++i) {
        const auto module = static_cast<kernels::Module>(i);
        const std::string name(kernels::info(module).name);
        if (const std::string reason = unusable_reason(module, capabilities, access); !reason.empty()) {
            result.unusable.push_back(name + ": " + reason);
            continue;
        }
        const Kernels& all = modules[module];
        if (all.empty() && name.starts_with("matmul_coopmat")) {
            result.unusable.push_back(name + ": no plan chooses its matrix units");
            continue;
        }
        if (all.empty())
            throw std::logic_error(
                fmt::format("no operation of the corpus reaches module {}; add calls that choose it to "
                            "lab/operations.cpp",
                            name));
        const Kernels some = all.size() <= small_module ? all : covering(all, strength);
        result.kernels.insert(result.kernels.end(), some.begin(), some.end());
    }
    if (strength <= 2 && result.kernels.size() > most_kernels)
        throw std::logic_error(fmt::format("the corpus has {} kernels, at most {} are meant",
                                           result.kernels.size(), most_kernels));
    return result;
}

Corpus corpus(const Device& device, unsigned strength, std::uint64_t one_in) {
    Kernels chosen = multiply_kernels(device.capabilities(), device.access(), one_in);
    const Kernels others = operation_kernels(device);
    chosen.insert(chosen.end(), others.begin(), others.end());
    return corpus_of(std::move(chosen), device.capabilities(), device.access(), strength);
}

}  // namespace danaus::lab
