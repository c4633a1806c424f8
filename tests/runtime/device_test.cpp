// Opening a device: the choice, the environment, what a device must have, what is missing from the machine.
#include "support/device.hpp"

#include "instance.hpp"
#include "physical_device.hpp"
#include "quirks.hpp"
#include "vk.hpp"

#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::device_options;
using test::expect_error;

// The environment variable, as it was before at the end of the scope.
class Environment {
public:
    explicit Environment(const char* value) {
        if (const char* old = std::getenv("DANAUS_DEVICE")) before_ = old;
        if (value)
            setenv("DANAUS_DEVICE", value, 1);
        else
            unsetenv("DANAUS_DEVICE");
    }
    ~Environment() {
        if (before_)
            setenv("DANAUS_DEVICE", before_->c_str(), 1);
        else
            unsetenv("DANAUS_DEVICE");
    }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

private:
    std::optional<std::string> before_;
};

std::string choice_of(const std::optional<std::string>& select) {
    DeviceOptions options = device_options();
    options.select = select;
    Device device = Device::open(options);
    std::string choice = device.choice();
    device.close();
    return choice;
}

std::string upper(std::string text) {
    for (char& c : text)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return text;
}

TEST(Choice, ByIndexUuidAndPartOfTheName) {
    const auto devices = list_devices();
    ASSERT_FALSE(devices.empty());
    const Capabilities& first = devices.front();
    EXPECT_EQ(choice_of("0"), "asked for by select = '0'");
    const std::string uuid = uuid_to_string(first.device_uuid);
    EXPECT_EQ(uuid.size(), 36u);
    EXPECT_EQ(choice_of(uuid), "asked for by select = '" + uuid + "'");
    EXPECT_NE(choice_of(upper(uuid)).find("asked for"), std::string::npos);
    const std::string part = upper(first.name.substr(0, first.name.size() / 2));
    EXPECT_EQ(choice_of(part), "asked for by select = '" + part + "'");
    for (std::size_t i = 0; i < devices.size(); ++i) {
        DeviceOptions options = device_options();
        options.select = std::to_string(i);
        options.access.reset();
        Device device = Device::open(options);
        EXPECT_EQ(device.capabilities().name, devices[i].name);
        EXPECT_EQ(device.capabilities().device_uuid, devices[i].device_uuid);
        device.close();
    }
}

TEST(Choice, ANumberMayBePartOfAName) {
    // The index is tried first, then the names: every digit of a name finds a device.
    const std::string name = list_devices().front().name;
    for (const char digit : name)
        if (digit >= '0' && digit <= '9') {
            EXPECT_NE(choice_of(std::string(1, digit)).find("asked for"), std::string::npos);
        }
}

TEST(Choice, AWrongOneNamesWhatThereIs) {
    const auto devices = list_devices();
    for (const char* wrong : {"no such device", "99999", "-1", "00000000-0000-0000-0000-00000000dead"})
        expect_error(ErrorKind::no_device,
                     {"select = '" + std::string(wrong) + "'", "there are: 0: " + devices.front().name},
                     [&] { (void)choice_of(wrong); });
}

TEST(Choice, TheEnvironmentIsReadByDefaultRulesOnly) {
    const Environment environment("no such device");
    expect_error(ErrorKind::no_device, {"DANAUS_DEVICE = 'no such device'", "there are: 0: "},
                 [] { (void)choice_of({}); });
    EXPECT_EQ(choice_of("0"), "asked for by select = '0'");
    EXPECT_EQ(choice_of("").find("DANAUS_DEVICE"), std::string::npos);
}

TEST(Choice, TheEnvironmentDecides) {
    const Environment environment("0");
    EXPECT_EQ(choice_of({}), "asked for by DANAUS_DEVICE = '0'");
}

TEST(Choice, WithoutARequestTheBestTypeIsTaken) {
    for (const char* value : {static_cast<const char*>(nullptr), ""}) {
        const Environment environment(value);
        const auto devices = list_devices();
        const std::string choice = choice_of({});
        if (devices.size() == 1) {
            EXPECT_EQ(choice, std::string("the only device (") + to_string(devices[0].type) + ")");
        } else {
            EXPECT_NE(choice.find("device of " + std::to_string(devices.size())), std::string::npos);
        }
        EXPECT_EQ(choice, choice_of(""));
    }
}

TEST(Choice, CapabilitiesAreThoseListed) {
    const Capabilities listed = list_devices().front();
    EXPECT_GE(listed.max_workgroup_invocations, 128u);
    EXPECT_GE(listed.max_push_constants, 128u);
    EXPECT_GE(listed.max_storage_range, 1u << 27);
    EXPECT_GT(listed.device_memory, 0u);
    EXPECT_GT(listed.api_version, 0u);
    EXPECT_EQ(unusable_reason(listed), "");
    EXPECT_EQ(describe(listed).find(listed.name), 0u);
    EXPECT_NE(describe(listed).find("Vulkan 1."), std::string::npos);
    expect_error(ErrorKind::unsupported, {"'antigravity'"}, [&] { (void)listed.has("antigravity"); });
}

TEST(Missing, NoLoader) {
    const char* const names[] = {"libno-such-loader.so.1", "libno-such-loader.so"};
    EXPECT_EQ(runtime::load_vulkan(names), nullptr);
    expect_error(ErrorKind::no_device, {"no Vulkan loader", "libno-such-loader.so.1", "install"}, [&] {
        runtime::Instance::Options options;
        options.loader_names = names;
        const runtime::Instance instance(options);
    });
    EXPECT_NE(runtime::load_vulkan(runtime::system_loader_names()), nullptr);
}

TEST(Missing, ANeededFeature) {
    const auto refused = [](const std::vector<std::string>& parts, void (*cap)(Capabilities&)) {
        expect_error(ErrorKind::no_device, parts, [&] { (void)test::capped_device(cap); });
    };
    refused({"cannot be used", "timelineSemaphore"}, [](Capabilities& c) { c.timeline_semaphore = false; });
    refused({"cannot be used", "Vulkan 1.0", "1.1 is needed"},
            [](Capabilities& c) { c.api_version = 1 << 22; });
    refused({"cannot be used", "64 bytes of push constants", "128"},
            [](Capabilities& c) { c.max_push_constants = 64; });
    refused({"cannot be used", "no compute queue"}, [](Capabilities& c) { c.compute_queue = false; });
}

TEST(Missing, DeviceAddresses) {
    DeviceOptions options = device_options();
    options.cap = [](Capabilities& c) { c.buffer_device_address = false; };
    options.access = Access::address;
    expect_error(ErrorKind::unsupported, {"access = address", "bufferDeviceAddress"},
                 [&] { (void)Device::open(options); });
    options.access.reset();
    Device device = Device::open(options);
    EXPECT_EQ(device.access(), Access::descriptor);
    EXPECT_FALSE(device.capabilities().buffer_device_address);
    {
        Stream stream(device);
        const Tensor tensor = upload(stream, std::vector<float>(10, 2.5f), {10});
        EXPECT_EQ(download(stream, convert(stream, tensor, DataType::bf16)), std::vector<float>(10, 2.5f));
    }
    device.close();
    options.cap = {};
    Device whole = Device::open(options);
    EXPECT_EQ(whole.access(),
              whole.capabilities().buffer_device_address ? Access::address : Access::descriptor);
    whole.close();
}

Capabilities with_driver(VkDriverId driver, std::uint32_t version, std::uint32_t subgroup_size = 8) {
    Capabilities c;
    c.driver_id = static_cast<std::uint32_t>(driver);
    c.driver_version = version;
    c.subgroup_size = subgroup_size;
    c.buffer_device_address = c.cooperative_matrix = true;
    c.cooperative_matrices = {{8, 8, 8}};
    runtime::apply_quirks(c);
    return c;
}

TEST(Quirks, ConcernTheirDriverVersionsAndDevicesOnly) {
    EXPECT_FALSE(with_driver(VK_DRIVER_ID_MOLTENVK, 10207).buffer_device_address);
    EXPECT_TRUE(with_driver(VK_DRIVER_ID_MOLTENVK, 10208).buffer_device_address);
    EXPECT_TRUE(with_driver(VkDriverId{}, 1).buffer_device_address) << "the driver does not say who it is";
    for (const std::uint32_t size : {4u, 8u, 16u}) {
        const Capabilities c = with_driver(VK_DRIVER_ID_MESA_LLVMPIPE, 1, size);
        EXPECT_EQ(c.cooperative_matrix, size == 8);
        EXPECT_EQ(c.cooperative_matrices.empty(), size != 8);
        EXPECT_EQ(c.quirks.size(), size == 8 ? 0u : 1u);
    }
    EXPECT_EQ(with_driver(VK_DRIVER_ID_GOOGLE_SWIFTSHADER, 1).quirks.size(), 1u);
    std::set<std::string_view> ids;
    for (const runtime::Quirk& quirk : runtime::quirks()) {
        EXPECT_TRUE(ids.insert(quirk.id).second) << quirk.id;
        EXPECT_FALSE(quirk.what.empty() || quirk.reason.empty() || quirk.seen.empty()) << quirk.id;
        EXPECT_LE(quirk.first_version, quirk.last_version);
    }
}

TEST(Disable, TurnsOffWhatItNames) {
    const auto all = [] {
        Capabilities c;
        c.shader_float16 = c.shader_float64 = c.storage_16bit = c.buffer_device_address =
            c.subgroup_arithmetic = c.subgroup_shuffle = c.subgroup_size_control = c.cooperative_matrix =
                true;
        c.timestamp_bits = 64;
        c.cooperative_matrices = {{8, 8, 8}};
        return c;
    };
    const auto left = [&](const char* list) {
        Capabilities c = all();
        runtime::disable(c, list, "DANAUS_DISABLE");
        return std::vector<bool>{
            c.shader_float16,        c.storage_16bit,       c.shader_float64,
            c.buffer_device_address, c.subgroup_arithmetic, c.subgroup_shuffle,
            c.subgroup_size_control, c.cooperative_matrix,  !c.cooperative_matrices.empty(),
            c.timestamp_bits > 0};
    };
    EXPECT_EQ(left(""), std::vector<bool>(10, true));
    EXPECT_EQ(left("bda"), (std::vector<bool>{true, true, true, false, true, true, true, true, true, true}));
    EXPECT_EQ(left("fp16,coopmat,"),
              (std::vector<bool>{false, true, true, true, true, true, true, false, false, true}));
    EXPECT_EQ(left("fp16,fp64,storage16,bda,subgroup,subgroup_size,coopmat,timestamps"),
              std::vector<bool>(10, false));
    test::expect_error(ErrorKind::invalid_argument, {"DANAUS_DISABLE", "'fp61'", "fp16", "timestamps"},
                       [&] { (void)left("bda,fp61"); });
}

TEST(Disable, IsHonouredWhenADeviceIsOpened) {
    DeviceOptions options = test::device_options();
    options.access.reset();
    options.disable = "bda,timestamps";
    Device device = Device::open(options);
    EXPECT_EQ(device.access(), Access::descriptor);
    EXPECT_EQ(device.capabilities().timestamp_bits, 0u);
    EXPECT_NE(device.choice().find("without bda,timestamps"), std::string::npos) << device.choice();
    device.close();
    options.disable = "everything";
    test::expect_error(ErrorKind::invalid_argument, {"disable", "'everything'"},
                       [&] { (void)Device::open(options); });
}

#if !defined(_WIN32)
TEST(Disable, ReadsTheEnvironmentByDefault) {
    DeviceOptions options = test::device_options();
    options.access.reset();
    const Access usual =
        test::device().capabilities().buffer_device_address ? Access::address : Access::descriptor;
    setenv("DANAUS_DISABLE", "bda", 1);
    const Access without = Device::open(options).access();
    options.disable = "";
    const Access ignored = Device::open(options).access();
    options.disable.reset();
    options.select = "";
    const Access chosen = Device::open(options).access();
    unsetenv("DANAUS_DISABLE");
    EXPECT_EQ(without, Access::descriptor);
    EXPECT_EQ(ignored, usual);
    EXPECT_EQ(chosen, usual);
}
#endif

}  // namespace
}  // namespace danaus
