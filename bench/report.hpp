// Results as a table for people, and as JSON and CSV for programs (bench/README.md has the fields).
#pragma once

#include "cases.hpp"
#include "measure.hpp"
#include "rates.hpp"

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace danaus::bench {

struct Result {
    std::string name, operation, dtype, access;
    std::vector<std::pair<std::string, std::uint64_t>> shape;
    std::vector<std::string> tags;
    std::uint64_t multiply_adds = 0, bytes = 0;
    std::string yardstick;  ///< what OpenBLAS did; "" where nothing is compared
    std::uint64_t yardstick_multiply_adds = 0;
    std::string rival;                               ///< what else the device did; "" where there is none
    std::uint64_t copy_bytes = 0, master_bytes = 0;  ///< of weights in training; 0: not told
    Measurement measured;

    [[nodiscard]] double gflops() const;
    [[nodiscard]] double gigabytes_per_second() const;
    [[nodiscard]] double copies_of_master() const;
};

/// "memory", "arithmetic" or "launch": which of the three takes longest at the device's measured rates.
[[nodiscard]] const char* regime(const Result& result, const Rates& rates);

[[nodiscard]] nlohmann::ordered_json to_json(const Rates& rates);
[[nodiscard]] nlohmann::ordered_json to_json(const Result& result, const Rates& rates);

[[nodiscard]] std::string table_header(bool yardstick);
[[nodiscard]] std::string table_row(const Result& result, const Rates& rates, bool yardstick);
[[nodiscard]] std::string csv_header();
[[nodiscard]] std::string csv_row(const Result& result, const Rates& rates);

}  // namespace danaus::bench
