// The pipeline cache's file: only a whole file of the same device and driver reaches the driver; any other is
// ignored with one warning and rewritten.
#include "cache_file.hpp"

#include "packets.hpp"
#include "support/device.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

namespace danaus {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<char>;

constexpr std::size_t header_bytes = 80;

// A folder of its own, gone at the end.
class CacheFile : public ::testing::Test {
protected:
    CacheFile()
        : folder(fs::temp_directory_path() /
                 fmt::format("danaus-cache-{}-{}", getpid(), static_cast<int>(test::access()))) {
        fs::remove_all(folder);
        fs::create_directories(folder);
    }
    ~CacheFile() override { fs::remove_all(folder); }

    fs::path folder;
    fs::path path = folder / "pipelines";
};

Bytes read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const fs::path& path, const Bytes& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::vector<std::byte> payload(std::size_t size) {
    std::vector<std::byte> data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::byte>(i * 37 + 1);
    return data;
}

Capabilities someone() {
    Capabilities c;
    c.driver_version = 7;
    for (std::uint8_t i = 0; i < 16; ++i) {
        c.device_uuid[i] = i;
        c.driver_uuid[i] = static_cast<std::uint8_t>(i + 16);
        c.pipeline_cache_uuid[i] = static_cast<std::uint8_t>(i + 32);
    }
    return c;
}

/// Opens a device with `path`, compiles two kernels, closes; returns the library's own warnings.
std::vector<std::string> use_device(const fs::path& path) {
    std::vector<std::string> warnings;
    std::mutex mutex;
    DeviceOptions options = test::device_options();
    options.pipeline_cache = path;
    options.on_message = [&](Severity, std::string_view text) {
        const std::lock_guard lock(mutex);
        warnings.emplace_back(text);
    };
    Device device = Device::open(options);
    {
        Stream stream(device);
        const Buffer a = test::words(device, 64), b = test::words(device, 64);
        stream.record(test::fill_packet(a, 0, 64, 5));
        stream.record(test::copy_packet(b, 0, a, 0, 64));
        EXPECT_EQ(test::get(stream, b, 0, 64), test::Words(64, 5));
    }
    device.close();
    return warnings;
}

void expect_one_warning(const std::vector<std::string>& warnings, const std::string& part) {
    ASSERT_EQ(warnings.size(), 1u) << (warnings.size() > 1 ? warnings[1] : "");
    EXPECT_NE(warnings[0].find("pipeline cache"), std::string::npos) << warnings[0];
    EXPECT_NE(warnings[0].find(part), std::string::npos) << warnings[0];
    EXPECT_EQ(warnings[0].find('\n'), std::string::npos);
}

TEST_F(CacheFile, RoundTrip) {
    for (const std::size_t size : {0u, 1u, 100u, 100000u}) {
        const auto data = payload(size);
        EXPECT_EQ(runtime::save_cache_file(path, someone(), data), "");
        const auto load = runtime::load_cache_file(path, someone());
        EXPECT_EQ(load.warning, "");
        EXPECT_EQ(load.data, data);
    }
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1) << "no temporary file is left";
}

TEST_F(CacheFile, NoFileIsNoWarning) {
    const auto load = runtime::load_cache_file(path, someone());
    EXPECT_TRUE(load.data.empty());
    EXPECT_EQ(load.warning, "");
}

TEST_F(CacheFile, EveryCutIsNoticed) {
    ASSERT_EQ(runtime::save_cache_file(path, someone(), payload(50)), "");
    const Bytes whole = read_file(path);
    ASSERT_EQ(whole.size(), header_bytes + 50);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        write_file(path, Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
        const auto load = runtime::load_cache_file(path, someone());
        ASSERT_TRUE(load.data.empty()) << size;
        ASSERT_NE(load.warning.find("ignored"), std::string::npos) << size;
        ASSERT_NE(load.warning.find(path.string()), std::string::npos) << size;
    }
    Bytes longer = whole;
    longer.push_back(0);
    write_file(path, longer);
    EXPECT_NE(runtime::load_cache_file(path, someone()).warning, "");
}

TEST_F(CacheFile, EveryBitCounts) {
    ASSERT_EQ(runtime::save_cache_file(path, someone(), payload(20)), "");
    const Bytes whole = read_file(path);
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
        Bytes altered = whole;
        altered[bit / 8] = static_cast<char>(altered[bit / 8] ^ (1 << bit % 8));
        write_file(path, altered);
        const auto load = runtime::load_cache_file(path, someone());
        ASSERT_TRUE(load.data.empty()) << "bit " << bit;
        ASSERT_NE(load.warning, "") << "bit " << bit;
    }
}

TEST_F(CacheFile, AnotherDeviceOrDriverIsForeign) {
    const auto foreign = [&](void (*change)(Capabilities&)) {
        Capabilities other = someone();
        change(other);
        ASSERT_EQ(runtime::save_cache_file(path, other, payload(20)), "");
        const auto load = runtime::load_cache_file(path, someone());
        EXPECT_TRUE(load.data.empty());
        EXPECT_NE(load.warning.find("another device or driver"), std::string::npos) << load.warning;
    };
    foreign([](Capabilities& c) { ++c.driver_version; });
    foreign([](Capabilities& c) { ++c.device_uuid[15]; });
    foreign([](Capabilities& c) { ++c.driver_uuid[0]; });
    foreign([](Capabilities& c) { ++c.pipeline_cache_uuid[8]; });
}

RC_GTEST_FIXTURE_PROP(CacheFile, GarbageIsIgnored, (const Bytes& garbage)) {
    write_file(path, garbage);
    const auto load = runtime::load_cache_file(path, someone());
    RC_ASSERT(load.data.empty());
    RC_ASSERT(!load.warning.empty());
}

TEST_F(CacheFile, ADeviceWritesAndReadsIt) {
    EXPECT_TRUE(use_device(path).empty());
    const Bytes first = read_file(path);
    EXPECT_GT(first.size(), header_bytes);
    EXPECT_TRUE(use_device(path).empty());
    EXPECT_GT(read_file(path).size(), header_bytes);
}

TEST_F(CacheFile, ADamagedFileIsIgnoredAndRewritten) {
    ASSERT_TRUE(use_device(path).empty());
    const Bytes whole = read_file(path);
    const auto damaged = [&](const Bytes& bytes, const std::string& part) {
        write_file(path, bytes);
        expect_one_warning(use_device(path), part);
        EXPECT_TRUE(use_device(path).empty()) << "rewritten";
    };
    damaged({}, "0 bytes, shorter than its header");
    damaged(Bytes(whole.begin(), whole.begin() + 79), "79 bytes, shorter than its header");
    damaged(Bytes(whole.begin(), whole.end() - 1), "its header says");
    damaged(Bytes(500, 'x'), "not a pipeline cache file");
    Bytes altered = whole;
    altered.back() = static_cast<char>(altered.back() ^ 4);
    damaged(altered, "hash mismatch");
    altered = whole;
    altered[8] = 9;
    damaged(altered, "format version 9, expected 1");
    altered = whole;
    altered[20] = static_cast<char>(altered[20] ^ 1);
    damaged(altered, "another device or driver");
}

TEST_F(CacheFile, AFolderThatDoesNotExistIsMade) {
    path = folder / "a" / "b" / "pipelines";
    EXPECT_TRUE(use_device(path).empty());
    EXPECT_TRUE(fs::exists(path));
}

TEST_F(CacheFile, AnUnwritableFolderIsOneWarning) {
    write_file(folder / "file", {'x'});
    path = folder / "file" / "pipelines";  // root may write anywhere, but not into a file
    expect_one_warning(use_device(path), "cannot be written");
    fs::create_directories(folder / "taken" / "sub");
    const auto warnings = use_device(folder / "taken");  // a folder bears the name
    ASSERT_EQ(warnings.size(), 2u);
    EXPECT_NE(warnings[0].find("cannot be read"), std::string::npos);
    EXPECT_NE(warnings[1].find("cannot be written"), std::string::npos);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 2) << "no temporary file is left";
}

TEST_F(CacheFile, SavingNowWritesNow) {
    DeviceOptions options = test::device_options();
    options.pipeline_cache = path;
    Device device = Device::open(options);
    device.save_pipeline_cache();
    EXPECT_TRUE(fs::exists(path));
    fs::remove(path);
    device.close();
    EXPECT_TRUE(fs::exists(path));
    test::expect_error(ErrorKind::closed, {"closed"}, [&] { device.save_pipeline_cache(); });
}

TEST_F(CacheFile, TwoDevicesWriteAtOnce) {
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::vector<std::string> warnings;
    DeviceOptions options = test::device_options();
    options.pipeline_cache = path;
    options.on_message = [&](Severity, std::string_view text) {
        const std::lock_guard lock(mutex);
        warnings.emplace_back(text);
    };
    Device devices[] = {Device::open(options), Device::open(options)};
    for (const Device& device : devices)
        threads.emplace_back([&device] {
            Stream stream(device);
            stream.record(test::fill_packet(test::words(device, 64), 0, 64, 5));
            for (int i = 0; i < 50; ++i) device.save_pipeline_cache();
        });
    for (int i = 0; i < 200; ++i) {
        const auto load = runtime::load_cache_file(path, devices[0].capabilities());
        EXPECT_EQ(load.warning, "") << "a reader sees a whole file or none";
    }
    for (std::thread& thread : threads) thread.join();
    for (Device& device : devices) device.close();
    EXPECT_TRUE(warnings.empty()) << warnings.front();
    EXPECT_TRUE(use_device(path).empty());
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
}

}  // namespace
}  // namespace danaus
