// One device for a whole test program, opened with validation, and a message from the layers is a failure.
#pragma once

#include <danaus/danaus.hpp>

#include <functional>
#include <string>
#include <vector>

namespace danaus::test {

/// The access mode that this run of the program tests: `--access=address` or `--access=descriptor`.
[[nodiscard]] Access access();

/// The program's device. Opened on first use with core and synchronization validation, unless the program was
/// started with `--no-validation`, and capped by `--simulate=NAME` (support/simulated.hpp): a machine with a
/// driver and no layers can then run the tests too.
[[nodiscard]] Device device();

/// Another device with the same options, its capabilities lowered by `cap`.
[[nodiscard]] Device capped_device(const std::function<void(Capabilities&)>& cap);
/// Options of the program's device, for tests that open their own.
[[nodiscard]] DeviceOptions device_options();

/// Validation messages since the last call. A test that provokes messages takes them; whatever is left at the
/// end of a test fails it.
[[nodiscard]] std::vector<std::string> take_messages();

/// The kind and text of the Error that `action` throws; kind and text are empty when it throws nothing.
struct Caught {
    bool thrown = false;
    ErrorKind kind = ErrorKind::vulkan;
    std::string text;
};
[[nodiscard]] Caught caught(const std::function<void()>& action);

/// Fails unless `action` throws an Error of `kind` whose one-line text holds every one of `parts`.
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, const std::function<void()>& action);

/// A tensor of `shape` inside a larger buffer: `guard` elements on either side hold a sentinel, the elements
/// in between are poisoned with NaN (an all-ones pattern for integers). check() fails when a sentinel
/// changed. With `pitch` > 0 rows (the last dimension) are that many elements apart and the gaps are guarded
/// too.
class Guarded {
public:
    Guarded(Stream& stream, DataType type, const Shape& shape, std::uint64_t pitch = 0,
            std::uint64_t skew = 0);
    [[nodiscard]] const Tensor& tensor() const { return tensor_; }
    void check(Stream& stream, const std::string& what = {}) const;

private:
    Tensor tensor_;
    std::vector<bool> inside_;  // per half word of the buffer
};

}  // namespace danaus::test
