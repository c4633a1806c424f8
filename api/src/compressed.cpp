#include "compressed.hpp"

#include "check.hpp"
#include "factor.hpp"

namespace danaus::detail {

void check_operand(const Recorder& recorder, const char* name, const Tensor& x, const CompressedShape& a,
                   bool transpose) {
    require_tensor(recorder, name, x);
    require(x.rank() == 2 || x.rank() == 3, "{}: shape {}, rank 2 or 3 is needed", name,
            to_string(x.shape()));
    const std::uint64_t contraction = transpose ? a.rows() : a.columns();
    require(x.size(x.rank() - 1) == contraction, "{}: shape {}, its last size must be {} for a {}", name,
            to_string(x.shape()), contraction, to_string(a.shape));
    require(x.rank() == 2 || a.rank() == 2 || x.size(0) == a.shape[0], "{}: batch {}, a has {} blocks", name,
            x.size(0), a.shape[0]);
    require_type(name, x, a.type);
}

Shape product_shape(const Tensor& x, const CompressedShape& a, bool transpose) {
    const std::uint64_t tokens = x.size(x.rank() - 2), features = transpose ? a.columns() : a.rows();
    if (a.rank() == 3) return {a.shape[0], tokens, features};
    return x.rank() == 3 ? Shape{x.size(0), tokens, features} : Shape{tokens, features};
}

MultiplyProblem product_of(const Tensor& out, const Tensor& x, const CompressedShape& a, bool transpose) {
    MultiplyProblem p;
    p.m = x.size(x.rank() - 2);
    p.n = transpose ? a.columns() : a.rows();
    p.a = matrix_view(x);
    p.c = matrix_view(out);
    if (a.rank() == 3) {
        p.inner = a.shape[0];
        p.a.inner = p.a.outer;
        p.c.inner = p.c.outer;
        p.a.outer = p.c.outer = 0;
    } else if (x.rank() == 3) {
        p.outer = x.size(0);
        if (p.outer > 0 && continues(x) && continues(out)) {
            p.m *= p.outer;
            p.outer = 1;
        }
    }
    return p;
}

namespace {

void check_gradient(const Recorder& recorder, const Tensor& dy, const Tensor& x, const CompressedShape& a) {
    check_operand(recorder, "dy", dy, a, true);
    check_operand(recorder, "x", x, a, false);
    require(dy.rank() == x.rank(), "x: shape {}, the rank of dy {} is needed", to_string(x.shape()),
            to_string(dy.shape()));
    require(a.rank() == 2 || dy.rank() == 3, "dy: shape {}, rank 3 is needed for a {}", to_string(dy.shape()),
            to_string(a.shape));
    for (std::size_t i = 0; i + 1 < dy.rank(); ++i)
        require(dy.size(i) == x.size(i), "x: shape {}, the batch and tokens of dy {} are needed",
                to_string(x.shape()), to_string(dy.shape()));
}

}  // namespace

void straight_through_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                           const CompressedShape& a, const GradientOptions& options, const char* label) {
    check_gradient(recorder, dy, x, a);
    if (a.rank() == 3) return weight_gradient_into(recorder, out, dy, x, options);
    require_result(recorder, out, a.shape, a.type);
    require_disjoint("out", out, "dy", dy);
    require_disjoint("out", out, "x", x);
    // One block of all features.
    const Tensor block =
        out.as_strided({1, out.size(0), out.size(1)}, {0, out.strides()[0], out.strides()[1]});
    factor_gradient(recorder, block, dy, x, {0, 1}, {0, 1}, options, label);
}

Tensor straight_through(Recorder& recorder, const Tensor& dy, const Tensor& x, const CompressedShape& a,
                        const GradientOptions& options, const char* label) {
    check_gradient(recorder, dy, x, a);
    Epilogue epilogue;
    epilogue.accumulate = options.accumulate;
    epilogue.widen = options.widen;
    const Tensor out = new_result(recorder, a.shape, a.type, epilogue);
    straight_through_into(recorder, out, dy, x, a, options, label);
    return out;
}

}  // namespace danaus::detail
