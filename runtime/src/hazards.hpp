// Which barriers a sequence of accesses needs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace danaus::runtime {

/// Bytes [begin, end) of the memory that `key` names, read or written.
struct Interval {
    std::uint64_t key = 0;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool write = false;

    [[nodiscard]] bool conflicts(const Interval& other) const {
        return key == other.key && (write || other.write) && begin < other.end && other.begin < end;
    }
};

/// Remembers what was accessed since the last barrier of one queue. A new access that overlaps a remembered
/// one, at least one of the two writing, needs a barrier; one global memory barrier settles everything
/// remembered. Past `limit` intervals a barrier is asked for as well: looking further would cost more than it
/// saves.
class HazardTracker {
public:
    static constexpr std::size_t limit = 64;

    /// Remembers `accesses` and returns whether the caller must record a barrier before them.
    [[nodiscard]] bool admit(std::span<const Interval> accesses);

    /// Everything before is unknown: the next admit() asks for a barrier.
    void assume_dirty() { dirty_ = true; }
    [[nodiscard]] bool is_dirty() const { return dirty_; }
    /// Somebody else recorded a barrier for everything.
    void clear();

private:
    std::vector<Interval> accesses_;
    bool dirty_ = false;
};

}  // namespace danaus::runtime
