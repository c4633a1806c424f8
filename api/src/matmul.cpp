#include "check.hpp"
#include "multiply.hpp"

#include <danaus/matmul.hpp>

namespace danaus {

using namespace detail;

const char* to_string(Activation activation) noexcept {
    switch (activation) {
        case Activation::relu:
            return "relu";
        case Activation::gelu:
            return "gelu";
        case Activation::gelu_erf:
            return "gelu_erf";
        case Activation::none:
            break;
    }
    return "none";
}

namespace {

void check_matrix(const Recorder& recorder, const char* name, const Tensor& tensor) {
    require_tensor(recorder, name, tensor);
    require_number(name, tensor);
    require(tensor.rank() == 2 || tensor.rank() == 3, "{}: shape {}, rank 2 or 3 is needed", name,
            to_string(tensor.shape()));
}

// The batch sizes of two operands must agree, or one has none. Returns 0 when neither has.
std::uint64_t common_batch(const char* a_name, const Tensor& a, const char* b_name, const Tensor& b) {
    if (a.rank() == 3 && b.rank() == 3)
        require(a.size(0) == b.size(0), "{}: batch {}, {} has {}", b_name, b.size(0), a_name, a.size(0));
    return a.rank() == 3 ? a.size(0) : b.rank() == 3 ? b.size(0) : 0;
}

void require_same_type(const char* a_name, const Tensor& a, const char* b_name, const Tensor& b) {
    require(a.type() == b.type(), "{}: type {}, {} has {}; use convert()", b_name, to_string(b.type()),
            a_name, to_string(a.type()));
}

Shape result_shape(bool batched, std::uint64_t batch, std::uint64_t rows, std::uint64_t columns) {
    return batched ? Shape{batch, rows, columns} : Shape{rows, columns};
}

// What forward and transposed multiply share: x (…, tokens, contraction), W as k × n.
struct Lowered {
    MultiplyProblem problem;
    Shape shape;
};

Lowered lower(const Recorder& recorder, const char* x_name, const Tensor& x, const Tensor& w,
              bool transpose) {
    check_matrix(recorder, x_name, x);
    check_matrix(recorder, "w", w);
    require_same_type(x_name, x, "w", w);
    const std::size_t wr = w.rank();
    const std::uint64_t contraction = transpose ? w.size(wr - 2) : w.size(wr - 1);
    require(x.size(x.rank() - 1) == contraction, "{}: shape {}, its last size must be {} for w {}", x_name,
            to_string(x.shape()), contraction, to_string(w.shape()));
    const bool batched = x.rank() == 3 || wr == 3;
    const std::uint64_t batch = common_batch(x_name, x, "w", w);

    Lowered out;
    MultiplyProblem& p = out.problem;
    p.m = x.size(x.rank() - 2);
    p.n = transpose ? w.size(wr - 1) : w.size(wr - 2);
    p.k = contraction;
    p.outer = batched ? batch : 1;
    p.a = matrix_view(x);
    p.b = transpose ? matrix_view(w) : transposed(matrix_view(w));
    p.conjugate_b = transpose;
    p.label = transpose ? "matmul_transposed" : "matmul";
    out.shape = result_shape(batched, batch, p.m, p.n);
    // One weight for a batch of activations in one piece is a longer list of tokens.
    if (x.rank() == 3 && wr == 2 && x.strides()[0] == x.size(1) * x.strides()[1]) {
        p.m *= p.outer;
        p.outer = 1;
    }
    return out;
}

void multiply_into(Recorder& recorder, const Tensor& out, const char* x_name, const Tensor& x,
                   const Tensor& w, Lowered lowered, const Epilogue& epilogue) {
    MultiplyProblem& p = lowered.problem;
    require_result(recorder, out, lowered.shape, x.type());
    check_epilogue(recorder, epilogue, out, x.type());
    require_apart(out, epilogue, x_name, x);
    require_apart(out, epilogue, "w", w);
    p.c = matrix_view(out);
    const bool merged = out.rank() == 3 && p.outer == 1 && out.size(0) > 1;
    if (merged && out.strides()[0] != out.size(1) * out.strides()[1]) {
        p.outer = out.size(0);
        p.m = out.size(1);
    }
    const Tensor residual = set_epilogue(p, epilogue, out, 1, 0);
    emit(recorder, p, out, residual);
}

Epilogue gradient_epilogue(const GradientOptions& options) {
    Epilogue epilogue;
    epilogue.scale = options.scale;
    epilogue.accumulate = options.accumulate;
    epilogue.widen = options.widen;
    return epilogue;
}

Lowered lower_gradient(const Recorder& recorder, const Tensor& dy, const Tensor& x) {
    check_matrix(recorder, "dy", dy);
    check_matrix(recorder, "x", x);
    require_same_type("dy", dy, "x", x);
    require(dy.rank() == x.rank(), "x: shape {}, the rank of dy {} is needed", to_string(x.shape()),
            to_string(dy.shape()));
    const std::size_t r = dy.rank();
    require(dy.size(r - 2) == x.size(r - 2), "x: shape {}, {} tokens are needed for dy {}",
            to_string(x.shape()), dy.size(r - 2), to_string(dy.shape()));
    const std::uint64_t batch = common_batch("dy", dy, "x", x);
    Lowered out;
    MultiplyProblem& p = out.problem;
    p.m = dy.size(r - 1);
    p.n = x.size(r - 1);
    p.k = dy.size(r - 2);
    p.outer = r == 3 ? batch : 1;
    p.a = transposed(matrix_view(dy));
    p.b = matrix_view(x);
    p.conjugate_b = true;
    p.label = "weight_gradient";
    out.shape = result_shape(r == 3, batch, p.m, p.n);
    return out;
}

}  // namespace

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Tensor& w,
                 const Epilogue& epilogue) {
    multiply_into(recorder, out, "x", x, w, lower(recorder, "x", x, w, false), epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Tensor& w, const Epilogue& epilogue) {
    const Lowered lowered = lower(recorder, "x", x, w, false);
    const Tensor out = new_result(recorder, lowered.shape, x.type(), epilogue);
    multiply_into(recorder, out, "x", x, w, lowered, epilogue);
    return out;
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& w,
                            const Epilogue& epilogue) {
    multiply_into(recorder, out, "dy", dy, w, lower(recorder, "dy", dy, w, true), epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Tensor& w, const Epilogue& epilogue) {
    const Lowered lowered = lower(recorder, "dy", dy, w, true);
    const Tensor out = new_result(recorder, lowered.shape, dy.type(), epilogue);
    multiply_into(recorder, out, "dy", dy, w, lowered, epilogue);
    return out;
}

void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                          const GradientOptions& options) {
    multiply_into(recorder, out, "dy", dy, x, lower_gradient(recorder, dy, x), gradient_epilogue(options));
}

Tensor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x,
                       const GradientOptions& options) {
    const Lowered lowered = lower_gradient(recorder, dy, x);
    const Epilogue epilogue = gradient_epilogue(options);
    const Tensor out = new_result(recorder, lowered.shape, dy.type(), epilogue);
    multiply_into(recorder, out, "dy", dy, x, lowered, epilogue);
    return out;
}

}  // namespace danaus
