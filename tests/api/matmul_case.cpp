#include "matmul_case.hpp"

#include <sstream>

namespace danaus::test {
namespace {

using reference::Matrix;

Matrix product(Verb verb, const Matrix& a, const Matrix& b) {
    if (verb == Verb::forward) return reference::matmul(a, b);
    if (verb == Verb::transposed) return reference::matmul_transposed(a, b);
    return reference::weight_gradient(a, b);
}

// An operand's values, (batch or 1) matrices of rows × columns.
std::vector<float> draw_values(const MatmulCase& one, const Layout& layout, std::size_t matrices,
                               std::size_t rows, std::size_t columns, unsigned seed) {
    const std::size_t count = matrices * rows * columns;
    std::vector<float> values =
        one.whole ? whole_values(count, seed, 3) : random_values(count, seed, one.type);
    if (layout.broadcast)
        for (std::size_t i = 0; i < count; ++i)
            values[i] = values[i / (rows * columns) * rows * columns + i % columns];
    return values;
}

Matrix member(const std::vector<float>& values, std::size_t index, std::size_t rows, std::size_t columns) {
    return {rows, columns, std::span<const float>(values).subspan(index * rows * columns, rows * columns)};
}

Shape shape_of(bool batched, std::size_t batch, std::size_t rows, std::size_t columns) {
    return batched ? Shape{batch, rows, columns} : Shape{rows, columns};
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const MatmulCase& one) {
    const char* verbs[] = {"forward", "transposed", "gradient"};
    return out << verbs[static_cast<int>(one.verb)] << " m " << one.m << " n " << one.n << " k " << one.k
               << " batch " << one.batch << (one.batched_a ? "a" : "") << (one.batched_b ? "b" : "") << " "
               << to_string(one.type) << (one.widen ? " widened" : "") << " a " << one.a << " b " << one.b
               << " c " << one.c << (one.whole ? " whole" : "") << " seed " << one.seed;
}

std::string mismatch(Stream& stream, const MatmulCase& one, const Multiply& multiply) {
    const bool gradient = one.verb == Verb::gradient;
    const bool a_batched = one.batch > 0 && (one.batched_a || gradient),
               b_batched = one.batch > 0 && (one.batched_b || gradient);
    const std::size_t a_rows = gradient ? one.k : one.m, a_columns = gradient ? one.m : one.k,
                      b_rows = one.verb == Verb::forward ? one.n : one.k,
                      b_columns = one.verb == Verb::forward ? one.k : one.n;
    const auto a = draw_values(one, one.a, a_batched ? one.batch : 1, a_rows, a_columns, 2 * one.seed),
               b = draw_values(one, one.b, b_batched ? one.batch : 1, b_rows, b_columns, 2 * one.seed + 1);
    const Placed ta(stream, one.type, shape_of(a_batched, one.batch, a_rows, a_columns), one.a, a),
        tb(stream, one.type, shape_of(b_batched, one.batch, b_rows, b_columns), one.b, b);
    const DataType result = one.widen ? DataType::f32 : one.type;
    const Placed out(stream, result, shape_of(a_batched || b_batched, one.batch, one.m, one.n), one.c);

    if (multiply)
        multiply(out, ta, tb);
    else if (one.verb == Verb::forward)
        matmul_into(stream, out, ta, tb);
    else if (one.verb == Verb::transposed)
        matmul_transposed_into(stream, out, ta, tb);
    else
        weight_gradient_into(stream, out, ta, tb);
    const Placed::Contents contents = out.read(stream);

    std::vector<double> expected, bound;
    const std::size_t batch = a_batched || b_batched ? one.batch : 1;
    for (std::size_t i = 0; i < batch; ++i) {
        const Matrix ra = member(a, a_batched ? i : 0, a_rows, a_columns),
                     rb = member(b, b_batched ? i : 0, b_rows, b_columns);
        Matrix y = product(one.verb, ra, rb);
        Matrix error(y.rows, y.cols);
        if (one.whole)
            y.data = reference::round_to(float_type(result), std::span<const double>(y.data));
        else
            error =
                reference::dot_bound(one.k, {.output = float_type(result)},
                                     product(one.verb, reference::absolute(ra), reference::absolute(rb)), y);
        expected.insert(expected.end(), y.data.begin(), y.data.end());
        bound.insert(bound.end(), error.data.begin(), error.data.end());
    }
    std::string text = reference::first_mismatch(reference::to_double(contents.values), expected, bound);
    if (text.empty()) text = contents.damage;
    if (text.empty()) return text;
    std::ostringstream out_text;
    out_text << one << ": " << text;
    return out_text.str();
}

}  // namespace danaus::test
