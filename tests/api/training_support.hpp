// What the tests of a training step share: types, drawn tensors of any layout, and a recorder that only
// looks.
#pragma once

#include "reference/float_types.hpp"
#include "reference/matrix.hpp"
#include "support/device.hpp"

#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace danaus::test {

inline constexpr std::array float_types{DataType::f32, DataType::f16, DataType::bf16};

inline reference::FloatType reference_type(DataType type) {
    return type == DataType::f16    ? reference::FloatType::f16
           : type == DataType::bf16 ? reference::FloatType::bf16
                                    : reference::FloatType::f32;
}

/// Normal values, already rounded to `type`: what the device and the oracle both are given.
inline std::vector<float> drawn(DataType type, std::uint64_t count, unsigned seed, float spread = 1.0f) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> draw(0.0f, spread);
    std::vector<float> values(count);
    for (float& value : values) value = draw(engine);
    return reference::round_to(reference_type(type), values);
}

/// Where a matrix lies: rows apart by more than their length, from an odd element on, or columns contiguous.
struct Layout {
    std::uint64_t pad = 0, skew = 0;
    bool transposed = false;
};

inline constexpr std::array layouts{Layout{}, Layout{3, 1, false}, Layout{2, 0, false}, Layout{0, 0, true},
                                    Layout{1, 1, true}};

/// A guarded, poisoned matrix (rows, columns) of a layout; of rank 1 it is the layout's row.
class GuardedMatrix {
public:
    GuardedMatrix(Stream& stream, DataType type, std::uint64_t rows, std::uint64_t columns,
                  const Layout& layout)
        : guarded_(stream, type, layout.transposed ? Shape{columns, rows} : Shape{rows, columns},
                   layout.pad ? (layout.transposed ? rows : columns) + layout.pad : 0, layout.skew),
          tensor_(layout.transposed ? guarded_.tensor().transpose() : guarded_.tensor()) {}
    GuardedMatrix(Stream& stream, DataType type, std::uint64_t rows, std::uint64_t columns,
                  const Layout& layout, std::span<const float> values)
        : GuardedMatrix(stream, type, rows, columns, layout) {
        upload_into(stream, tensor_, values);
    }
    [[nodiscard]] const Tensor& tensor() const { return tensor_; }
    void check(Stream& stream, const std::string& what = {}) const { guarded_.check(stream, what); }

private:
    Guarded guarded_;
    Tensor tensor_;
};

/// Keeps packets instead of running them; slots stand for tensors that are too large to exist.
class Capture final : public Recorder {
public:
    explicit Capture(const Device& device) : program_(device) {}
    [[nodiscard]] Device device() const override { return program_.device(); }
    void record(const Packet& packet) override { packets.push_back(packet); }
    void record(const Copy&) override { ++copies; }
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override {
        return program_.slot("scratch" + std::to_string(++slots_), bytes);
    }
    [[nodiscard]] Tensor tensor(DataType type, const Shape& shape) {
        return {allocate(shape.elements() * size_of(type)), type, shape};
    }
    /// Word `index` of a packet's push fields.
    [[nodiscard]] static std::uint32_t field(const Packet& packet, std::size_t index) {
        std::uint32_t word = 0;
        std::memcpy(&word, packet.fields.data() + 4 * index, 4);
        return word;
    }

    std::vector<Packet> packets;
    int copies = 0;

private:
    ProgramRecorder program_;
    int slots_ = 0;
};

}  // namespace danaus::test
