// Multiplying by a vector-wise sparse matrix, and its straight-through gradient.
#include "check.hpp"
#include "compressed.hpp"

#include <danaus/vector_sparse.hpp>

namespace danaus {
namespace {

using namespace detail;

// The matrix is A, its rows along m, and tokens run along the lanes.
MultiplyProblem with_matrix(const MultiplyProblem& product, const VectorSparse& a) {
    const std::uint64_t panel = a.kept() * a.pattern().rows;
    MultiplyProblem p = exchanged(product);
    p.a = {a.values().buffer(),
           a.type(),
           a.values().offset(),
           panel,
           0,
           0,
           p.inner > 1 ? divide_up(p.m, a.pattern().rows) * panel : 0};
    p.a_panel = a.pattern().rows;
    p.a_depth = 1;
    p.picked_from = a.shape()[a.shape().rank() - 1];
    p.metadata_word = a.indices().offset();
    p.metadata_words = a.indices().elements();
    return p;
}

void check_result(const Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                  const VectorSparse& a, bool transpose, const Epilogue& epilogue) {
    require_result(recorder, out, product_shape(x, shape_of(a), transpose), a.type());
    check_epilogue(recorder, epilogue, out, a.type());
    require_apart(out, epilogue, name, x);
    require_apart(out, epilogue, "a", a.values());
    require_apart(out, epilogue, "a", a.indices());
}

}  // namespace

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const VectorSparse& a,
                 const Epilogue& epilogue) {
    check_operand(recorder, "x", x, checked(recorder, a), false);
    check_result(recorder, out, "x", x, a, false, epilogue);
    MultiplyProblem p = product_of(out, x, shape_of(a), false);
    p.k = a.kept();
    p.label = "vector_sparse_matmul";
    const Tensor residual = set_epilogue(p, epilogue, out, 1, 0);
    emit(recorder, with_matrix(p, a), out, residual);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const VectorSparse& a, const Epilogue& epilogue) {
    check_operand(recorder, "x", x, checked(recorder, a), false);
    const Tensor out = new_result(recorder, product_shape(x, shape_of(a), false), a.type(), epilogue);
    matmul_into(recorder, out, x, a, epilogue);
    return out;
}

// A sum over rows meets other columns in every panel: rows cannot share a list along this direction.
void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const VectorSparse& a,
                            const Epilogue& epilogue) {
    check_operand(recorder, "dy", dy, checked(recorder, a), true);
    check_result(recorder, out, "dy", dy, a, true, epilogue);
    matmul_transposed_into(recorder, out, dy, to_dense(recorder, a), epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const VectorSparse& a,
                         const Epilogue& epilogue) {
    check_operand(recorder, "dy", dy, checked(recorder, a), true);
    const Tensor out = new_result(recorder, product_shape(dy, shape_of(a), true), a.type(), epilogue);
    matmul_transposed_into(recorder, out, dy, a, epilogue);
    return out;
}

void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                          const VectorSparse& a, const GradientOptions& options) {
    straight_through_into(recorder, out, dy, x, checked(recorder, a), options,
                          "vector_sparse_weight_gradient");
}

Tensor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x, const VectorSparse& a,
                       const GradientOptions& options) {
    return straight_through(recorder, dy, x, checked(recorder, a), options, "vector_sparse_weight_gradient");
}

}  // namespace danaus
