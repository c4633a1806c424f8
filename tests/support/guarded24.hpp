// A compressed 2:4 matrix in the middle of a buffer of sentinels.
#pragma once

#include "support/device.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace danaus::test {

/// `Form` is Sparse24 or TileSparse24.
template <typename Form>
class Guarded24 {
public:
    Guarded24(Stream& stream, DataType type, const Shape& shape)
        : bytes_(Form::bytes(type, shape)), image_((bytes_ + 2 * guard) / 4, 0xfff5a3c7u) {
        const Buffer buffer = stream.device().allocate(image_.size() * 4);
        stream.upload(buffer, 0, std::as_bytes(std::span(image_)));
        form_ = Form(buffer, type, shape, guard);
    }
    [[nodiscard]] const Form& get() const { return form_; }
    void check(Stream& stream, const std::string& what) const {
        std::vector<std::uint32_t> now(image_.size());
        stream.download(form_.values().buffer(), 0, std::as_writable_bytes(std::span(now)));
        for (std::size_t i = 0; i < now.size(); ++i) {
            if (i >= guard / 4 && i < (guard + bytes_) / 4) continue;
            ASSERT_EQ(now[i], image_[i]) << what << ": the guard was overwritten at word " << i;
        }
    }

private:
    static constexpr std::uint64_t guard = 256;
    std::uint64_t bytes_;
    std::vector<std::uint32_t> image_;
    Form form_;
};

}  // namespace danaus::test
