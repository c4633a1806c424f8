// Which barriers a sequence of accesses gets, against a model that compares every pair of accesses.
#include "hazards.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace danaus::runtime {
namespace {

bool admit(HazardTracker& tracker, const std::vector<Interval>& accesses) {
    return tracker.admit(accesses);
}

Interval read(std::uint64_t begin, std::uint64_t end, std::uint64_t key = 1) {
    return {key, begin, end, false};
}
Interval write(std::uint64_t begin, std::uint64_t end, std::uint64_t key = 1) {
    return {key, begin, end, true};
}

TEST(Hazards, ConflictIsOverlapWithAWrite) {
    EXPECT_TRUE(write(0, 8).conflicts(read(4, 12)));
    EXPECT_TRUE(read(0, 8).conflicts(write(4, 12)));
    EXPECT_TRUE(write(0, 8).conflicts(write(7, 8)));
    EXPECT_FALSE(read(0, 8).conflicts(read(0, 8)));
    EXPECT_FALSE(write(0, 8).conflicts(write(8, 16))) << "neighbours";
    EXPECT_FALSE(write(8, 16).conflicts(read(0, 8)));
    EXPECT_FALSE(write(0, 8, 1).conflicts(write(0, 8, 2))) << "different buffers";
    EXPECT_TRUE(write(0, UINT64_MAX).conflicts(read(1ull << 62, (1ull << 62) + 4))) << "whole alias group";
}

TEST(Hazards, ABarrierSettlesEverythingBefore) {
    HazardTracker tracker;
    EXPECT_FALSE(admit(tracker, {write(0, 4, 1), write(0, 4, 2)}));
    EXPECT_TRUE(admit(tracker, {read(0, 4, 1), write(0, 4, 3)}));
    EXPECT_FALSE(admit(tracker, {read(0, 4, 2)})) << "the barrier was global";
    EXPECT_TRUE(admit(tracker, {write(0, 4, 1)})) << "write after the read behind the barrier";
}

TEST(Hazards, AccessesOfOnePacketDoNotConflictWithEachOther) {
    HazardTracker tracker;
    EXPECT_FALSE(admit(tracker, {read(0, 8), write(0, 8)}));
    EXPECT_TRUE(admit(tracker, {read(0, 8), write(0, 8)}));
}

TEST(Hazards, DirtyAsksForABarrierOnce) {
    HazardTracker tracker;
    tracker.assume_dirty();
    EXPECT_TRUE(admit(tracker, {read(0, 4)}));
    EXPECT_FALSE(admit(tracker, {read(0, 4)}));
    tracker.assume_dirty();
    tracker.clear();
    EXPECT_FALSE(admit(tracker, {write(8, 12)}));
}

TEST(Hazards, PastTheLimitABarrierIsAskedFor) {
    HazardTracker tracker;
    for (std::uint64_t i = 0; i < HazardTracker::limit; ++i)
        ASSERT_FALSE(admit(tracker, {write(4 * i, 4 * i + 4)})) << i;
    EXPECT_TRUE(admit(tracker, {write(4096, 4100)}));
    // What came with the barrier is remembered, and counts towards the next limit.
    for (std::uint64_t i = 1; i < HazardTracker::limit; ++i)
        ASSERT_FALSE(admit(tracker, {write(4096 + 4 * i, 4100 + 4 * i)})) << i;
    EXPECT_TRUE(admit(tracker, {write(0, 4)}));
}

// The model keeps all accesses of all steps, and compares every pair.
RC_GTEST_PROP(Hazards, BarriersSeparateConflictsAndNothingElse, ()) {
    struct Step {
        std::vector<Interval> accesses;
        bool dirty;
    };
    const auto interval = rc::gen::exec([] {
        const auto begin = *rc::gen::inRange<std::uint64_t>(0, 200);
        return Interval{*rc::gen::inRange<std::uint64_t>(1, 4), begin,
                        begin + *rc::gen::inRange<std::uint64_t>(1, 20), *rc::gen::arbitrary<bool>()};
    });
    const auto step = rc::gen::exec([&] {
        return Step{*rc::gen::resize(8, rc::gen::container<std::vector<Interval>>(interval)),
                    *rc::gen::weightedElement<bool>({{20, false}, {1, true}})};
    });
    const auto steps = *rc::gen::resize(120, rc::gen::container<std::vector<Step>>(step)).as("steps");

    HazardTracker tracker;
    std::vector<std::size_t> epoch(steps.size());  // barriers before the step
    std::size_t barriers = 0;
    for (std::size_t now = 0; now < steps.size(); ++now) {
        if (steps[now].dirty) tracker.assume_dirty();
        const bool asked = admit(tracker, steps[now].accesses);
        bool conflict = false;
        std::size_t since = steps[now].accesses.size();
        for (std::size_t before = 0; before < now; ++before) {
            if (epoch[before] != barriers) continue;  // a barrier stands between
            since += steps[before].accesses.size();
            for (const Interval& a : steps[before].accesses)
                for (const Interval& b : steps[now].accesses) conflict = conflict || a.conflicts(b);
        }
        const bool full = since > HazardTracker::limit;
        RC_ASSERT(asked == (conflict || full || steps[now].dirty));
        if (asked) ++barriers;
        epoch[now] = barriers;
    }
}

}  // namespace
}  // namespace danaus::runtime
