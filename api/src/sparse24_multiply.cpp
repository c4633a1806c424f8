// Multiplying by a 2:4 compressed matrix, and its straight-through gradient.
#include "check.hpp"
#include "factor.hpp"
#include "multiply.hpp"

#include <danaus/sparse24.hpp>

namespace danaus {
namespace {

using namespace detail;

void check_operands(const Recorder& recorder, const char* name, const Tensor& x, const Sparse24& a,
                    bool transpose) {
    require(static_cast<bool>(a), "a: a null matrix");
    require_tensor(recorder, "a", a.values());
    const Shape& shape = a.shape();
    const std::size_t r = shape.rank();
    require_tensor(recorder, name, x);
    require(x.rank() == 2 || x.rank() == 3, "{}: shape {}, rank 2 or 3 is needed", name,
            to_string(x.shape()));
    const std::uint64_t contraction = transpose ? shape[r - 2] : shape[r - 1];
    require(x.size(x.rank() - 1) == contraction, "{}: shape {}, its last size must be {} for a {}", name,
            to_string(x.shape()), contraction, to_string(shape));
    require(x.rank() == 2 || r == 2 || x.size(0) == shape[0], "{}: batch {}, a has {} blocks", name,
            x.size(0), shape[0]);
    require_type(name, x, a.type());
}

Shape result_shape(const Tensor& x, const Sparse24& a, bool transpose) {
    const std::size_t r = a.shape().rank();
    const std::uint64_t tokens = x.size(x.rank() - 2), features = a.shape()[transpose ? r - 1 : r - 2];
    if (r == 3) return {a.shape()[0], tokens, features};
    return x.rank() == 3 ? Shape{x.size(0), tokens, features} : Shape{tokens, features};
}

// Blocks are the inner batch; a batch of activations under one matrix is the outer one, or a longer list of
// tokens.
MultiplyProblem lower(const Tensor& out, const Tensor& x, const Sparse24& a, bool transpose) {
    const std::size_t r = a.shape().rank();
    const std::uint64_t rows = a.shape()[r - 2], cols = a.shape()[r - 1];
    const std::uint64_t row_values = a.values().size(r - 1);
    MultiplyProblem p;
    p.weight = kernels::MatmulDirect::Weight::sparse24;
    p.contract_columns = !transpose;
    p.m = x.size(x.rank() - 2);
    p.n = transpose ? cols : rows;
    p.k = transpose ? rows : cols;
    p.a = matrix_view(x);
    p.c = matrix_view(out);
    p.b = {a.values().buffer(), a.type(), a.values().offset(), 0, 0, 0, 0};
    (transpose ? p.b.row : p.b.column) = row_values;
    p.metadata_word = a.metadata().offset();
    p.metadata_words = a.metadata().elements();
    if (r == 3) {
        p.inner = a.shape()[0];
        p.a.inner = p.a.outer;
        p.c.inner = p.c.outer;
        p.a.outer = p.c.outer = 0;
        p.b.inner = rows * row_values;
    } else if (x.rank() == 3) {
        p.outer = x.size(0);
        if (p.outer > 0 && continues(x) && continues(out)) {
            p.m *= p.outer;
            p.outer = 1;
        }
    }
    p.label = transpose ? "sparse24_matmul_transposed" : "sparse24_matmul";
    return p;
}

// `x` and `a` are checked.
void multiply_into(Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                   const Sparse24& a, bool transpose, const Epilogue& epilogue) {
    require_result(recorder, out, result_shape(x, a, transpose), a.type());
    require_disjoint("out", out, name, x);
    require_disjoint("out", out, "a", a.values());
    require_disjoint("out", out, "a", a.metadata());
    check_epilogue(recorder, epilogue, out, a.type());
    MultiplyProblem problem = lower(out, x, a, transpose);
    const Tensor residual = set_epilogue(problem, epilogue, out, 1, 0);
    emit(recorder, problem, out, residual);
}

Tensor multiply(Recorder& recorder, const char* name, const Tensor& x, const Sparse24& a, bool transpose,
                const Epilogue& epilogue) {
    check_operands(recorder, name, x, a, transpose);
    const Tensor out = new_result(recorder, result_shape(x, a, transpose), a.type(), epilogue);
    multiply_into(recorder, out, name, x, a, transpose, epilogue);
    return out;
}

void check_gradient(const Recorder& recorder, const Tensor& dy, const Tensor& x, const Sparse24& a) {
    check_operands(recorder, "dy", dy, a, true);
    check_operands(recorder, "x", x, a, false);
    require(dy.rank() == x.rank(), "x: shape {}, the rank of dy {} is needed", to_string(x.shape()),
            to_string(dy.shape()));
    require(a.shape().rank() == 2 || dy.rank() == 3, "dy: shape {}, rank 3 is needed for a {}",
            to_string(dy.shape()), to_string(a.shape()));
    for (std::size_t i = 0; i + 1 < dy.rank(); ++i)
        require(dy.size(i) == x.size(i), "x: shape {}, the batch and tokens of dy {} are needed",
                to_string(x.shape()), to_string(dy.shape()));
}

}  // namespace

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Sparse24& a,
                 const Epilogue& epilogue) {
    check_operands(recorder, "x", x, a, false);
    multiply_into(recorder, out, "x", x, a, false, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Sparse24& a, const Epilogue& epilogue) {
    return multiply(recorder, "x", x, a, false, epilogue);
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Sparse24& a,
                            const Epilogue& epilogue) {
    check_operands(recorder, "dy", dy, a, true);
    multiply_into(recorder, out, "dy", dy, a, true, epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Sparse24& a, const Epilogue& epilogue) {
    return multiply(recorder, "dy", dy, a, true, epilogue);
}

void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                          const Sparse24& a, const GradientOptions& options) {
    check_gradient(recorder, dy, x, a);
    if (a.shape().rank() == 3) return weight_gradient_into(recorder, out, dy, x, options);
    require_result(recorder, out, a.shape(), a.type());
    require_disjoint("out", out, "dy", dy);
    require_disjoint("out", out, "x", x);
    // One block of all features.
    const Tensor block =
        out.as_strided({1, out.size(0), out.size(1)}, {0, out.strides()[0], out.strides()[1]});
    factor_gradient(recorder, block, dy, x, {0, 1}, {0, 1}, options, "sparse24_weight_gradient");
}

Tensor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x, const Sparse24& a,
                       const GradientOptions& options) {
    check_gradient(recorder, dy, x, a);
    Epilogue epilogue;
    epilogue.accumulate = options.accumulate;
    epilogue.widen = options.widen;
    const Tensor out = new_result(recorder, a.shape(), a.type(), epilogue);
    weight_gradient_into(recorder, out, dy, x, a, options);
    return out;
}

}  // namespace danaus
