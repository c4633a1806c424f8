#include "vkfft.hpp"

#include <stdexcept>

#define VKFFT_BACKEND 0
#include <vkFFT.h>

namespace danaus::bench {

// VkFFT keeps pointers to all of it.
struct Vkfft::State {
    VkfftHost host;
    VkfftRange from, to;
    VkFFTApplication application{};
};

namespace {

void check(VkFFTResult result, const char* what) {
    if (result != VKFFT_SUCCESS)
        throw std::runtime_error(std::string("VkFFT: ") + what + " failed with its code " +
                                 std::to_string(static_cast<int>(result)));
}

}  // namespace

Vkfft::Vkfft(const VkfftHost& host, const VkfftRange& from, const VkfftRange& to, std::uint64_t tokens,
             std::uint64_t n, bool tables)
    : state_(std::make_unique<State>()) {
    state_->host = host;
    state_->from = from;
    state_->to = to;
    VkFFTConfiguration plan{};
    plan.FFTdim = 1;
    plan.size[0] = n;
    plan.numberBatches = tokens;
    plan.makeForwardPlanOnly = 1;
    plan.useLUT = tables ? 1 : 0;
    plan.physicalDevice = &state_->host.physical;
    plan.device = &state_->host.device;
    plan.queue = &state_->host.queue;
    plan.commandPool = &state_->host.pool;
    plan.fence = &state_->host.fence;
    plan.isInputFormatted = 1;  // out of place, as a Danaus multiply
    plan.inputBuffer = &state_->from.buffer;
    plan.inputBufferSize = &state_->from.bytes;
    plan.inputBufferOffset = state_->from.offset;
    plan.buffer = &state_->to.buffer;
    plan.bufferSize = &state_->to.bytes;
    plan.bufferOffset = state_->to.offset;
    check(initializeVkFFT(&state_->application, plan), "the plan");
}

Vkfft::~Vkfft() {
    deleteVkFFT(&state_->application);
}

void Vkfft::append(VkCommandBuffer commands) {
    VkFFTLaunchParams launch{};
    launch.commandBuffer = &commands;
    check(VkFFTAppend(&state_->application, -1, &launch), "recording");
}

std::uint64_t Vkfft::passes() const {
    return state_->application.localFFTPlan->numAxisUploads[0];
}

std::string Vkfft::version() {
    const int number = VkFFTGetVersion();  // 10226 is 1.2.26
    return std::to_string(number / 10000) + '.' + std::to_string(number / 100 % 100) + '.' +
           std::to_string(number % 100);
}

}  // namespace danaus::bench
