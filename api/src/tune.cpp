// Measuring the ways to compute a problem, and putting the best into the device's table.
#include "check.hpp"
#include "split_sum.hpp"
#include "tune_trial.hpp"
#include "tuning.hpp"

#include <danaus/runtime/layers.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace danaus {
namespace detail {
namespace {

using Clock = std::chrono::steady_clock;
using Outcome = Measured::Outcome;

constexpr double hopeless = 1.3;  // times the best median so far
constexpr double tie = 1.02;      // rules keep what is no slower than this
constexpr std::size_t rounds_before_dropping = 2;

double nanoseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

// Times by the device's clock where it has one.
class Timer {
public:
    explicit Timer(Stream& stream)
        : stream_(stream), stamps_(stream.device().capabilities().timestamp_bits > 0) {}

    /// Nanoseconds of one run: of `count` after `before` that do not count, the median, or by the host's
    /// clock the mean.
    [[nodiscard]] double run(const Trial::Way& way, std::size_t before, std::size_t count) {
        stream_.finish();
        static_cast<void>(stream_.timings());
        if (!stamps_) {
            repeat(way, before);
            const Clock::time_point start = Clock::now();
            repeat(way, count);
            return nanoseconds_since(start) / static_cast<double>(count);
        }
        repeat(way, before + count);
        const std::vector<Timing> timings = stream_.timings();
        const std::size_t dispatches = timings.size() / (before + count);
        Measured runs;
        for (std::size_t i = before; i < before + count; ++i) {
            double sum = 0.0;
            for (std::size_t j = 0; j < dispatches; ++j) sum += timings[i * dispatches + j].nanoseconds;
            runs.nanoseconds.push_back(static_cast<std::uint64_t>(sum));
        }
        return runs.median();
    }

private:
    void repeat(const Trial::Way& way, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) way.record(stream_);
        stream_.finish();
    }
    Stream& stream_;
    bool stamps_;
};

// One way on its way through the rounds.
struct Runner {
    const Trial::Way* way;
    Measured measured;
    std::size_t repetitions = 1, warmups = 1;
};

// Short runs are repeated, so that a sample is about two milliseconds; long ones need no warming up.
void sample(Timer& timer, Runner& runner) {
    const double time = timer.run(*runner.way, runner.warmups, runner.repetitions);
    runner.measured.nanoseconds.push_back(static_cast<std::uint64_t>(std::max(time, 1.0)));
    runner.repetitions = static_cast<std::size_t>(std::clamp(2e6 / std::max(time, 1.0), 1.0, 20.0));
    runner.warmups = time > 2e7 ? 0 : 1;
}

// Runs every way once; those that fail or are wrong are out.
std::vector<Runner> verified(const Device& device, Trial& trial) {
    std::vector<Runner> runners;
    std::vector<float> expected;
    for (const Trial::Way& way : trial.ways()) {
        Runner runner{&way, {way.choice, Outcome::kept, {}}};
        try {
            std::vector<float> result = trial.result(way);
            if (runners.empty())
                expected = std::move(result);
            else if (!trial.same(result, expected))
                runner.measured.outcome = Outcome::wrong;
        } catch (const Error& error) {
            // Rules' choice has to work; of others it is only known that they should.
            if (runners.empty() ||
                (error.kind() != ErrorKind::unsupported && error.kind() != ErrorKind::out_of_memory))
                throw;
            runner.measured.outcome = Outcome::failed;
        }
        if (runner.measured.outcome == Outcome::wrong)
            runtime::warn(device, fmt::format("tune: {} gives another result than {} and is left out",
                                              to_string(way.choice), to_string(trial.ways()[0].choice)));
        runners.push_back(std::move(runner));
    }
    return runners;
}

double best_median(const std::vector<Runner>& runners) {
    double best = 0.0;
    for (const Runner& one : runners)
        if (one.measured.outcome == Outcome::kept && (best == 0.0 || one.measured.median() < best))
            best = one.measured.median();
    return best;
}

void take_rounds(Timer& timer, std::vector<Runner>& runners, const TuneOptions& options) {
    const Clock::time_point start = Clock::now();
    for (std::size_t round = 0; round < options.rounds; ++round) {
        if (round >= least_samples && nanoseconds_since(start) > 1e9 * options.seconds) return;
        // Every round begins with another one, so that none always follows the same neighbour's heat.
        for (std::size_t i = 0; i < runners.size(); ++i) {
            Runner& one = runners[(i + round) % runners.size()];
            if (one.measured.outcome == Outcome::kept) sample(timer, one);
        }
        if (round + 1 < rounds_before_dropping) continue;
        const double limit = hopeless * best_median(runners);
        // Rules' choice stays: what is gained over it is to be known.
        for (std::size_t i = 1; i < runners.size(); ++i) {
            Measured& one = runners[i].measured;
            if (one.outcome == Outcome::kept && one.median() > limit) one.outcome = Outcome::dropped;
        }
    }
}

// The best median of many is partly luck: it has to hold in new samples, against rules' choice alone.
std::size_t winner(Timer& timer, std::vector<Runner>& runners) {
    const double best = best_median(runners);
    if (runners[0].measured.median() <= tie * best) return 0;
    std::size_t fastest = 0;
    while (runners[fastest].measured.outcome != Outcome::kept || runners[fastest].measured.median() != best)
        ++fastest;
    Measured rules, rival;
    for (std::size_t round = 0; round < least_samples; ++round)
        for (const auto& [index, fresh] : {std::pair{std::size_t{0}, &rules}, {fastest, &rival}}) {
            sample(timer, runners[index]);
            fresh->nanoseconds.push_back(runners[index].measured.nanoseconds.back());
        }
    return rules.median() <= tie * rival.median() ? 0 : fastest;
}

TunedProblem report_of(const ProblemKey& key, const Entry& entry) {
    TunedProblem report;
    report.problem = to_string(key);
    const Measured &rules = entry.measured[entry.rules], &best = entry.measured[entry.chosen];
    report.rules = to_string(rules.choice);
    report.best = to_string(best.choice);
    report.rules_nanoseconds = rules.median();
    report.best_nanoseconds = best.median();
    report.candidates = entry.measured.size();
    for (const Measured& one : entry.measured) {
        report.dropped += one.outcome == Outcome::dropped;
        report.refused += one.outcome == Outcome::wrong || one.outcome == Outcome::failed;
    }
    return report;
}

}  // namespace

void ProblemCollector::add(const MultiplyProblem& problem) {
    if (problem.k != 0) add(key_of(problem, device().access()), problem);
}

void ProblemCollector::add(const MonarchProblem& problem) {
    // Where there is one way there is nothing to choose.
    const Device on = device();
    if (!fused_candidates(problem, on.capabilities(), on.access()).empty())
        add(key_of(problem, on.access()), problem);
}

void ProblemCollector::add(const ProblemKey& key,
                           const std::variant<MultiplyProblem, MonarchProblem>& problem) {
    const bool known = std::any_of(found.begin(), found.end(), [&](const Found& f) { return f.key == key; });
    if (!known) found.push_back({key, problem});
}

Stream tuning_stream(const Device& device) {
    StreamOptions options;
    options.profile = device.capabilities().timestamp_bits > 0;
    return Stream(device, options);
}

namespace {

Entry race(Stream& stream, std::vector<Runner> runners, const TuneOptions& options) {
    Timer timer(stream);
    take_rounds(timer, runners, options);
    Entry entry;
    entry.chosen = winner(timer, runners);
    for (Runner& one : runners) entry.measured.push_back(std::move(one.measured));
    return entry;
}

template <typename TrialType, typename Problem>
Entry measure(const Device& device, const Problem& problem, const TuneOptions& options) {
    Stream stream = tuning_stream(device);
    TrialType trial(stream, problem);
    return race(stream, verified(device, trial), options);
}

}  // namespace

Entry compare_ways(Stream& stream, const std::vector<Trial::Way>& ways, const TuneOptions& options) {
    std::vector<Runner> runners;
    for (const Trial::Way& way : ways) runners.push_back({&way, {way.choice, Outcome::kept, {}}});
    return race(stream, std::move(runners), options);
}

Entry measure_problem(const Device& device, const MultiplyProblem& problem, const TuneOptions& options) {
    return measure<MultiplyTrial>(device, problem, options);
}

Entry measure_problem(const Device& device, const MonarchProblem& problem, const TuneOptions& options) {
    return measure<MonarchTrial>(device, problem, options);
}

}  // namespace detail

using namespace detail;

TuneResult tune(const Device& device, const std::function<void(Recorder&)>& record,
                const TuneOptions& options) {
    require(static_cast<bool>(device), "tune: a null device handle");
    require(options.rounds >= least_samples, "tune: rounds {}, at least {}", options.rounds, least_samples);
    ProblemCollector collector(device);
    record(collector);
    TuneResult result;
    const TuningTable before = tuning_in_use(device);
    std::map<ProblemKey, Entry> entries;
    for (const ProblemCollector::Found& one : collector.found) {
        TunedProblem report;
        report.problem = to_string(one.key);
        try {
            if (!options.again && before.data() && before.data()->entries.contains(one.key)) {
                report.skipped = "the table in use knows it";
            } else if (const auto* sum = std::get_if<MultiplyProblem>(&one.problem);
                       sum && rules_split(*sum, device)) {
                report.skipped = "rules compute its sum in parts, which have keys of their own";
            } else {
                const Entry& entry = entries[one.key] =
                    std::visit([&](const auto& problem) { return measure_problem(device, problem, options); },
                               one.problem);
                report = report_of(one.key, entry);
            }
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::unsupported && error.kind() != ErrorKind::out_of_memory) throw;
            report.skipped = error.what();
        }
        if (options.on_problem) options.on_problem(report);
        result.problems.push_back(std::move(report));
    }
    result.table = entries.empty() ? before : add_to_tuning(device, std::move(entries));
    return result;
}

}  // namespace danaus
