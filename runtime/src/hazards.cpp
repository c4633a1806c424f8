#include "hazards.hpp"

#include <algorithm>

namespace danaus::runtime {

bool HazardTracker::admit(std::span<const Interval> accesses) {
    const bool barrier =
        dirty_ || accesses_.size() + accesses.size() > limit ||
        std::any_of(accesses.begin(), accesses.end(), [&](const Interval& now) {
            return std::any_of(accesses_.begin(), accesses_.end(),
                               [&](const Interval& before) { return now.conflicts(before); });
        });
    if (barrier) clear();
    accesses_.insert(accesses_.end(), accesses.begin(), accesses.end());
    return barrier;
}

void HazardTracker::clear() {
    accesses_.clear();
    dirty_ = false;
}

}  // namespace danaus::runtime
