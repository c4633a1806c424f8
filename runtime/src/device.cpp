// Opening, choosing and closing devices.
#include "buffer_state.hpp"
#include "cache_file.hpp"
#include "command_writer.hpp"
#include "device_state.hpp"
#include "executables.hpp"
#include "physical_device.hpp"
#include "quirks.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include <fmt/format.h>

namespace danaus {
namespace runtime {

Resource::Resource(std::shared_ptr<DeviceState> device) : device_(std::move(device)) {
    device_->ensure_open();
    device_->enroll(*this);
}

Resource::~Resource() {
    // Only when a derived constructor threw: there is nothing to release.
    if (registered_) {
        registered_ = false;
        device_->discharge(*this);
    }
}

void Resource::retire() noexcept {
    device_->discharge(*this);
    registered_ = false;
}

DeviceState& Resource::device() const {
    device_->ensure_open();
    return *device_;
}

class DeviceState::QueueGuard {
public:
    explicit QueueGuard(DeviceState& state) : state_(state) {
        if (state_.setup_.lock_queue)
            state_.setup_.lock_queue();
        else
            state_.queue_mutex_.lock();
    }
    ~QueueGuard() {
        if (state_.setup_.lock_queue)
            state_.setup_.unlock_queue();
        else
            state_.queue_mutex_.unlock();
    }
    QueueGuard(const QueueGuard&) = delete;
    QueueGuard& operator=(const QueueGuard&) = delete;

private:
    DeviceState& state_;
};

DeviceState::DeviceState(Setup setup) : setup_(std::move(setup)) {
    try {
        vk_ = DeviceTable(setup_.vk_instance.GetDeviceProcAddr, setup_.device);
        if (!vk_.WaitSemaphores || !vk_.GetSemaphoreCounterValue)
            throw Error(ErrorKind::invalid_argument,
                        setup_.capabilities.name +
                            " was created without timeline semaphores: neither Vulkan 1.2 nor "
                            "VK_KHR_timeline_semaphore is enabled");
        if (setup_.access == Access::address && !vk_.GetBufferDeviceAddress)
            throw Error(ErrorKind::invalid_argument,
                        setup_.capabilities.name +
                            " was created without device addresses: neither Vulkan 1.2 nor "
                            "VK_KHR_buffer_device_address is enabled");
        memory_ =
            std::make_unique<Memory>(*this, setup_.instance_handle, setup_.vk_instance.GetInstanceProcAddr,
                                     setup_.vk_instance.GetDeviceProcAddr, setup_.allocator);
        std::vector<std::byte> cache;
        if (setup_.pipeline_cache_file && !setup_.pipeline_cache) {
            CacheLoad load = load_cache_file(*setup_.pipeline_cache_file, setup_.capabilities);
            if (!load.warning.empty()) warn(load.warning);
            cache = std::move(load.data);
        }
        pipelines_ = std::make_unique<Pipelines>(*this, setup_.pipeline_cache, cache);
    } catch (...) {
        pipelines_.reset();
        memory_.reset();
        if (setup_.owns_device && vk_.DestroyDevice) vk_.DestroyDevice(setup_.device, nullptr);
        throw;
    }
}

DeviceState::~DeviceState() {
    close();
}

void DeviceState::ensure_open() const {
    if (!open_) throw Error(ErrorKind::closed, "the device " + setup_.capabilities.name + " was closed");
}

void DeviceState::close() {
    if (!open_.exchange(false)) return;
    if (setup_.owns_device) {
        const QueueGuard guard(*this);
        // A lost device reports it here; everything must still be freed.
        (void)vk_.DeviceWaitIdle(setup_.device);
    } else {
        // The host may be using other queues, which an idle wait would have to lock.
        const std::lock_guard lock(resources_mutex_);
        for (Resource* resource : resources_) resource->settle();
    }
    try {
        save_cache();
    } catch (const std::exception& error) {
        warn(error.what());
    }
    {
        // Releasing one resource may destroy others (a stream lets go of buffers), hence one at a time.
        const std::lock_guard lock(resources_mutex_);
        while (!resources_.empty()) {
            Resource* resource = *resources_.begin();
            resources_.erase(resources_.begin());
            resource->registered_ = false;
            resource->release();
        }
    }
    pipelines_.reset();
    memory_.reset();
    if (setup_.owns_device) vk_.DestroyDevice(setup_.device, nullptr);
    setup_.instance.reset();
}

void DeviceState::save_cache() {
    if (!setup_.pipeline_cache_file || setup_.pipeline_cache) return;
    const std::string failure =
        save_cache_file(*setup_.pipeline_cache_file, setup_.capabilities, pipelines_->cache_data());
    if (!failure.empty()) warn(failure);
}

void DeviceState::enroll(Resource& resource) {
    const std::lock_guard lock(resources_mutex_);
    resources_.insert(&resource);
}

void DeviceState::discharge(Resource& resource) noexcept {
    const std::lock_guard lock(resources_mutex_);
    if (resources_.erase(&resource) && resource.registered_) resource.release();
}

void DeviceState::submit(const VkSubmitInfo& info) {
    if (!setup_.queue)
        throw Error(ErrorKind::unsupported,
                    "this device was adopted without a queue: it can record, not submit");
    const QueueGuard guard(*this);
    check(vk_.QueueSubmit(setup_.queue, 1, &info, VK_NULL_HANDLE), "submitting work");
}

void DeviceState::warn(const std::string& message) const {
    if (setup_.on_message) setup_.on_message(Severity::warning, message);
}

void DeviceState::name_object(VkObjectType type, std::uint64_t handle, const std::string& name) const {
    if (!setup_.debug_utils || !vk_.SetDebugUtilsObjectNameEXT) return;
    VkDebugUtilsObjectNameInfoEXT info{};
    info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT;
    info.objectType = type;
    info.objectHandle = handle;
    info.pObjectName = name.c_str();
    vk_.SetDebugUtilsObjectNameEXT(setup_.device, &info);
}

namespace {

struct Candidate {
    VkPhysicalDevice handle;
    Capabilities capabilities;
};

std::vector<Candidate> candidates(const Instance& instance) {
    std::vector<Candidate> list;
    for (VkPhysicalDevice device : instance.physical_devices())
        list.push_back({device, query_capabilities(instance.vk(), device)});
    if (list.empty()) throw Error(ErrorKind::no_device, "the Vulkan loader found no device");
    return list;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

int rank(DeviceType type) {
    switch (type) {
        case DeviceType::discrete:
            return 4;
        case DeviceType::integrated:
            return 3;
        case DeviceType::virtual_gpu:
            return 2;
        case DeviceType::other:
            return 1;
        case DeviceType::cpu:
            break;
    }
    return 0;
}

std::string names_of(const std::vector<Candidate>& list) {
    std::string text;
    for (std::size_t i = 0; i < list.size(); ++i)
        text += fmt::format("{}{}: {}", i ? ", " : "", i, list[i].capabilities.name);
    return text;
}

/// Index of the device that `wanted` names: an index, a UUID, or part of a name.
std::size_t find(const std::vector<Candidate>& list, const std::string& wanted, const char* source) {
    // A number that is no index may still be part of a name ("4090").
    std::size_t index = 0;
    const char* end = wanted.data() + wanted.size();
    const auto [stop, error] = std::from_chars(wanted.data(), end, index);
    if (error == std::errc() && stop == end && index < list.size()) return index;
    const std::string text = lower(wanted);
    for (std::size_t i = 0; i < list.size(); ++i)
        if (uuid_to_string(list[i].capabilities.device_uuid) == text) return i;
    for (std::size_t i = 0; i < list.size(); ++i)
        if (lower(list[i].capabilities.name).find(text) != std::string::npos) return i;
    throw Error(ErrorKind::no_device, fmt::format("{} = '{}' fits no Vulkan device; there are: {}", source,
                                                  wanted, names_of(list)));
}

std::pair<std::size_t, std::string> choose(const std::vector<Candidate>& list, const DeviceOptions& options) {
    if (options.select && !options.select->empty())
        return {find(list, *options.select, "select"),
                fmt::format("asked for by select = '{}'", *options.select)};
    if (!options.select)
        if (const char* wanted = std::getenv("DANAUS_DEVICE"); wanted && *wanted)
            return {find(list, wanted, "DANAUS_DEVICE"),
                    fmt::format("asked for by DANAUS_DEVICE = '{}'", wanted)};
    const auto score = [](const Candidate& c) {
        return std::pair(unusable_reason(c.capabilities).empty(), rank(c.capabilities.type));
    };
    const auto best = std::max_element(list.begin(), list.end(), [&](const Candidate& a, const Candidate& b) {
        return score(a) < score(b);
    });
    const char* type = to_string(best->capabilities.type);
    const auto index = static_cast<std::size_t>(best - list.begin());
    if (list.size() == 1) return {index, fmt::format("the only device ({})", type)};
    return {index, fmt::format("the first {} device of {}", type, list.size())};
}

VkDevice create_device(const Instance& instance, const Candidate& candidate, std::uint32_t family,
                       bool inspect) {
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables{};
    executables.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR;
    executables.pipelineExecutableInfo = VK_TRUE;
    const FeatureChain features(candidate.capabilities, inspect ? &executables : nullptr);
    auto extensions = required_extensions(candidate.capabilities);
    if (inspect) extensions.push_back(VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
    const float priority = 1.0f;
    VkDeviceQueueCreateInfo queue{};
    queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue.queueFamilyIndex = family;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    VkDeviceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    info.pNext = features.chain();
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue;
    info.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    VkDevice device = VK_NULL_HANDLE;
    check(instance.vk().CreateDevice(candidate.handle, &info, nullptr, &device),
          fmt::format("creating a device on {}", candidate.capabilities.name).c_str());
    return device;
}

}  // namespace
}  // namespace runtime

std::vector<Capabilities> list_devices() {
    const runtime::Instance instance({});
    std::vector<Capabilities> list;
    for (auto& candidate : runtime::candidates(instance)) list.push_back(std::move(candidate.capabilities));
    return list;
}

Device Device::open(const DeviceOptions& options) {
    using namespace runtime;
    auto instance = std::make_shared<Instance>(
        Instance::Options{.validation = options.validation,
                          .debug_utils = options.debug_names,
                          .on_message = options.on_message,
                          .get_instance_proc_addr =
                              reinterpret_cast<PFN_vkGetInstanceProcAddr>(options.get_instance_proc_addr)});
    auto list = candidates(*instance);
    auto [index, why] = choose(list, options);
    Candidate& chosen = list[index];
    const char* const variable = options.disable || options.select ? nullptr : std::getenv("DANAUS_DISABLE");
    const std::string without = options.disable ? *options.disable : variable ? variable : "";
    disable(chosen.capabilities, without, options.disable ? "disable" : "DANAUS_DISABLE");
    if (!without.empty()) why += fmt::format(", without {}", without);
    if (options.cap) options.cap(chosen.capabilities);
    require_usable(chosen.capabilities);
    const int family = compute_queue_family(instance->vk(), chosen.handle);

    DeviceState::Setup setup;
    setup.access = choose_access(chosen.capabilities, options.access);
    setup.inspect = options.inspect && offers_executables(instance->vk(), chosen.handle);
    setup.device = create_device(*instance, chosen, static_cast<std::uint32_t>(family), setup.inspect);
    setup.owns_device = true;
    setup.queue_family = static_cast<std::uint32_t>(family);
    setup.instance = instance;
    setup.vk_instance = instance->vk();
    setup.instance_handle = instance->handle();
    setup.physical = chosen.handle;
    setup.capabilities = std::move(chosen.capabilities);
    setup.choice = std::move(why);
    setup.pipeline_cache_file = options.pipeline_cache;
    setup.debug_utils = instance->has_debug_utils();
    setup.on_message = options.on_message;
    const DeviceTable table(setup.vk_instance.GetDeviceProcAddr, setup.device);
    table.GetDeviceQueue(setup.device, setup.queue_family, 0, &setup.queue);
    return Device(std::make_shared<DeviceState>(std::move(setup)));
}

namespace {

runtime::DeviceState& open_state(const std::shared_ptr<runtime::DeviceState>& state) {
    if (!state)
        throw Error(ErrorKind::invalid_argument, "device: a null handle where an open device is needed");
    state->ensure_open();
    return *state;
}

}  // namespace

const Capabilities& Device::capabilities() const {
    if (!state_) throw Error(ErrorKind::invalid_argument, "device: a null handle where a device is needed");
    return state_->capabilities();
}
Access Device::access() const {
    return open_state(state_).access();
}
const std::string& Device::choice() const {
    return open_state(state_).choice();
}
std::uint64_t Device::allocated_bytes() const {
    return open_state(state_).memory().allocated_bytes();
}
std::size_t Device::pipeline_count() const {
    return open_state(state_).pipelines().count();
}
bool Device::is_open() const noexcept {
    return state_ && state_->is_open();
}

Buffer Device::allocate(std::uint64_t bytes) const {
    open_state(state_);
    return Buffer(std::make_shared<runtime::BufferState>(state_, bytes));
}

void Device::save_pipeline_cache() const {
    open_state(state_).save_cache();
}

void Device::close() {
    if (state_) state_->close();
}

std::uint64_t Buffer::size() const {
    if (!state_) throw Error(ErrorKind::invalid_argument, "buffer: a null handle where a buffer is needed");
    return state_->size;
}

Device Buffer::device() const {
    return state_ ? Device(state_->device_pointer()) : Device();
}
MemoryRange Buffer::range() const {
    if (!state_) throw Error(ErrorKind::invalid_argument, "buffer: a null handle where a buffer is needed");
    if (is_placeholder()) return {reinterpret_cast<std::uintptr_t>(state_.get()), 0, state_->size};
    const runtime::Interval all = runtime::interval_of(*state_, 0, state_->size, false);
    return {all.key, all.begin, all.end};
}
bool Buffer::starts_aligned() const {
    return !state_ || state_->kind != runtime::BufferState::Kind::imported ||
           (state_->allocation.address + state_->base) % 16 == 0;
}
bool Buffer::is_placeholder() const {
    return state_ && state_->kind == runtime::BufferState::Kind::placeholder;
}

}  // namespace danaus
