// One problem with operands of its own, and every way to compute it.
#pragma once

#include "pack.hpp"
#include "tuning.hpp"

#include <vector>

namespace danaus::detail {

class Trial {
public:
    /// Allocates operands and fills them with random numbers. Throws Error(unsupported) where rules do not
    /// find a way, Error(out_of_memory) where the operands do not fit.
    Trial(Stream& stream, const MultiplyProblem& problem);

    struct Way {
        Choice choice;
        std::vector<MultiplyPlan> plans;
    };
    /// The first one is rules' choice.
    [[nodiscard]] const std::vector<Way>& ways() const { return ways_; }
    void record(Recorder& recorder, const Way& way) const;

    /// What the way makes of a result that was zero before.
    [[nodiscard]] std::vector<float> result(const Way& way);
    /// Whether it may be the same product, of which each element was summed in another order.
    [[nodiscard]] bool same(const std::vector<float>& result, const std::vector<float>& other) const;

private:
    void add_ways(bool packed);
    /// A buffer for `span` elements from the view's offset on, which keeps its alignment.
    void place(MatrixView& view, std::uint64_t span);
    void place_sparse();
    void place_picks();
    [[nodiscard]] Tensor whole(const MatrixView& view) const;

    Stream& stream_;
    MultiplyProblem problem_;
    Tensor packed_;  // null where the weight cannot be packed
    PackLayout layout_;
    std::vector<Way> ways_;
    std::uint64_t seed_ = 1;
};

}  // namespace danaus::detail
