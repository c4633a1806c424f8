#include "support/device.hpp"

#include "support/simulated.hpp"
#include "support/split_heaps.hpp"

#include <cstring>
#include <mutex>

#include <gtest/gtest.h>

namespace danaus::test {
namespace {

// A test program's own state, shared by its tests.
struct Program {
    Access access = Access::address;
    bool validation = true;
    const Simulation* simulation = nullptr;
    std::mutex mutex;
    std::vector<std::string> messages;
    Device device;
};

Program& program() {
    static Program instance;
    return instance;
}

class Messages final : public ::testing::EmptyTestEventListener {
    void OnTestEnd(const ::testing::TestInfo&) override {
        for (const std::string& message : take_messages()) ADD_FAILURE() << "validation: " << message;
        for (const std::string& message : take_heap_violations()) ADD_FAILURE() << message;
    }
};

class Environment final : public ::testing::Environment {
    void TearDown() override {
        program().device.close();
        program().device = {};
        if (program().simulation && program().simulation->split_heaps) {
            const HeapUse use = heap_use();
            EXPECT_GT(use.device, 0u);
            // Staging memory prefers what the host reads fast, so that it meets memory that is not coherent.
            EXPECT_GT(use.cached, 0u);
            EXPECT_EQ(use.coherent, 0u);
            EXPECT_GT(use.flushed + use.invalidated, 0u);
        }
        for (const std::string& message : take_messages())
            ADD_FAILURE() << "validation at the end: " << message;
    }
};

constexpr std::uint16_t sentinel = 0x5a3c;
constexpr std::uint16_t poison = 0xffff;
constexpr std::uint64_t guard_halves = 128;

}  // namespace

Access access() {
    return program().access;
}

DeviceOptions device_options() {
    DeviceOptions options;
    options.access = access();
    options.validation = program().validation;
    options.debug_names = true;
    if (program().simulation) {
        options.cap = program().simulation->cap;
        if (program().simulation->split_heaps) options.get_instance_proc_addr = split_heaps_loader();
    }
    options.on_message = [](Severity, std::string_view text) {
        const std::lock_guard lock(program().mutex);
        program().messages.emplace_back(text);
    };
    return options;
}

Device device() {
    if (!program().device) program().device = Device::open(device_options());
    return program().device;
}

Device capped_device(const std::function<void(Capabilities&)>& cap) {
    DeviceOptions options = device_options();
    options.cap = [&cap](Capabilities& capabilities) {
        if (program().simulation) program().simulation->cap(capabilities);
        cap(capabilities);
    };
    return Device::open(options);
}

std::vector<std::string> take_messages() {
    const std::lock_guard lock(program().mutex);
    return std::exchange(program().messages, {});
}

Caught caught(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& error) {
        return {true, error.kind(), error.what()};
    }
    return {};
}

void expect_error(ErrorKind kind, const std::vector<std::string>& parts,
                  const std::function<void()>& action) {
    const Caught error = caught(action);
    ASSERT_TRUE(error.thrown) << "no Error was thrown";
    EXPECT_EQ(static_cast<int>(error.kind), static_cast<int>(kind)) << error.text;
    EXPECT_EQ(error.text.find('\n'), std::string::npos) << error.text;
    for (const std::string& part : parts)
        EXPECT_NE(error.text.find(part), std::string::npos) << "'" << part << "' is not in: " << error.text;
}

Guarded::Guarded(Stream& stream, DataType type, const Shape& shape, std::uint64_t pitch, std::uint64_t skew) {
    const std::uint64_t halves = size_of(type) / 2;
    Shape strides = shape.contiguous_strides();
    if (pitch > 0 && shape.rank() >= 2) {
        const std::uint64_t factor = shape[shape.rank() - 1] ? pitch : 1;
        strides[shape.rank() - 2] = factor;
        for (std::size_t i = shape.rank() - 2; i-- > 0;) strides[i] = strides[i + 1] * shape[i + 1];
    }
    std::uint64_t span = shape.elements() ? 1 : 0;
    for (std::size_t i = 0; i < shape.rank() && span; ++i) span += (shape[i] - 1) * strides[i];
    const std::uint64_t first = guard_halves / halves + skew;
    std::vector<std::uint16_t> image((2 * guard_halves + (skew + span) * halves + 1) / 2 * 2, sentinel);
    inside_.assign(image.size(), false);
    for (std::uint64_t flat = 0; flat < shape.elements(); ++flat) {
        std::uint64_t rest = flat, element = first;
        for (std::size_t i = shape.rank(); i-- > 0; rest /= shape[i]) element += rest % shape[i] * strides[i];
        for (std::uint64_t h = 0; h < halves; ++h) {
            image[element * halves + h] = poison;
            inside_[element * halves + h] = true;
        }
    }
    const Buffer buffer = stream.device().allocate(image.size() * 2);
    stream.upload(buffer, 0, std::as_bytes(std::span(image)));
    tensor_ = Tensor(buffer, type, shape, strides, first);
}

void Guarded::check(Stream& stream, const std::string& what) const {
    std::vector<std::uint16_t> image(inside_.size());
    stream.download(tensor_.buffer(), 0, std::as_writable_bytes(std::span(image)));
    for (std::size_t i = 0; i < image.size(); ++i)
        if (!inside_[i] && image[i] != sentinel) {
            ADD_FAILURE() << what << ": the guard was overwritten at half word " << i << " of "
                          << image.size();
            return;
        }
}

}  // namespace danaus::test

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--access=address") == 0) {
            danaus::test::program().access = danaus::Access::address;
        } else if (std::strcmp(argv[i], "--access=descriptor") == 0) {
            danaus::test::program().access = danaus::Access::descriptor;
        } else if (std::strncmp(argv[i], "--simulate=", 11) == 0) {
            danaus::test::program().simulation = danaus::test::find_simulation(argv[i] + 11);
            if (!danaus::test::program().simulation) {
                std::fprintf(stderr, "%s: no such simulated device; there are:\n", argv[i]);
                for (const auto& known : danaus::test::simulations())
                    std::fprintf(stderr, "  %s: %s\n", std::string(known.name).c_str(),
                                 std::string(known.summary).c_str());
                return 2;
            }
        } else if (std::strcmp(argv[i], "--no-validation") == 0) {
            danaus::test::program().validation = false;
            // The suite Canary is about what the layers notice.
            std::string& filter = ::testing::GTEST_FLAG(filter);
            filter += filter.find('-') == std::string::npos ? "-Canary.*" : ":Canary.*";
        } else {
            std::fprintf(stderr,
                         "unknown option %s; --access=address, --access=descriptor, --simulate=NAME or "
                         "--no-validation\n",
                         argv[i]);
            return 2;
        }
    }
    ::testing::UnitTest::GetInstance()->listeners().Append(new danaus::test::Messages);
    ::testing::AddGlobalTestEnvironment(new danaus::test::Environment);
    return RUN_ALL_TESTS();
}
