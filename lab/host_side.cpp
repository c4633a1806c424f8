#include "host_side.hpp"

#include <danaus/danaus.hpp>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include <vk_mem_alloc.h>

namespace danaus::lab {
namespace {

using Json = nlohmann::ordered_json;

// A few of each: less than a word, a page, inside a block of the allocator, and one with memory of its own.
constexpr std::uint64_t sizes[] = {1, 100, 4096, 65540, 1 << 20, (9 << 20) + 4, 40 << 20};

std::vector<Buffer> allocate_assorted(const Device& device) {
    std::vector<Buffer> buffers;
    for (const std::uint64_t size : sizes)
        for (int i = 0; i < 3; ++i) buffers.push_back(device.allocate(size));
    const std::uint64_t too_much = device.capabilities().device_memory + 1;
    try {
        buffers.push_back(device.allocate(too_much));
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::out_of_memory) return buffers;
        throw;
    }
    throw std::runtime_error("an allocation larger than the largest heap succeeded");
}

// A training step's worth of operations, then a program of some of them, emitted twice.
Json work(const Device& device) {
    constexpr std::uint64_t tokens = 64, features = 256;
    Stream stream(device);
    std::vector<std::byte> bytes(20 << 20);  // more than one piece of staging memory
    const Buffer large = device.allocate(bytes.size());
    stream.upload(large, 0, bytes);
    stream.download(large, 0, bytes);

    const std::vector<float> ones(tokens * features, 1.0f);
    const Tensor x = upload(stream, ones, {tokens, features}, DataType::f16);
    const Tensor w = empty(stream, DataType::f16, {features, features});
    fan_in_uniform_into(stream, w, features, 1);
    Epilogue epilogue;
    epilogue.activation = Activation::gelu;
    const Tensor y = matmul(stream, x, w, epilogue);
    const Sparse24 sparse = compress_by_magnitude(stream, w);
    const Tensor z = matmul(stream, y, sparse);
    const Tensor blocks = empty(stream, DataType::f16, {16, 16, 16});
    fill_into(stream, blocks, 0.5);
    const Monarch monarch(blocks, convert(stream, blocks, DataType::f16));
    const Tensor t = matmul(stream, z, monarch);
    static_cast<void>(weight_gradient(stream, t, x));
    const std::uint64_t value = stream.flush();
    stream.wait(value);
    // False over a no-op shim, where a wait succeeds and no counter moves.
    const bool passed = stream.passed(value);

    ProgramRecorder recorder(device);
    const Tensor input(recorder.slot("x", tokens * features * 2), DataType::f16, {tokens, features});
    const Tensor output(recorder.slot("y", tokens * features * 2), DataType::f16, {tokens, features});
    matmul_into(recorder, output, matmul(recorder, input, w), monarch);
    const Program program(std::move(recorder));
    for (int i = 0; i < 2; ++i) program.emit(stream, {{"x", x.buffer()}, {"y", y.buffer()}});
    const std::size_t values = download(stream, y).size();
    stream.finish();
    return {{"submissions", stream.submissions()},
            {"barriers", stream.barriers()},
            {"pipelines", device.pipeline_count()},
            {"program_packets", program.packet_count()},
            {"downloaded", values},
            {"passed", passed}};
}

Json use(const Device& device) {
    Json done;
    {
        const std::vector<Buffer> buffers = allocate_assorted(device);
        done["buffers"] = buffers.size();
        done["bytes"] = device.allocated_bytes();
        done.update(work(device));
    }
    if (device.allocated_bytes() != 0)
        throw std::runtime_error("bytes stay allocated when the last handle is gone");
    return done;
}

struct Allocator {
    explicit Allocator(const HostDevice& host) {
        VmaVulkanFunctions functions{};
        functions.vkGetInstanceProcAddr = vkGetInstanceProcAddr;
        functions.vkGetDeviceProcAddr = vkGetDeviceProcAddr;
        VmaAllocatorCreateInfo info{};
        info.instance = host.instance;
        info.physicalDevice = host.physical_device;
        info.device = host.device;
        info.pVulkanFunctions = &functions;
        info.vulkanApiVersion = VK_API_VERSION_1_1;
        if (host.access == Access::address) info.flags = VMA_ALLOCATOR_CREATE_BUFFER_DEVICE_ADDRESS_BIT;
        if (const VkResult result = vmaCreateAllocator(&info, &handle); result != VK_SUCCESS)
            throw Refusal{result, "vmaCreateAllocator"};
    }
    ~Allocator() { vmaDestroyAllocator(handle); }
    Allocator(const Allocator&) = delete;
    Allocator& operator=(const Allocator&) = delete;
    VmaAllocator handle = VK_NULL_HANDLE;
};

std::vector<std::string> flags_of(VkMemoryPropertyFlags flags) {
    constexpr std::pair<VkMemoryPropertyFlags, const char*> names[] = {
        {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, "device_local"},
        {VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, "host_visible"},
        {VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, "host_coherent"},
        {VK_MEMORY_PROPERTY_HOST_CACHED_BIT, "host_cached"},
        {VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT, "lazily_allocated"}};
    std::vector<std::string> found;
    for (const auto& [bit, name] : names)
        if (flags & bit) found.push_back(name);
    return found;
}

// The heaps, and what each memory type holds now.
Json layout(const Driver& driver, VmaAllocator allocator) {
    VmaTotalStatistics statistics{};
    vmaCalculateStatistics(allocator, &statistics);
    const VkPhysicalDeviceMemoryProperties memory = driver.memory();
    Json heaps = Json::array(), types = Json::array();
    for (std::uint32_t i = 0; i < memory.memoryHeapCount; ++i)
        heaps.push_back(
            {{"bytes", memory.memoryHeaps[i].size},
             {"device_local", (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0}});
    for (std::uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
        const VmaStatistics& used = statistics.memoryType[i].statistics;
        types.push_back({{"heap", memory.memoryTypes[i].heapIndex},
                         {"flags", flags_of(memory.memoryTypes[i].propertyFlags)},
                         {"blocks", used.blockCount},
                         {"allocations", used.allocationCount},
                         {"bytes", used.allocationBytes}});
    }
    return {{"heaps", heaps}, {"types", types}};
}

}  // namespace

nlohmann::ordered_json host_side(const DeviceOptions& options, const Driver& driver) {
    Json result;
    {
        const Device device = Device::open(options);
        result["opened"] = use(device);
    }
    HostDevice host = driver.lend(options.access.value_or(Access::address));
    const Allocator allocator(host);
    host.allocator = {allocator.handle, vmaCreateBuffer, vmaDestroyBuffer, vmaFlushAllocation,
                      vmaInvalidateAllocation};
    Device device = Device::adopt(host);
    {
        const std::vector<Buffer> buffers = allocate_assorted(device);
        Stream stream(device);
        const std::vector<std::byte> bytes(4096);
        stream.upload(buffers.back(), 0, bytes);
        stream.finish();
        result.update(layout(driver, allocator.handle));
    }
    result["adopted"] = use(device);
    device.close();
    return result;
}

}  // namespace danaus::lab
