// Applying and learning transforms and convolutions of images.
#include "check.hpp"
#include "factor.hpp"
#include "transforms_apply.hpp"

#include <array>

namespace danaus {

using namespace detail;

namespace {

// Of a later stage: the gradient that it starts from is scaled already.
GradientOptions scaled_before(GradientOptions options) {
    options.scale = 1.0f;
    return options;
}

Shape images(const Tensor& x, std::uint64_t height, std::uint64_t width) {
    return {x.rank() ? x.size(0) : 0, height, width};
}

// What x, or of the transpose dy, and what comes out of it have as images.
Shape shape_of(const Tensor& x, const Transform2d& a, bool out) {
    return out ? images(x, a.along_columns.out_features, a.along_rows.out_features)
               : images(x, a.along_columns.in_features, a.along_rows.in_features);
}

void check_operand(const Recorder& recorder, const char* name, const Tensor& x, const Transform2d& a,
                   bool transpose) {
    require_tensor(recorder, name, x);
    for (const Transform* one : {&a.along_rows, &a.along_columns}) {
        require(!one->matrix.factors.empty(), "a: a null transform");
        for (const KroneckerFactor& factor : one->matrix.factors)
            require_tensor(recorder, "a", factor.weight);
    }
    require(a.along_columns.type() == a.along_rows.type(), "along_columns: type {}, along_rows has {}",
            to_string(a.along_columns.type()), to_string(a.along_rows.type()));
    require_shape(name, x, shape_of(x, a, transpose));
    check_transform_operand(recorder, name, x, a.along_rows, transpose);
}

// Throws unless `out` can hold images of that shape and type; what it overlaps is not looked at.
void check_result(const Recorder& recorder, const char* name, const Tensor& out, const Shape& shape,
                  DataType type) {
    require_tensor(recorder, name, out);
    require_shape(name, out, shape);
    require_type(name, out, type);
    require_no_self_overlap(name, out);
}

// Columns are the rows of a transposed view.
void apply(Recorder& recorder, const Tensor& out, const char* name, const Tensor& x, const Transform2d& a,
           bool transpose) {
    check_operand(recorder, name, x, a, transpose);
    check_result(recorder, "out", out, shape_of(x, a, !transpose), a.along_rows.type());
    require_disjoint("out", out, name, x);
    for (const Transform* one : {&a.along_rows, &a.along_columns})
        for (const KroneckerFactor& factor : one->matrix.factors)
            require_disjoint("out", out, "a", factor.weight);
    const Tensor inner =
        empty(recorder, a.along_rows.type(),
              images(x, x.size(1), transpose ? a.along_rows.in_features : a.along_rows.out_features));
    apply_transform(recorder, inner, x, a.along_rows, transpose);
    apply_transform(recorder, out.transpose(), inner.transpose(), a.along_columns, transpose);
}

}  // namespace

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Transform2d& a) {
    apply(recorder, out, "x", x, a, false);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Transform2d& a) {
    check_operand(recorder, "x", x, a, false);
    const Tensor out = empty(recorder, a.along_rows.type(), shape_of(x, a, true));
    apply(recorder, out, "x", x, a, false);
    return out;
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Transform2d& a) {
    apply(recorder, out, "dy", dy, a, true);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Transform2d& a) {
    check_operand(recorder, "dy", dy, a, true);
    const Tensor out = empty(recorder, a.along_rows.type(), shape_of(dy, a, false));
    apply(recorder, out, "dy", dy, a, true);
    return out;
}

void backward_into(Recorder& recorder, const Transform2dGradients& out, const Tensor& dy, const Tensor& x,
                   const Transform2d& a, const GradientOptions& options) {
    check_operand(recorder, "x", x, a, false);
    check_operand(recorder, "dy", dy, a, true);
    require_shape("dy", dy, shape_of(x, a, true));
    const DataType type = a.along_rows.type();
    if (out.dx) check_result(recorder, "dx", out.dx, x.shape(), type);
    const std::array parts{WeightGradients{"along_rows", &out.along_rows, &a.along_rows.matrix},
                           WeightGradients{"along_columns", &out.along_columns, &a.along_columns.matrix}};
    check_gradients(recorder, parts, out.dx, dy, x);

    const bool rows = out.dx || parts[0].any(), columns = parts[1].any();
    if (!rows && !columns) return;
    const Shape shape = images(x, x.size(1), a.along_rows.out_features);
    const Tensor inner = empty(recorder, type, shape);  // but for its columns' gradients not even read
    if (columns) apply_transform(recorder, inner, x, a.along_rows, false);
    const Tensor dinner = rows ? empty(recorder, type, shape) : Tensor();
    backward_into(recorder, {rows ? dinner.transpose() : Tensor(), out.along_columns}, dy.transpose(),
                  inner.transpose(), a.along_columns, options);
    if (rows)
        backward_into(recorder, {out.dx, out.along_rows}, dinner, x, a.along_rows, scaled_before(options));
}

// --- convolutions

namespace {

void check_images(const Recorder& recorder, const char* name, const Tensor& x, const Convolution2d& a,
                  bool transpose) {
    require(!a.columns.factors.empty() && !a.rows.matrix.factors.empty() &&
                !a.inverse_rows.matrix.factors.empty(),
            "a: a null convolution");
    for (const Chain* one : {&a.rows.matrix, &a.columns, &a.inverse_rows.matrix})
        for (const KroneckerFactor& factor : one->factors) {
            require_tensor(recorder, "a", factor.weight);
            require_type("a", factor.weight, DataType::complex64);
        }
    const std::uint64_t in = a.columns.in_features(), out = a.columns.out_features();
    require(a.width > 0 && a.rows.in_features == a.in_width && a.rows.out_features == a.width &&
                a.inverse_rows.in_features == a.width && a.inverse_rows.out_features == a.out_width &&
                in % a.width == 0 && out % a.width == 0 && in / a.width >= a.in_height &&
                out / a.width >= a.out_height,
            "a: its parts are not those of one convolution of {} × {} to {} × {} pixels", a.in_height,
            a.in_width, a.out_height, a.out_width);
    require_tensor(recorder, name, x);
    require_shape(name, x,
                  transpose ? images(x, a.out_height, a.out_width) : images(x, a.in_height, a.in_width));
    require(x.type() == DataType::f32 || is_complex(x.type()), "{}: type {}, f32 or complex64 is needed",
            name, to_string(x.type()));
}

// Images whose columns the chain takes or makes, a few lines more than those that are `used`, which are the
// first ones.
struct Lines {
    Tensor all, used;

    Lines() = default;
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
    if (out.dx) check_result(recorder, "dx", out.dx, x.shape(), DataType::complex64);
    const std::array parts{WeightGradients{"rows", &out.rows, &a.rows.matrix},
                           WeightGradients{"columns", &out.columns, &a.columns},
                           WeightGradients{"inverse_rows", &out.inverse_rows, &a.inverse_rows.matrix}};
    check_gradients(recorder, parts, out.dx, dy, x);

    const bool rows = out.dx || parts[0].any(), columns = parts[1].any(), inverse = parts[2].any();
    Lines in, made;  // what the columns' chain takes and makes of x
    if (inverse || columns) {
        in = zero_padded(recorder, x.size(0), a.columns.in_features(), a.in_height, a);
        matmul_into(recorder, in.used, x, a.rows);
    }
    if (inverse) made = through_columns(recorder, in, a, false);
    if (!rows && !columns) {
        if (inverse) backward_into(recorder, {{}, out.inverse_rows}, dy, made.used, a.inverse_rows, options);
        return;
    }
    const Lines dmade = zero_padded(recorder, x.size(0), a.columns.out_features(), a.out_height, a);
    // Without gradients of weights the input's shape is all that is looked at.
    backward_into(recorder, {dmade.used, out.inverse_rows}, dy, inverse ? made.used : dmade.used,
                  a.inverse_rows, options);
    const Shape taken{x.size(0), a.columns.in_features() / a.width, a.width};
    const Lines din = rows ? Lines(empty(recorder, DataType::complex64, taken), a.in_height) : in;
    backward_into(recorder, ChainGradients{rows ? din.columns() : Tensor(), out.columns}, dmade.columns(),
                  columns ? in.columns() : din.columns(), a.columns, {}, scaled_before(options));
    if (rows) backward_into(recorder, {out.dx, out.rows}, din.used, x, a.rows, scaled_before(options));
}

}  // namespace danaus
