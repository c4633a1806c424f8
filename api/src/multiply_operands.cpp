// What operations do in front of a multiply: views of tensors, epilogues, results.
#include "check.hpp"
#include "multiply.hpp"

namespace danaus::detail {

MatrixView matrix_view(const Tensor& t) {
    const std::size_t r = t.rank();
    return {
        t.buffer(), t.type(), t.offset(), t.strides()[r - 2], t.strides()[r - 1], r > 2 ? t.strides()[0] : 0,
        0};
}

MatrixView transposed(MatrixView view) {
    std::swap(view.row, view.column);
    return view;
}

Tensor set_epilogue(MultiplyProblem& problem, const Epilogue& epilogue, const Tensor& out,
                    std::uint64_t bias_column, std::uint64_t bias_inner) {
    const bool copied = epilogue.residual && !same_layout(epilogue.residual, out);
    problem.activation = epilogue.activation;
    problem.scale = epilogue.scale;
    if (epilogue.bias) {
        problem.has_bias = true;
        const std::uint64_t stride = epilogue.bias.strides()[0];
        problem.bias = {
            epilogue.bias.buffer(), epilogue.bias.type(), epilogue.bias.offset(), 0, bias_column * stride, 0,
            bias_inner * stride};
    }
    const auto share = [&](const Tensor& other) {
        MatrixView view = problem.c;
        view.buffer = other.buffer();
        view.offset = problem.c.offset - out.offset() + other.offset();
        return view;
    };
    if (epilogue.accumulate || copied) {
        problem.has_residual = true;
        problem.residual = problem.c;
    } else if (epilogue.residual) {
        problem.has_residual = true;
        problem.residual = share(epilogue.residual);
    }
    if (epilogue.aux) {
        problem.has_aux = true;
        problem.aux = share(epilogue.aux);
    }
    return copied ? epilogue.residual : Tensor();
}

void check_epilogue(const Recorder& recorder, const Epilogue& epilogue, const Tensor& out,
                    DataType operand_type) {
    const std::uint64_t features = out.size(out.rank() - 1);
    if (is_complex(operand_type)) {
        require(epilogue.activation == Activation::none, "activation: {}, none is needed for complex64",
                to_string(epilogue.activation));
        require(!epilogue.aux, "aux: a tensor, none is needed for complex64");
        if (epilogue.bias) require_type("bias", epilogue.bias, operand_type);
    }
    if (epilogue.bias) {
        require_tensor(recorder, "bias", epilogue.bias);
        require_shape("bias", epilogue.bias, Shape{features});
        require(epilogue.bias.type() == operand_type || epilogue.bias.type() == DataType::f32,
                "bias: type {}, {} or f32 is needed; use convert()", to_string(epilogue.bias.type()),
                to_string(operand_type));
        require_disjoint("out", out, "bias", epilogue.bias);
    }
    require(!epilogue.accumulate || !epilogue.residual,
            "residual: a result that accumulates is its own residual");
    if (epilogue.residual) {
        require_tensor(recorder, "residual", epilogue.residual);
        require_shape("residual", epilogue.residual, out.shape());
        require_type("residual", epilogue.residual, out.type());
        const bool same = epilogue.residual.buffer() == out.buffer() &&
                          epilogue.residual.offset() == out.offset() && same_layout(epilogue.residual, out);
        if (!same) require_disjoint("out", out, "residual", epilogue.residual);
    }
    if (epilogue.aux) {
        require_tensor(recorder, "aux", epilogue.aux);
        require_shape("aux", epilogue.aux, out.shape());
        require_type("aux", epilogue.aux, out.type());
        require(same_layout(epilogue.aux, out), "aux: strides {}, those of the result, {}, are needed",
                to_string(epilogue.aux.strides()), to_string(out.strides()));
        require_disjoint("aux", epilogue.aux, "out", out);
        if (epilogue.residual) require_disjoint("aux", epilogue.aux, "residual", epilogue.residual);
        if (epilogue.bias) require_disjoint("aux", epilogue.aux, "bias", epilogue.bias);
    }
    require(
        static_cast<std::uint32_t>(epilogue.activation) <= static_cast<std::uint32_t>(Activation::gelu_erf),
        "activation: {} is none of the known ones", static_cast<std::uint32_t>(epilogue.activation));
}

void require_apart(const Tensor& out, const Epilogue& epilogue, const char* name, const Tensor& operand) {
    require_disjoint("out", out, name, operand);
    if (epilogue.aux) require_disjoint("aux", epilogue.aux, name, operand);
}

void require_result(const Recorder& recorder, const char* name, const Tensor& out, const Shape& shape,
                    DataType type) {
    require_tensor(recorder, name, out);
    require_shape(name, out, shape);
    if (is_complex(type)) require_type(name, out, type);
    require(out.type() == type || out.type() == DataType::f32,
            "{}: type {}, {} or f32 is needed; use convert()", name, to_string(out.type()), to_string(type));
    require_no_self_overlap(name, out);
}

void require_result(const Recorder& recorder, const Tensor& out, const Shape& shape, DataType type) {
    require_result(recorder, "out", out, shape, type);
}

DataType result_type(DataType operand_type, bool widen) {
    require(!widen || !is_complex(operand_type), "widen: true, a product of complex64 has no f32 result");
    return widen ? DataType::f32 : operand_type;
}

Tensor new_result(Recorder& recorder, const Shape& shape, DataType operand_type, const Epilogue& epilogue) {
    require(!epilogue.accumulate,
            "accumulate: a new result has nothing to add to; use the form that takes out");
    const DataType type = result_type(operand_type, epilogue.widen);
    if (epilogue.order == Order::token_major) return empty(recorder, type, shape);
    Shape swapped = shape;
    std::swap(swapped[shape.rank() - 2], swapped[shape.rank() - 1]);
    return empty(recorder, type, swapped).transpose();
}

}  // namespace danaus::detail
