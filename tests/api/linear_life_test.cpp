// Linear layers beside their passes: first values, what they keep, files, training.
#include "linear_oracle.hpp"
#include "reference/error_bound.hpp"
#include "reference/philox.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"
#include "support/temporary_file.hpp"

#include <cmath>
#include <filesystem>

namespace danaus {
namespace {

using test::device;
using test::expect_error;
using test::first_difference;
using test::make_linear;
using test::Structure;
using test::structures;

TEST(Linear, DrawsItsFirstValuesFromOneStream) {
    Stream stream(device());
    for (const Structure structure : structures) {
        const auto layer =
            make_linear(structure, stream, 12, 9, {.type = DataType::f16, .seed = 77, .gain = 2.0f});
        const bool two = test::has_factors(structure);
        const double gain = two ? std::sqrt(2.0) : 2.0;
        std::uint64_t block = 0;
        for (const Parameter& parameter : layer->parameters()) {
            const bool bias = &parameter == &layer->parameters().back();
            const Shape& shape = parameter.master.shape();
            const double inputs = bias ? 12.0 : static_cast<double>(shape[shape.rank() - 1]);
            const double bound = (bias ? 1.0 : gain) / std::sqrt(inputs);
            std::vector<double> expected = reference::philox_uniform(77, block, parameter.master.elements());
            for (double& value : expected) value = bound * (2.0 * value - 1.0);
            const std::vector<float> master = download(stream, parameter.master);
            EXPECT_EQ(reference::first_mismatch(master, expected, 1e-6, 1e-6), "") << structure;
            const bool copied = !bias && !dynamic_cast<const Linear24*>(layer.get());
            EXPECT_EQ(parameter.working.type(), copied ? DataType::f16 : DataType::f32);
            EXPECT_EQ(first_difference(download(stream, parameter.working),
                                       reference::round_to(test::float_type(parameter.working.type()),
                                                           std::span<const float>(master))),
                      "");
            block += philox_blocks(parameter.master.elements());
        }
        EXPECT_EQ(layer->parameters().size(), two ? 3u : 2u);
        // Without numbers for the bias the weights are the same.
        const auto zero = make_linear(structure, stream, 12, 9,
                                      {.type = DataType::f16, .seed = 77, .gain = 2.0f, .zero_bias = true});
        EXPECT_EQ(first_difference(download(stream, zero->parameters()[0].master),
                                   download(stream, layer->parameters()[0].master)),
                  "");
        EXPECT_EQ(first_difference(download(stream, zero->parameters().back().master), std::vector<float>(9)),
                  "");
    }
    // A 2:4 layer has a dense copy when it is asked for, and the same weights with it.
    const LinearOptions options{.type = DataType::bf16, .seed = 7};
    const SparseLinear24 lean(stream, 12, 9, {}, options),
        copied(stream, 12, 9, {.working_copy = true}, options);
    EXPECT_EQ(copied.parameters()[0].working.type(), DataType::bf16);
    EXPECT_EQ(copied.weight().copy_bytes() - lean.weight().copy_bytes(), 12u * 9 * 2);
    EXPECT_EQ(first_difference(download(stream, to_dense(stream, lean.weight().compressed())),
                               download(stream, to_dense(stream, copied.weight().compressed()))),
              "");
}

TEST(Linear, CountsWhatItKeeps) {
    Stream stream(device());
    const auto kept = [&](Structure structure, std::uint64_t in, std::uint64_t out) {
        const auto layer = make_linear(structure, stream, in, out, {.bias = false, .type = DataType::f16});
        if (!dynamic_cast<const Linear24*>(layer.get())) {
            EXPECT_EQ(layer->bytes(), layer->kept() * 2);
        }
        return layer->kept();
    };
    EXPECT_EQ(kept(Structure::dense, 12, 24), 288u);
    EXPECT_EQ(kept(Structure::block_diagonal, 12, 24), 96u);
    EXPECT_EQ(kept(Structure::monarch, 12, 24), 3u * (4 * 4 + 8 * 4));
    EXPECT_EQ(kept(Structure::monarch, 24, 12), 3u * (4 * 8 + 4 * 4));
    EXPECT_EQ(kept(Structure::sparse24, 12, 24), 144u);
    EXPECT_EQ(kept(Structure::sparse24, 9, 8), 8u * (4 + 1));
    EXPECT_EQ(kept(Structure::sparse24, 10, 8), 8u * (4 + 2));
    EXPECT_EQ(kept(Structure::sparse24, 11, 8), 8u * (4 + 2));
    EXPECT_EQ(kept(Structure::sparse_monarch, 24, 36), 3u * (8 * 4 + 12 * 4));
    EXPECT_EQ(kept(Structure::sparse_monarch, 26, 16), 3u * (6 * (4 + 1) + 6 * (2 + 2)));
    SparseLinear24 layer(stream, 32, 8, {}, {.type = DataType::f16});
    EXPECT_EQ(layer.bytes(), 8u * (16 * 2 + 4));
    layer.weight().set_sparse(stream, false);
    EXPECT_EQ(layer.kept(), 256u);
    EXPECT_EQ(layer.bytes(), 512u);
}

// Masters, working copies, and of a 2:4 layer mask and values.
std::vector<float> state_of(Stream& stream, const Linear& layer) {
    std::vector<float> all;
    const auto add = [&](const std::vector<float>& values) {
        all.insert(all.end(), values.begin(), values.end());
    };
    for (const Parameter& parameter : layer.parameters())
        add(download(stream, parameter.master)), add(download(stream, parameter.working));
    if (const auto* sparse = dynamic_cast<const Linear24*>(&layer))
        for (const SparseWeight24& weight : sparse->weights()) {
            add(download(stream, to_dense(stream, weight.compressed())));
            for (const std::uint32_t word : download_u32(stream, weight.mask()))
                all.push_back(static_cast<float>(word));
        }
    return all;
}

TEST(Linear, IsSavedAndLoadedWholeOrNotAtAll) {
    Stream stream(device());
    const test::TemporaryFile first, second;
    const auto &path = first.path, &other = second.path;
    const Tensor x = upload(stream, test::random_values(5 * 12, 9), {5, 12}, DataType::f16);
    for (const Structure structure : structures) {
        const LinearOptions options{.type = DataType::f16, .seed = 1};
        const auto saved = make_linear(structure, stream, 12, 9, options);
        const bool two = test::has_factors(structure);
        const char* weight = two ? "blkdiag1" : "weight";
        SafetensorsWriter writer;
        saved->add_to(writer, "up");
        expect_error(ErrorKind::invalid_argument, {"up.", "before"}, [&] { saved->add_to(writer, "up"); });
        const auto spoil = [&](const std::string& name, const std::function<void(SafetensorsWriter&)>& add) {
            SafetensorsWriter bad;
            saved->add_to(bad, "good");
            add(bad);
            bad.save(stream, other);
            const SafetensorsFile opened(other);
            const auto target = make_linear(structure, stream, 12, 9, {.type = DataType::f16, .seed = 2});
            const std::vector<float> before = state_of(stream, *target);
            expect_error(ErrorKind::invalid_argument, {name},
                         [&] { target->load_from(stream, opened, "bad"); });
            EXPECT_EQ(first_difference(state_of(stream, *target), before), "") << structure << name;
        };
        // Everything but one tensor, which is missing, of another shape or type, or not finite.
        for (const std::string& broken : {std::string(weight), std::string("bias")})
            for (const int how : {0, 1, 2, 3})
                spoil("bad." + broken, [&](SafetensorsWriter& bad) {
                    std::size_t i = 0;
                    for (const char* name : {weight, two ? "blkdiag2" : "bias", "bias"}) {
                        if (i == saved->parameters().size()) break;
                        const Tensor& master = saved->parameters()[i++].master;
                        if (name != broken) {
                            bad.add(std::string("bad.") + name, master);
                            continue;
                        }
                        std::vector<float> values = download(stream, master);
                        if (how == 1) bad.add("bad." + broken, master.reshape({1, master.elements()}));
                        if (how == 2)
                            bad.add("bad." + broken,
                                    upload(stream, std::vector<std::uint32_t>(master.elements()),
                                           master.shape()));
                        values.back() = std::nanf("");
                        if (how == 3) bad.add("bad." + broken, upload(stream, values, master.shape()));
                    }
                    const auto* sparse = dynamic_cast<const Linear24*>(saved.get());
                    for (std::size_t k = 0; sparse && k < sparse->weights().size(); ++k)
                        bad.add(!two     ? "bad.mask"
                                : k == 0 ? "bad.blkdiag1.mask"
                                         : "bad.blkdiag2.mask",
                                sparse->weights()[k].mask());
                });
        writer.save(stream, path);
        const auto loaded = make_linear(structure, stream, 12, 9, {.type = DataType::f16, .seed = 2});
        const std::vector<float> before = state_of(stream, *loaded);
        {
            // Cut behind the header, while it is open.
            std::filesystem::copy_file(path, other, std::filesystem::copy_options::overwrite_existing);
            const SafetensorsFile cut(other);
            std::filesystem::resize_file(other, std::filesystem::file_size(other) - 4);
            expect_error(ErrorKind::file, {other.filename().string()},
                         [&] { loaded->load_from(stream, cut, "up"); });
            EXPECT_EQ(first_difference(state_of(stream, *loaded), before), "") << structure;
        }
        loaded->load_from(stream, SafetensorsFile(path), "up");
        EXPECT_EQ(first_difference(state_of(stream, *loaded), state_of(stream, *saved)), "") << structure;
        EXPECT_EQ(first_difference(download(stream, loaded->forward(stream, x)),
                                   download(stream, saved->forward(stream, x))),
                  "");
    }
}

// The switch is no part of the file, and the writer heeds it as it is when it writes.
TEST(SparseLinear24, IsReadBeforeAndWrittenAfterASwitch) {
    Stream stream(device());
    const test::TemporaryFile temporary;
    const auto& path = temporary.path;
    const SparseLinear24 saved(stream, 12, 8, {}, {.bias = false, .seed = 1});
    SafetensorsWriter writer;
    // Without a bias there is no name for it to take.
    writer.add("up.bias", saved.parameters()[0].master);
    saved.add_to(writer, "up");
    writer.save(stream, path);
    const SafetensorsFile file(path);
    for (const bool sparse_then : {false, true}) {
        SparseLinear24 layer(stream, 12, 8, {}, {.bias = false, .seed = 2});
        layer.weight().set_sparse(stream, !sparse_then);
        const auto before = download(stream, layer.weight().compressed().values());
        const auto write = layer.read_from(stream, file, "up");
        layer.weight().set_sparse(stream, sparse_then);
        write(stream);
        EXPECT_EQ(layer.weight().sparse(), sparse_then);
        EXPECT_EQ(
            first_difference(download(stream, layer.weight().compressed().values()),
                             sparse_then ? download(stream, saved.weight().compressed().values()) : before),
            "");
        layer.weight().set_sparse(stream, true);
        EXPECT_EQ(first_difference(state_of(stream, layer), state_of(stream, saved)), "");
    }
}

// The manual's loop: every structure learns what another of its kind does.
TEST(Linear, TrainingLoopsNeedNotAskWhichStructureItIs) {
    Stream stream(device());
    constexpr std::size_t in = 12, out = 12, tokens = 32;
    constexpr std::uint64_t steps = 60;
    const Tensor x = upload(stream, test::random_values(tokens * in, 1), {tokens, in});
    for (const Structure structure : structures) {
        std::vector<float> target = download(
            stream, make_linear(structure, stream, in, out, {.seed = 1, .gain = 3.0f})->forward(stream, x));
        for (float& value : target) value = -value;
        const Tensor minus_target = upload(stream, target, {tokens, out});
        std::unique_ptr<Linear> layer = make_linear(structure, stream, in, out, {.seed = 2});
        SparseLinear24Options sparse{.schedule = {.steps = steps, .refresh_every = 5}};
        if (structure == Structure::sparse24)
            layer = std::make_unique<SparseLinear24>(stream, in, out, sparse, LinearOptions{.seed = 2});
        sparse.schedule.dense_fraction = 0.5;  // two small factors take longer to settle
        if (structure == Structure::sparse_monarch)
            layer = std::make_unique<SparseMonarchLinear24>(stream, in, out, test::blocks, sparse,
                                                            LinearOptions{.seed = 2});
        const Optimizer optimizer(stream, layer->parameters(), AdamWOptions{.learning_rate = 0.03f});
        layer->follow(optimizer);
        const auto distance = [&](const Tensor& y) {
            return download(stream, global_norm(stream, {{y}}))[0];
        };
        float first = 0.0f, last = 0.0f;
        for (std::uint64_t step = 0; step < steps; ++step) {
            Linear::Saved saved;
            const Tensor error = layer->forward(stream, x, {.residual = minus_target}, &saved);
            layer->backward_into(stream, {}, error, saved);
            optimizer.step(stream);
            layer->after_step(stream, step);
            if (step == 0) first = distance(error);
            if (step + 1 == steps) last = distance(error);
        }
        EXPECT_LT(last, 0.3f * first) << structure;
    }
}

}  // namespace
}  // namespace danaus
