// The data set's reader refuses what is missing, cut or altered, in one line that names the file.
#include "../../samples/common/dataset.hpp"

#include <filesystem>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

namespace sample {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes idx(std::initializer_list<std::uint32_t> sizes, std::uint8_t value) {
    Bytes bytes{0, 0, 8, static_cast<std::uint8_t>(sizes.size())};
    std::size_t count = 1;
    for (const std::uint32_t size : sizes) {
        for (int shift = 24; shift >= 0; shift -= 8)
            bytes.push_back(static_cast<std::uint8_t>(size >> shift));
        count *= size;
    }
    bytes.insert(bytes.end(), count, value);
    return bytes;
}

class DatasetTest : public ::testing::Test {
protected:
    DatasetTest()
        : folder_(std::filesystem::temp_directory_path() / ("danaus_dataset_" + std::to_string(getpid()))) {
        std::filesystem::create_directories(folder_);
        write("train-images-idx3-ubyte.gz", idx({60000, 28, 28}, 7));
        write("train-labels-idx1-ubyte.gz", idx({60000}, 3));
        write("t10k-images-idx3-ubyte.gz", idx({10000, 28, 28}, 9));
        write("t10k-labels-idx1-ubyte.gz", idx({10000}, 4));
    }
    ~DatasetTest() override { std::filesystem::remove_all(folder_); }

    void write(const char* name, const Bytes& bytes) {
        const gzFile out = gzopen((folder_ / name).c_str(), "wb1");
        ASSERT_EQ(gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size())),
                  static_cast<int>(bytes.size()));
        ASSERT_EQ(gzclose(out), Z_OK);
    }

    void expect_refused(const std::string& file, const std::string& why) {
        try {
            (void)load_dataset(folder_);
            FAIL() << "accepted";
        } catch (const std::runtime_error& error) {
            const std::string text = error.what();
            EXPECT_NE(text.find(file), std::string::npos) << text;
            EXPECT_NE(text.find(why), std::string::npos) << text;
            EXPECT_EQ(text.find('\n'), std::string::npos) << text;
        }
    }

    std::filesystem::path folder_;
};

TEST_F(DatasetTest, ReadsWholeFiles) {
    const Dataset data = load_dataset(folder_);
    EXPECT_EQ(data.train.count(), 60000u);
    EXPECT_EQ(data.train.pixels, Bytes(60000 * image_size, 7));
    EXPECT_EQ(data.test.labels, Bytes(10000, 4));
}

TEST_F(DatasetTest, NamesAMissingFile) {
    std::filesystem::remove(folder_ / "t10k-labels-idx1-ubyte.gz");
    expect_refused("t10k-labels-idx1-ubyte.gz", "not found");
}

TEST_F(DatasetTest, RefusesACutFile) {
    const auto file = folder_ / "train-images-idx3-ubyte.gz";
    std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
    expect_refused("train-images-idx3-ubyte.gz", "cut or damaged");
}

TEST_F(DatasetTest, RefusesAnEmptyFile) {
    std::filesystem::resize_file(folder_ / "train-labels-idx1-ubyte.gz", 0);
    expect_refused("train-labels-idx1-ubyte.gz", ": ");
}

TEST_F(DatasetTest, RefusesOtherSizes) {
    write("train-labels-idx1-ubyte.gz", idx({59999}, 3));
    expect_refused("train-labels-idx1-ubyte.gz", "60008 are needed");
    write("train-labels-idx1-ubyte.gz", idx({60001}, 3));
    expect_refused("train-labels-idx1-ubyte.gz", "more than the 60008 bytes");
    write("train-labels-idx1-ubyte.gz", idx({60000}, 3));
    write("t10k-images-idx3-ubyte.gz", idx({10000, 14, 56}, 3));
    expect_refused("t10k-images-idx3-ubyte.gz", "size 14 of dimension 1, 28 is expected");
}

TEST_F(DatasetTest, RefusesOtherContents) {
    Bytes floats = idx({10000}, 3);
    floats[2] = 0x0d;
    write("t10k-labels-idx1-ubyte.gz", floats);
    expect_refused("t10k-labels-idx1-ubyte.gz", "not an IDX file of bytes");
    Bytes labels = idx({10000}, 3);
    labels[8 + 77] = 10;
    write("t10k-labels-idx1-ubyte.gz", labels);
    expect_refused("t10k-labels-idx1-ubyte.gz", "label 10 of image 77");
}

TEST(Gather, NormalisesPixels) {
    Images images;
    images.pixels = Bytes(2 * image_size, 0);
    images.pixels[image_size] = 255;
    images.labels = {1, 2};
    const std::uint32_t indices[] = {1, 0};
    std::vector<float> rows;
    std::vector<std::uint32_t> labels;
    gather(images, indices, 2, rows, labels);
    EXPECT_EQ(labels, (std::vector<std::uint32_t>{2, 1}));
    EXPECT_FLOAT_EQ(rows[0], (1.0f - pixel_mean) / pixel_deviation);
    EXPECT_FLOAT_EQ(rows[1], -pixel_mean / pixel_deviation);
}

}  // namespace
}  // namespace sample
