// Danaus inside a host that owns the Vulkan device, queue, command buffers and buffers.
//
//   Device device = Device::adopt(host);                  after vkCreateDevice with required_features()
//   Tensor x = import_tensor(device, buffer, DataType::f32, {tokens, in});
//   Workspace workspace(device, size.bytes, size.packets);       size: workspace_size(device, layer)
//   …  vkBeginCommandBuffer, own work
//   HostRecorder recorder(device, commands, &workspace);
//   matmul_into(recorder, y, x, w);
//   recorder.finish(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT);
//   …  own work, vkEndCommandBuffer, vkQueueSubmit; when it has finished: workspace.reset()
//   …  device.close() before vkDestroyDevice
#pragma once

#include <danaus/runtime/host.hpp>
#include <danaus/tensor.hpp>

namespace danaus {

/// A contiguous tensor over a host's VkBuffer from byte `offset` on, a multiple of 4. The bytes of the whole
/// tensor, rounded up to 4, lie inside the VkBuffer; see import_buffer() for its usage and for `alias_group`.
/// For other strides take Tensor(import_buffer(…), type, shape, strides, offset). Throws
/// Error(invalid_argument) for a shape without elements: an import of no bytes has no meaning.
[[nodiscard]] inline Tensor import_tensor(const Device& device, VkBuffer buffer, DataType type,
                                          const Shape& shape, std::uint64_t offset = 0,
                                          std::uint64_t alias_group = 0) {
    const std::uint64_t elements = shape.elements();
    if (elements > 1ull << 60)
        throw Error(ErrorKind::invalid_argument,
                    "import_tensor: shape " + to_string(shape) + " has more than 2^60 elements");
    const std::uint64_t bytes = (elements * size_of(type) + 3) / 4 * 4;
    return Tensor(import_buffer(device, buffer, offset, bytes, alias_group), type, shape);
}

/// The bytes from a tensor's first element to its last, for a host that reads or binds them itself. Valid
/// while a handle to the tensor's buffer exists; for memory of a workspace until its reset().
[[nodiscard]] inline HostRange host_range(const Tensor& tensor) {
    const HostRange whole = host_range(tensor.buffer());
    return {whole.buffer, whole.offset + tensor.offset() * size_of(tensor.type()),
            tensor.span() * size_of(tensor.type())};
}

}  // namespace danaus
