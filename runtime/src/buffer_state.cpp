#include "buffer_state.hpp"

#include <algorithm>
#include <utility>

namespace danaus::runtime {

Timeline::Timeline(std::shared_ptr<DeviceState> state) : Resource(std::move(state)) {
    VkSemaphoreTypeCreateInfo type{};
    type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
    type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
    VkSemaphoreCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
    info.pNext = &type;
    check(device().vk().CreateSemaphore(device().handle(), &info, nullptr, &handle_),
          "creating a timeline semaphore");
}

std::uint64_t Timeline::reached() const {
    std::uint64_t value = 0;
    check(device().vk().GetSemaphoreCounterValue(device().handle(), handle_, &value),
          "reading a timeline semaphore");
    return value;
}

void Timeline::wait(std::uint64_t value) const {
    VkSemaphoreWaitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    info.semaphoreCount = 1;
    info.pSemaphores = &handle_;
    info.pValues = &value;
    check(device().vk().WaitSemaphores(device().handle(), &info, UINT64_MAX), "waiting for the device");
}

void Timeline::settle() const noexcept {
    const DeviceState& state = *device_pointer();
    const std::uint64_t value = submitted_;
    VkSemaphoreWaitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    info.semaphoreCount = 1;
    info.pSemaphores = &handle_;
    info.pValues = &value;
    (void)state.vk().WaitSemaphores(state.handle(), &info, UINT64_MAX);  // fails when the device is lost
}

void Timeline::release() noexcept {
    DeviceState& state = *device_pointer();
    state.vk().DestroySemaphore(state.handle(), handle_, nullptr);
    handle_ = VK_NULL_HANDLE;
}

namespace {

void require_flushed(const Use& use) {
    if (use.value > use.timeline->submitted())
        throw Error(ErrorKind::invalid_argument,
                    "a buffer is in use by work that another stream has recorded but not flushed; flush that "
                    "stream first");
}

}  // namespace

template <typename Visit>
void UseLog::for_each_wait(const Timeline& timeline, bool write, Visit&& visit) const {
    if (write_.timeline && write_.timeline.get() != &timeline) visit(write_);
    if (write)
        for (const Use& read : reads_)
            if (read.timeline.get() != &timeline) visit(read);
}

void UseLog::require_submitted(const Timeline& timeline, bool write) const {
    for_each_wait(timeline, write, require_flushed);
}

void UseLog::check_host() const {
    const std::lock_guard lock(mutex_);
    if (write_.timeline) require_flushed(write_);
    for (const Use& read : reads_) require_flushed(read);
}

void UseLog::check(const Timeline& timeline, bool write) const {
    const std::lock_guard lock(mutex_);
    require_submitted(timeline, write);
}

bool UseLog::admit(const std::shared_ptr<Timeline>& timeline, std::uint64_t value, bool write,
                   std::vector<Use>& waits) {
    const std::lock_guard lock(mutex_);
    require_submitted(*timeline, write);
    const bool written = write_.timeline == timeline && write_.value == value;
    const auto read =
        std::find_if(reads_.begin(), reads_.end(), [&](const Use& use) { return use.timeline == timeline; });
    if (written || (!write && read != reads_.end() && read->value == value)) return false;
    for_each_wait(*timeline, write, [&](const Use& use) { waits.push_back(use); });
    if (write) {
        write_before_ = std::exchange(write_, {timeline, value});
        reads_before_ = std::exchange(reads_, {});
    } else if (read != reads_.end()) {
        read->value = value;
    } else {
        // A timeline that nobody else holds belonged to a stream that has finished and gone.
        std::erase_if(reads_, [](const Use& use) { return use.timeline.use_count() == 1; });
        reads_.push_back({timeline, value});
    }
    return true;
}

void UseLog::drop(const Timeline& timeline, std::uint64_t value) {
    const std::lock_guard lock(mutex_);
    if (write_.timeline.get() == &timeline && write_.value == value) {
        write_ = std::move(write_before_);
        reads_ = std::move(reads_before_);
    }
    write_before_ = {};
    reads_before_.clear();
    // An earlier read of the same stream may still be on its way.
    for (Use& read : reads_)
        if (read.timeline.get() == &timeline && read.value == value) --read.value;
}

namespace {

std::uint64_t key_of(VkBuffer buffer) {
    return reinterpret_cast<std::uint64_t>(buffer);
}

}  // namespace

BufferState::BufferState(std::shared_ptr<DeviceState> state, std::uint64_t bytes)
    : Resource(std::move(state)) {
    allocation = device().memory().allocate(bytes, MemoryUse::device);
    size = allocation.size;
    hazard_key = key_of(allocation.buffer);
}

BufferState::BufferState(std::shared_ptr<DeviceState> state, Placeholder placeholder)
    : Resource(std::move(state)), kind(Kind::placeholder), size(placeholder.bytes) {}

BufferState::BufferState(std::shared_ptr<DeviceState> state, const Import& import)
    : Resource(std::move(state)), kind(Kind::imported), base(import.offset), size(import.bytes) {
    used_by_host = true;
    allocation.buffer = import.buffer;
    // An alias group is its own key space: the top bit keeps it apart from buffer handles.
    hazard_key = import.alias_group ? (1ull << 63 | import.alias_group) : key_of(import.buffer);
    if (device().access() == Access::address) {
        VkBufferDeviceAddressInfo address{};
        address.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
        address.buffer = import.buffer;
        allocation.address = device().vk().GetBufferDeviceAddress(device().handle(), &address);
    }
}

BufferState::BufferState(std::shared_ptr<BufferState> whole, std::uint64_t offset, std::uint64_t bytes)
    : Resource(whole->device_pointer()),
      kind(Kind::part),
      allocation(whole->allocation),
      base(offset),
      size(bytes),
      hazard_key(whole->hazard_key),
      used_by_host(true),
      whole_(std::move(whole)) {}

void BufferState::release() noexcept {
    if (kind == Kind::owned) device_pointer()->memory().free(allocation);
    allocation = {};
}

}  // namespace danaus::runtime
