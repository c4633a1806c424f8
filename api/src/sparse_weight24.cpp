// The life cycle of a 2:4 weight: nothing here computes, it says which operation comes when.
#include "compressed.hpp"
#include "linear_checks.hpp"
#include "loading.hpp"
#include "multiply.hpp"
#include "optimizer_checks.hpp"

#include <danaus/sparse_weight24.hpp>

#include <cmath>

namespace danaus {

using detail::require;

std::uint64_t SparseSchedule::dense_from() const {
    require(dense_fraction >= 0.0 && dense_fraction <= 1.0, "dense_fraction: {}, 0 to 1 is needed",
            dense_fraction);
    if (steps == 0) return UINT64_MAX;
    return steps - static_cast<std::uint64_t>(dense_fraction * static_cast<double>(steps));
}

void detail::check_search(const SparseWeight24Options& options) {
    require(options.search <= TransposableSearch::two_approximation,
            "search: {}, exact, greedy or two_approximation is needed",
            static_cast<std::uint32_t>(options.search));
    require(!options.tile_codes || (options.transposable && options.search == TransposableSearch::exact),
            "tile_codes: true, transposable masks of the exact search are needed");
}

SparseWeight24::SparseWeight24(Recorder& recorder, const Parameter& weight,
                               const SparseWeight24Options& options)
    : weight_(weight), options_(options) {
    detail::require_tensor(recorder, "weight.master", weight.master);
    detail::require_type("weight.master", weight.master, DataType::f32);
    const Shape& shape = weight.master.shape();
    require(shape.rank() == 2 || shape.rank() == 3, "weight.master: shape {}, rank 2 or 3 is needed",
            to_string(shape));
    if (weight.working) {
        detail::require_tensor(recorder, "weight.working", weight.working);
        detail::require_floating("weight.working", weight.working);
        detail::require_shape("weight.working", weight.working, shape);
    }
    detail::check_search(options);
    check_gradient(recorder.device(), options.gradient);
    const bool copied = detail::has_copy(weight);
    const DataType own = copied ? weight.working.type() : DataType::f32;
    type_ = options.type.value_or(own);
    require(is_floating(type_), "type: {}, one of f32, f16, bf16 is needed", to_string(type_));
    require(!copied || type_ == own, "type: {}, that of weight.working, {}, is needed", to_string(type_),
            to_string(own));
    const Device device = recorder.device();
    mask_ = Tensor(device, DataType::u32, mask_shape(shape));
    flips_ = Tensor(device, DataType::u32, {1});
    if (options.tile_codes)
        tiles_ = TileSparse24(device, type_, shape);
    else
        compressed_ = Sparse24(device, type_, shape);
    fill_into(recorder, flips_, 0.0);
    choose(recorder, mask_);
    recompress(recorder);
}

void SparseWeight24::check_gradient(const Device& device, const UnbiasedOptions& gradient) const {
    static_cast<void>(unbiased_blocks(weight_.master.shape(), gradient.pruning));
    if (!gradient.step) return;
    require(gradient.step.device() == device, "gradient.step: of another device than the weight");
    detail::require_type("gradient.step", gradient.step, DataType::u32);
    detail::require_shape("gradient.step", gradient.step, {1});
}

void SparseWeight24::require_weight() const {
    require(static_cast<bool>(weight_.master), "weight: a default-constructed one has no memory");
}

const Tensor& SparseWeight24::dense() const {
    require_weight();
    return weight_.working ? weight_.working : weight_.master;
}

std::uint64_t SparseWeight24::copy_bytes() const {
    require_weight();
    const std::uint64_t form = tiles_ ? tiles_.bytes() : compressed_.bytes();
    const std::uint64_t working = detail::has_copy(weight_) ? weight_.working.elements() * size_of(type_) : 0;
    return form + mask_.elements() * size_of(DataType::u32) + working;
}

void SparseWeight24::choose(Recorder& recorder, const Tensor& mask) const {
    if (options_.transposable)
        select_transposable_mask_into(recorder, mask, weight_.master, options_.search);
    else
        select_mask_into(recorder, mask, weight_.master);
}

void SparseWeight24::refresh(Recorder& recorder) const {
    require_weight();
    const Tensor next = empty(recorder, DataType::u32, mask_.shape());
    choose(recorder, next);
    count_flips_into(recorder, flips_, next, mask_);
    convert_into(recorder, mask_, next);
    recompress(recorder);
}

void SparseWeight24::compress(Recorder& recorder) const {
    if (tiles_)
        compress_tiles_into(recorder, tiles_, dense(), mask_);
    else
        compress_into(recorder, compressed_, dense(), mask_);
}

void SparseWeight24::recompress(Recorder& recorder) const {
    require_weight();
    if (sparse_) compress(recorder);
}

void SparseWeight24::set_sparse(Recorder& recorder, bool sparse) {
    if (sparse && !sparse_) compress(recorder);
    sparse_ = sparse;
}

void SparseWeight24::set_gradient(const UnbiasedOptions& gradient) {
    check_gradient(dense().device(), gradient);
    options_.gradient = gradient;
}

template <typename Call>
auto SparseWeight24::through(const Call& call) const {
    require_weight();
    if (!sparse_) return call(dense());
    return tiles_ ? call(tiles_) : call(compressed_);
}

void SparseWeight24::rounded_into(Recorder& recorder, const Tensor& out, const Tensor& x, bool transpose,
                                  const Epilogue& epilogue) const {
    const char* const name = transpose ? "dy" : "x";
    const detail::CompressedShape w{weight_.master.shape(), type_};
    // Before the weight is rounded, for that is recorded.
    detail::check_operand(recorder, name, x, w, transpose);
    detail::require_result(recorder, out, detail::product_shape(x, w, transpose), type_);
    detail::check_epilogue(recorder, epilogue, out, type_);
    detail::require_apart(out, epilogue, name, x);
    const Tensor rounded = convert(recorder, dense(), type_);
    if (transpose)
        danaus::matmul_transposed_into(recorder, out, x, rounded, epilogue);
    else
        danaus::matmul_into(recorder, out, x, rounded, epilogue);
}

Tensor SparseWeight24::rounded(Recorder& recorder, const Tensor& x, bool transpose,
                               const Epilogue& epilogue) const {
    const detail::CompressedShape w{weight_.master.shape(), type_};
    detail::check_operand(recorder, transpose ? "dy" : "x", x, w, transpose);
    const Tensor out = detail::new_result(recorder, detail::product_shape(x, w, transpose), type_, epilogue);
    rounded_into(recorder, out, x, transpose, epilogue);
    return out;
}

bool SparseWeight24::rounds() const {
    return !sparse_ && dense().type() != type_;
}

Tensor SparseWeight24::matmul(Recorder& recorder, const Tensor& x, const Epilogue& epilogue) const {
    if (rounds()) return rounded(recorder, x, false, epilogue);
    return through([&](const auto& w) { return danaus::matmul(recorder, x, w, epilogue); });
}

void SparseWeight24::matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x,
                                 const Epilogue& epilogue) const {
    if (rounds()) return rounded_into(recorder, out, x, false, epilogue);
    through([&](const auto& w) { danaus::matmul_into(recorder, out, x, w, epilogue); });
}

Tensor SparseWeight24::matmul_transposed(Recorder& recorder, const Tensor& dy,
                                         const Epilogue& epilogue) const {
    if (rounds()) return rounded(recorder, dy, true, epilogue);
    return through([&](const auto& w) { return danaus::matmul_transposed(recorder, dy, w, epilogue); });
}

void SparseWeight24::matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                            const Epilogue& epilogue) const {
    if (rounds()) return rounded_into(recorder, out, dy, true, epilogue);
    through([&](const auto& w) { danaus::matmul_transposed_into(recorder, out, dy, w, epilogue); });
}

void SparseWeight24::weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const Tensor& x, const GradientOptions& options) const {
    const Shape& shape = dense().shape();
    const DataType type = type_;
    if (!sparse_ || !options_.prune_gradient) {
        if (tiles_) return danaus::weight_gradient_into(recorder, out, dy, x, tiles_, options);
        return danaus::weight_gradient_into(recorder, out, dy, x, compressed_, options);
    }
    detail::require_tensor(recorder, "dy", dy);
    detail::require_tensor(recorder, "x", x);
    const std::size_t rank = shape.rank();
    require(dy.rank() == x.rank() && (dy.rank() == 3 || (dy.rank() == 2 && rank == 2)),
            "dy: shape {} and x: shape {}, one rank is needed, {} for a weight {}", to_string(dy.shape()),
            to_string(x.shape()), rank == 2 ? "2 or 3" : "3", to_string(shape));
    require(dy.size(dy.rank() - 1) == shape[rank - 2],
            "dy: shape {}, its last size must be {} for a weight {}", to_string(dy.shape()), shape[rank - 2],
            to_string(shape));
    require(x.size(x.rank() - 1) == shape[rank - 1], "x: shape {}, its last size must be {} for a weight {}",
            to_string(x.shape()), shape[rank - 1], to_string(shape));
    for (std::size_t i = 0; i + 1 < dy.rank(); ++i)
        require(dy.size(i) == x.size(i), "x: shape {}, the batch and tokens of dy {} are needed",
                to_string(x.shape()), to_string(dy.shape()));
    detail::require_type("dy", dy, type);
    detail::require_type("x", x, type);
    require(rank == 2 || dy.size(0) == shape[0], "dy: batch {}, the weight has {} blocks", dy.size(0),
            shape[0]);
    detail::require_result(recorder, out, shape, type);
    detail::require_disjoint("out", out, "x", x);
    detail::require_disjoint("out", out, "dy", dy);
    const bool flatten = rank == 2 && dy.rank() == 3;
    const Tensor rows = flatten ? detail::as_rows(recorder, dy) : dy;
    const Tensor inputs = flatten ? detail::as_rows(recorder, x) : x;
    const Sparse24 kept = compress_unbiased(recorder, rows.transpose(), options_.gradient);
    danaus::weight_gradient_into(recorder, out, kept, inputs, options);
}

double SparseWeight24::flip_rate(Stream& stream) const {
    const std::uint64_t entries = dense().elements();
    return entries == 0 ? 0.0 : download_u32(stream, flips_).at(0) / static_cast<double>(entries);
}

void SparseWeight24::add_to(SafetensorsWriter& writer, const std::string& name) const {
    add_to(writer, name + ".weight", name + ".mask");
}

void SparseWeight24::add_to(SafetensorsWriter& writer, const std::string& weight,
                            const std::string& mask) const {
    require_weight();
    for (const std::string* name : {&weight, &mask})
        require(!writer.contains(*name), "name: \"{}\" was added before", *name);
    require(weight != mask, "name: \"{}\" for both weight and mask", mask);
    writer.add(weight, weight_.master);
    writer.add(mask, mask_);
}

void SparseWeight24::verify(Stream& stream, const Tensor& mask) const {
    const Shape& shape = dense().shape();
    const std::uint64_t columns = shape[shape.rank() - 1];
    if (!options_.transposable)
        verify_mask(stream, mask, columns);
    else
        detail::verify_tiles(stream, mask, columns, options_.search == TransposableSearch::exact);
}

std::function<void(Recorder&)> SparseWeight24::read_from(Stream& stream, const SafetensorsFile& file,
                                                         const std::string& name) const {
    return read_from(stream, file, name + ".weight", name + ".mask");
}

std::function<void(Recorder&)> SparseWeight24::read_from(Stream& stream, const SafetensorsFile& file,
                                                         const std::string& weight_name,
                                                         const std::string& mask_name) const {
    require_weight();
    const Tensor weight = detail::read_like(stream, file, weight_name, weight_.master);
    const Tensor mask = detail::read_like(stream, file, mask_name, mask_);
    verify(stream, mask);
    return [this, weight, mask](Recorder& recorder) {
        convert_into(recorder, weight_.master, weight);
        if (detail::has_copy(weight_)) convert_into(recorder, weight_.working, weight_.master);
        convert_into(recorder, mask_, mask);
        recompress(recorder);
    };
}

void SparseWeight24::load_from(Stream& stream, const SafetensorsFile& file, const std::string& name) const {
    read_from(stream, file, name)(stream);
}

std::optional<float> choose_decay(std::span<const DecayTrial> trials, double dense_flip_rate, double least,
                                  double most) {
    const auto rate = [](double value) { return std::isfinite(value) && value >= 0.0; };
    require(rate(dense_flip_rate) && dense_flip_rate > 0.0,
            "dense_flip_rate: {}, a finite number above 0 is needed", dense_flip_rate);
    require(rate(least) && rate(most) && least <= most,
            "least, most: {} and {}, finite numbers with 0 <= least <= most are needed", least, most);
    std::optional<float> best;
    double best_distance = 0.0;
    for (std::size_t i = 0; i < trials.size(); ++i) {
        const DecayTrial& trial = trials[i];
        require(rate(trial.decay), "trials[{}].decay: {}, a finite number >= 0 is needed", i, trial.decay);
        require(rate(trial.flip_rate), "trials[{}].flip_rate: {}, a finite number >= 0 is needed", i,
                trial.flip_rate);
        const double ratio = trial.flip_rate / dense_flip_rate;
        if (ratio < least || ratio > most) continue;
        const double distance = std::abs(ratio - (least + most) / 2);
        if (!best || distance < best_distance || (distance == best_distance && trial.decay < *best)) {
            best = trial.decay;
            best_distance = distance;
        }
    }
    return best;
}

}  // namespace danaus
