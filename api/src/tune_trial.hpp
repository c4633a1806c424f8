// One problem with operands of its own, and every way to compute it.
#pragma once

#include "pack.hpp"
#include "tuning.hpp"

#include <functional>
#include <vector>

namespace danaus::detail {

class Trial {
public:
    struct Way {
        Choice choice;
        std::function<void(Recorder&)> record;  ///< valid while the trial lives
    };
    Trial(const Trial&) = delete;
    Trial& operator=(const Trial&) = delete;

    /// The first one is rules' choice.
    [[nodiscard]] const std::vector<Way>& ways() const { return ways_; }

    /// What the way makes of a result that was zero before.
    [[nodiscard]] std::vector<float> result(const Way& way);
    /// Whether it may be the same product, of which each element was summed in another order.
    [[nodiscard]] bool same(const std::vector<float>& result, const std::vector<float>& other) const;

protected:
    explicit Trial(Stream& stream) : stream_(stream) {}
    ~Trial() = default;

    /// A buffer for `span` elements from the view's offset on, which keeps its alignment, with random
    /// numbers.
    void place(MatrixView& view, std::uint64_t span);

    Stream& stream_;
    std::vector<Way> ways_;
    Tensor out_;              ///< all that ways may write
    double tolerance_ = 0.0;  ///< between two sums
    std::uint64_t seed_ = 1;
};

/// Allocates operands and fills them with random numbers. Throws Error(unsupported) where rules do not find a
/// way, Error(out_of_memory) where the operands do not fit.
class MultiplyTrial final : public Trial {
public:
    MultiplyTrial(Stream& stream, const MultiplyProblem& problem);

private:
    void add_ways(bool packed);
    void add_way(const Choice& choice, std::vector<MultiplyPlan> plans);
    void place_sparse();
    void place_picks();

    MultiplyProblem problem_;
    Tensor packed_;  // null where the weight cannot be packed
    PackLayout layout_;
};

/// Both factors at once against one after the other, which goes by the table in use. Epilogues are left out.
class MonarchTrial final : public Trial {
public:
    MonarchTrial(Stream& stream, const MonarchProblem& problem);
};

/// A stream that ways can be timed on.
[[nodiscard]] Stream tuning_stream(const Device& device);
/// Times ways that are known to compute the same, the first of which is kept where none is clearly faster.
[[nodiscard]] Entry compare_ways(Stream& stream, const std::vector<Trial::Way>& ways,
                                 const TuneOptions& options);

}  // namespace danaus::detail
