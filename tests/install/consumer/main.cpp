// y = x·Wᵀ with W a Monarch matrix of ones, on whatever device there is.
#include <danaus/danaus.hpp>

#include <cstdio>
#include <vector>

std::size_t vulkan_pointer_bytes();

int main() {
    try {
        danaus::Device device = danaus::Device::open();
        danaus::Stream stream(device);
        const std::vector<float> ones(64, 1.0f);
        const danaus::Tensor x = danaus::upload(stream, ones, {4, 16});
        const danaus::Monarch w(danaus::upload(stream, ones, {4, 4, 4}),
                                danaus::upload(stream, ones, {4, 4, 4}));
        for (const float value : danaus::download(stream, danaus::matmul(stream, x, w)))
            if (value != 16.0f) {
                std::fprintf(stderr, "consumer: %g instead of 16\n", static_cast<double>(value));
                return 1;
            }
        std::printf("consumer: right, on %s, %zu\n", device.capabilities().name.c_str(),
                    vulkan_pointer_bytes());
    } catch (const danaus::Error& error) {
        std::fprintf(stderr, "consumer: %s\n", error.what());
        return 1;
    }
}
