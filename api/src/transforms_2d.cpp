// Applying and learning transforms and convolutions of images.
#include "check.hpp"
#include "factor.hpp"
#include "transforms_apply.hpp"

#include <array>

namespace danaus {

using namespace detail;

namespace {

// Gradients of one part of a transform of images, and what they are called in messages.
struct Part {
    const char* name;
    const std::vector<Tensor>* dw;
    const Chain* w;
};

// Everything that a backward pass writes lies apart from what it reads and from each other. Only dx, which is
// written last, may lie where x did.
void check_gradients(const Recorder& recorder, std::span<const Part> parts, const Tensor& dx,
                     const Tensor& dy, const Tensor& x) {
    std::vector<std::pair<std::string, const Tensor*>> written;
    if (dx) written.emplace_back("dx", &dx);
    for (const Part& part : parts) {
        check_factor_gradients(recorder, part.name, *part.dw, *part.w);
        for (std::size_t i = 0; i < part.dw->size(); ++i)
            if ((*part.dw)[i]) written.emplace_back(fmt::format("{}[{}]", part.name, i), &(*part.dw)[i]);
    }
    for (std::size_t i = 0; i < written.size(); ++i) {
        const auto& [name, tensor] = written[i];
        const auto apart = [&, n = name.c_str(), t = tensor](const char* other, const Tensor& from) {
            require_disjoint(n, *t, other, from);
        };
        apart("dy", dy);
        if (tensor != &dx) apart("x", x);
        for (const Part& part : parts)
            for (const KroneckerFactor& factor : part.w->factors) apart("a", factor.weight);
        for (std::size_t j = 0; j < i; ++j) apart(written[j].first.c_str(), *written[j].second);
    }
}

bool any(const std::vector<Tensor>& tensors) {
    for (const Tensor& tensor : tensors)
        if (tensor) return true;
    return false;
}

// Of a later stage: the gradient that it starts from is scaled already.
GradientOptions scaled_before(GradientOptions options) {
    options.scale = 1.0f;
    return options;
}

void check_images(const Recorder& recorder, const char* name, const Tensor& x, const Transform2d& a) {
    require_tensor(recorder, name, x);
    require_rank(name, x, 3);
    for (const Transform* one : {&a.along_rows, &a.along_columns})
        require(!one->matrix.factors.empty(), "a: a null transform");
    require(a.along_columns.type() == a.along_rows.type(), "along_columns: type {}, along_rows has {}",
            to_string(a.along_columns.type()), to_string(a.along_rows.type()));
}

// What lies between the two: x with its rows transformed.
Tensor check_operand(Recorder& recorder, const char* name, const Tensor& x, const Transform2d& a,
                     bool transpose) {
    check_images(recorder, name, x, a);
    check_transform_operand(recorder, name, x, a.along_rows, transpose);
    const std::uint64_t width = transpose ? a.along_rows.in_features : a.along_rows.out_features;
    Tensor inner = empty(recorder, a.along_rows.type(), with_features(x, width));
    check_transform_operand(recorder, name, inner.transpose(), a.along_columns, transpose);
    return inner;
}

// Columns are the rows of a transposed view.
void apply(Recorder& recorder, const Tensor& out, const char* name, const Tensor& x, const Transform2d& a,
           bool transpose) {
    const Tensor inner = check_operand(recorder, name, x, a, transpose);
    require_tensor(recorder, "out", out);
    require_rank("out", out, 3);
    check_transform_result(recorder, out.transpose(), name, inner.transpose(), a.along_columns, transpose);
    require_disjoint("out", out, name, x);
    for (const KroneckerFactor& factor : a.along_rows.matrix.factors)
        require_disjoint("out", out, "a", factor.weight);
    apply_transform(recorder, inner, x, a.along_rows, transpose);
    apply_transform(recorder, out.transpose(), inner.transpose(), a.along_columns, transpose);
}

}  // namespace

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Transform2d& a) {
    apply(recorder, out, "x", x, a, false);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Transform2d& a) {
    check_images(recorder, "x", x, a);
    const Tensor out = empty(recorder, a.along_rows.type(),
                             {x.size(0), a.along_columns.out_features, a.along_rows.out_features});
    apply(recorder, out, "x", x, a, false);
    return out;
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Transform2d& a) {
    apply(recorder, out, "dy", dy, a, true);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Transform2d& a) {
    check_images(recorder, "dy", dy, a);
    const Tensor out = empty(recorder, a.along_rows.type(),
                             {dy.size(0), a.along_columns.in_features, a.along_rows.in_features});
    apply(recorder, out, "dy", dy, a, true);
    return out;
}

void backward_into(Recorder& recorder, const Transform2dGradients& out, const Tensor& dy, const Tensor& x,
                   const Transform2d& a, const GradientOptions& options) {
    const Tensor inner = check_operand(recorder, "x", x, a, false);
    check_images(recorder, "dy", dy, a);
    require_shape("dy", dy, Shape{x.size(0), a.along_columns.out_features, a.along_rows.out_features});
    check_transform_operand(recorder, "dy", dy, a.along_rows, true);
    if (out.dx) {
        require_tensor(recorder, "dx", out.dx);
        require_shape("dx", out.dx, x.shape());
        require_type("dx", out.dx, a.along_rows.type());
        require_no_self_overlap("dx", out.dx);
    }
    const std::array parts{Part{"along_rows", &out.along_rows, &a.along_rows.matrix},
                           Part{"along_columns", &out.along_columns, &a.along_columns.matrix}};
    check_gradients(recorder, parts, out.dx, dy, x);

    const bool learns_rows = any(out.along_rows), learns_columns = any(out.along_columns);
    if (learns_columns) apply_transform(recorder, inner, x, a.along_rows, false);
    Tensor dinner;
    if (out.dx || learns_rows) dinner = empty(recorder, inner.type(), inner.shape());
    backward_into(recorder, {dinner ? dinner.transpose() : Tensor(), out.along_columns}, dy.transpose(),
                  inner.transpose(), a.along_columns, options);
    if (dinner)
        backward_into(recorder, {out.dx, out.along_rows}, dinner, x, a.along_rows, scaled_before(options));
}

// --- convolutions

namespace {

void check_images(const Recorder& recorder, const char* name, const Tensor& x, const Convolution2d& a,
                  bool transpose) {
    require(!a.columns.factors.empty(), "a: a null convolution");
    require_tensor(recorder, name, x);
    require_shape(name, x,
                  Shape{x.rank() ? x.size(0) : 0, transpose ? a.out_height : a.in_height,
                        transpose ? a.out_width : a.in_width});
    require(x.type() == DataType::f32 || is_complex(x.type()), "{}: type {}, f32 or complex64 is needed",
            name, to_string(x.type()));
}

// Images whose columns the chain takes or makes, a few lines more than those that are `used`, which are the
// first ones.
struct Lines {
    Tensor all, used;

    Lines(Tensor whole, std::uint64_t height) : all(std::move(whole)), used(all.slice(1, 0, height)) {}
    [[nodiscard]] Tensor columns() const { return all.reshape({all.size(0), all.size(1) * all.size(2)}); }
};

// With zeros where nothing is used.
Lines zero_padded(Recorder& recorder, std::uint64_t images, std::uint64_t features, std::uint64_t height,
                  const Convolution2d& a) {
    const std::uint64_t lines = features / a.width;
    Lines out(empty(recorder, DataType::complex64, {images, lines, a.width}), height);
    if (lines > height) fill_into(recorder, out.all.slice(1, height, lines), 0.0);
    return out;
}

Lines through_columns(Recorder& recorder, const Lines& in, const Convolution2d& a, bool transpose) {
    const Tensor made = transpose ? matmul_transposed(recorder, in.columns(), a.columns)
                                  : matmul(recorder, in.columns(), a.columns);
    return {made.reshape({in.all.size(0), made.size(1) / a.width, a.width}),
            transpose ? a.in_height : a.out_height};
}

}  // namespace

// Rows to their frequencies, columns there, rows back; or all of it backwards.
Tensor matmul(Recorder& recorder, const Tensor& x, const Convolution2d& a) {
    check_images(recorder, "x", x, a, false);
    const Lines in = zero_padded(recorder, x.size(0), a.columns.in_features(), a.in_height, a);
    matmul_into(recorder, in.used, x, a.rows);
    return matmul(recorder, through_columns(recorder, in, a, false).used, a.inverse_rows);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Convolution2d& a) {
    check_images(recorder, "dy", dy, a, true);
    const Lines in = zero_padded(recorder, dy.size(0), a.columns.out_features(), a.out_height, a);
    matmul_transposed_into(recorder, in.used, dy, a.inverse_rows);
    return matmul_transposed(recorder, through_columns(recorder, in, a, true).used, a.rows);
}

void backward_into(Recorder& recorder, const Convolution2dGradients& out, const Tensor& dy, const Tensor& x,
                   const Convolution2d& a, const GradientOptions& options) {
    check_images(recorder, "x", x, a, false);
    check_images(recorder, "dy", dy, a, true);
    require(dy.size(0) == x.size(0), "dy: {} images, x has {}", dy.size(0), x.size(0));
    if (out.dx) {
        require_tensor(recorder, "dx", out.dx);
        require_shape("dx", out.dx, x.shape());
        require_type("dx", out.dx, DataType::complex64);
        require_no_self_overlap("dx", out.dx);
    }
    const std::array parts{Part{"rows", &out.rows, &a.rows.matrix}, Part{"columns", &out.columns, &a.columns},
                           Part{"inverse_rows", &out.inverse_rows, &a.inverse_rows.matrix}};
    check_gradients(recorder, parts, out.dx, dy, x);

    const bool inverse = any(out.inverse_rows), columns = any(out.columns), rows = any(out.rows) || out.dx;
    const Lines in = zero_padded(recorder, x.size(0), a.columns.in_features(), a.in_height, a);
    if (inverse || columns) matmul_into(recorder, in.used, x, a.rows);
    Tensor spectra;  // of y
    if (inverse) spectra = through_columns(recorder, in, a, false).used;
    if (!rows && !columns) {
        if (inverse) backward_into(recorder, {{}, out.inverse_rows}, dy, spectra, a.inverse_rows, options);
        return;
    }
    const Lines dspectra = zero_padded(recorder, x.size(0), a.columns.out_features(), a.out_height, a);
    if (!inverse) spectra = dspectra.used;  // its shape: nothing is read
    backward_into(recorder, {dspectra.used, out.inverse_rows}, dy, spectra, a.inverse_rows, options);
    const Lines din(rows ? empty(recorder, DataType::complex64, in.all.shape()) : in.all, a.in_height);
    backward_into(recorder, ChainGradients{rows ? din.columns() : Tensor(), out.columns}, dspectra.columns(),
                  in.columns(), a.columns, {}, scaled_before(options));
    if (rows) backward_into(recorder, {out.dx, out.rows}, din.used, x, a.rows, scaled_before(options));
}

}  // namespace danaus
