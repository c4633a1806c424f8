// The one problem that every multiply of the library lowers to, and its plan.
#pragma once

#include "check.hpp"

#include <danaus/kernels.hpp>
#include <danaus/matmul.hpp>

#include <array>
#include <cstdint>
#include <vector>

namespace danaus::detail {

/// A batch of matrices in memory: element (row, column) of matrix (o, i) lies at
/// offset + row·row_stride + column·column_stride + o·outer_stride + i·inner_stride elements of the buffer.
struct MatrixView {
    Buffer buffer;
    DataType type = DataType::f32;
    std::uint64_t offset = 0;
    std::uint64_t row = 0, column = 0, outer = 0, inner = 0;
};

/// C[o][i] = act(scale · A[o][i]·B[o][i] + bias[i]) + residual[o][i] for outer × inner problems of m × k by k
/// × n. Transposes, permutations, blocks and factors are strides; forward, transposed and gradient multiplies
/// differ in which operand plays which role. B is the weight where there is one.
struct MultiplyProblem {
    std::uint64_t m = 0, n = 0, k = 0, outer = 1, inner = 1;
    MatrixView a, b, c;

    // B row-wise 2:4 compressed (tile_b_sparse24.glsl): the weight's rows run along n when the contraction is
    // along its columns, else along k; b.column or b.row is then the values of a row, the other is unused.
    kernels::MatmulDirect::Weight weight = kernels::MatmulDirect::Weight::dense;
    bool contract_columns = true;  // k runs along the weight's columns
    bool conjugate_b = false;      // B's elements are conjugated; nothing to real ones
    bool tile_codes = false;       // the metadata are codes of tiles (nibbles24.glsl)
    std::uint64_t metadata_word =
        0;  // first word of the metadata, from the buffer's start (B's, or A's list)
    std::uint64_t metadata_words = 0;  // of all matrices from there on

    // A packed (pack.comp): panels of a_panel rows, each a run of blocks of a_panel × a_depth elements, one
    // for every a_depth steps of k, padded with zeros. a.row is then the elements of a panel, a.column
    // unused.
    std::uint32_t a_panel = 0, a_depth = 0;
    // A vector-wise sparse (vector/compress.comp): panels of a_panel rows that keep k of this many columns,
    // which are B's rows, a_depth = 1; its list of them lies at metadata_word. 0: any other A.
    std::uint64_t picked_from = 0;

    MatrixView bias;            // row or column = stride along m or n, inner = stride between problems
    MatrixView residual, aux;   // strides of c
    bool bias_on_rows = false;  // the bias runs along m
    bool has_bias = false, has_residual = false, has_aux = false;
    Activation activation = Activation::none;
    float scale = 1.0f;
    std::string_view label = "matmul";
};

/// Where a problem's constants are the device's to choose: the kernel family and the tile that a workgroup
/// computes. What a tuner measures and a table remembers.
enum class Family : std::uint32_t {
    direct,
    few,
    shared,
    coopmat,
    coopmat2,
    fused,    ///< of Monarch products: both factors in one dispatch (monarch_fused.hpp)
    factors,  ///< of Monarch products: one factor after the other, each as its own problem says
};
/// Null behind the last one.
[[nodiscard]] const char* to_string(Family family) noexcept;
struct Tile {
    Family family = Family::direct;
    std::uint32_t lanes = 0;    ///< invocations of a workgroup
    std::uint32_t rows = 0;     ///< of the result, of an invocation; of the workgroup (coopmat)
    std::uint32_t columns = 0;  ///< likewise
    std::uint32_t depth = 0;    ///< unrolled steps of k
    bool exchanged = false;     ///< computes Cᵀ = Bᵀ·Aᵀ
    [[nodiscard]] bool operator==(const Tile&) const noexcept = default;
};

/// Whether B is compressed.
[[nodiscard]] bool is_sparse(const MultiplyProblem& problem);
/// Words of metadata of one weight that has some.
[[nodiscard]] std::uint64_t weight_words(const MultiplyProblem& problem);
/// Elements from the first to the last one that `view` touches with these sizes, plus 1; of B, dense or
/// compressed; of the bias.
[[nodiscard]] std::uint64_t view_span(const MultiplyProblem& problem, const MatrixView& view,
                                      std::uint64_t rows, std::uint64_t columns);
[[nodiscard]] std::uint64_t span_a(const MultiplyProblem& problem);
[[nodiscard]] std::uint64_t span_b(const MultiplyProblem& problem);
[[nodiscard]] std::uint64_t bias_span(const MultiplyProblem& problem);

/// One dispatch: a piece of a problem and the kernel that computes it.
struct MultiplyPlan {
    MultiplyProblem problem;
    kernels::Kernel kernel;
    std::array<std::uint64_t, 3> grid{};
    Tile tile;
};

/// The constants that every family's kernels have in common, which say how operands and result are stored.
struct Stored {
    /// Into the constants of a kernel of any family.
    template <typename Kernel>
    void apply(Kernel& kernel) const {
        kernel.operand_type = operand_type;
        kernel.output_type = output_type;
        kernel.bias_type = bias_type;
        kernel.activation = activation;
        kernel.epilogue = epilogue;
    }
    std::uint32_t operand_type, output_type, bias_type, activation, epilogue;
    bool pairs;      ///< of the result's columns may be stored at once (C_LAYOUT 1)
    bool row_pairs;  ///< of 16-bit results' rows (C_LAYOUT 3)
};
[[nodiscard]] Stored stored_as(const MultiplyProblem& problem);

/// The ways to compute a problem in one dispatch that fit the device, the one that rules choose first.
/// `problem` is within the device's reach (see plan()), but for the counts of workgroups. Without `all`,
/// rules' choice is surely among them and little else.
[[nodiscard]] std::vector<MultiplyPlan> candidates(const MultiplyProblem& problem,
                                                   const Capabilities& capabilities, Access access,
                                                   bool all = true);
/// Those of one family, for the roles of A and B as they are; the first of them, or all.
void add_direct(std::vector<MultiplyPlan>& out, const MultiplyProblem& problem,
                const Capabilities& capabilities, Access access, bool all);

/// Steps of k that a CPU's kernels unroll for a sum of `k` terms where nothing was measured.
[[nodiscard]] std::uint32_t cpu_depth(std::uint64_t k);

/// For few rows of A; nothing where that family does not serve (multiply_few.cpp).
void add_few(std::vector<MultiplyPlan>& out, const MultiplyProblem& problem, const Capabilities& capabilities,
             Access access, bool all);
/// Whether rules put that family first.
[[nodiscard]] bool few_first(const MultiplyProblem& problem, const Capabilities& capabilities);

/// Through shared memory (multiply_shared.cpp).
void add_shared(std::vector<MultiplyPlan>& out, const MultiplyProblem& problem,
                const Capabilities& capabilities, Access access, bool all);
[[nodiscard]] bool shared_first(const MultiplyProblem& problem, const Capabilities& capabilities);
/// A_LAYOUT of kernels that go through shared memory, and B_LAYOUT with columns of B as lines: how lines of
/// an operand, `line` elements apart, lie in memory. B is dense or compressed.
[[nodiscard]] std::uint32_t block_layout_a(const MultiplyProblem& problem);
[[nodiscard]] std::uint32_t block_layout_b(const MultiplyProblem& problem);
/// Workgroups that a GPU should get, so that its cores do not stand idle.
inline constexpr std::uint64_t enough_workgroups = 96;

/// By the matrix units of a GPU (multiply_coopmat.cpp).
void add_coopmat(std::vector<MultiplyPlan>& out, const MultiplyProblem& problem,
                 const Capabilities& capabilities, Access access, bool all);
/// By those of whole workgroups; never first, since none was at hand to be measured.
void add_coopmat2(std::vector<MultiplyPlan>& out, const MultiplyProblem& problem,
                  const Capabilities& capabilities, Access access, bool all);
[[nodiscard]] bool coopmat_first(const MultiplyProblem& problem, const Capabilities& capabilities);

/// The product with the roles of A and B exchanged: Cᵀ = Bᵀ·Aᵀ.
[[nodiscard]] MultiplyProblem exchanged(MultiplyProblem problem);
/// Lanes run along n. Where the result is contiguous along m instead, the roles change.
[[nodiscard]] bool runs_along_m(const MultiplyProblem& problem);
/// Whether a pair of elements may be moved at once from the view's start on.
[[nodiscard]] bool starts_pairs(const MatrixView& view);
/// Starts at a multiple of two elements and moves by even strides, so that pairs of elements are aligned.
[[nodiscard]] bool even(const MultiplyProblem& problem, const MatrixView& view, std::uint64_t stride);

/// Splits `problem` (k >= 1) into dispatches within the device's limits and chooses each one's kernel: with
/// the tile `wanted`, if it is given and among the piece's candidates, else by rules. Pure: looks at no
/// buffer. Throws Error(unsupported) naming the limit when no split fits.
[[nodiscard]] std::vector<MultiplyPlan> plan(const MultiplyProblem& problem, const Capabilities& capabilities,
                                             Access access, const Tile* wanted = nullptr);
/// Records planned pieces.
void record_plans(Recorder& recorder, const std::vector<MultiplyPlan>& plans);

/// Plans and records `problem`, as the device's tuning table says or else by rules. A residual that
/// set_epilogue() wants copied into the result `out` is copied once the plan stands. Nothing is recorded for
/// an empty result.
void emit(Recorder& recorder, const MultiplyProblem& problem, const Tensor& out = {},
          const Tensor& residual = {});

/// The part of it for complex64 operands: real problems over the same memory (multiply_complex.cpp).
void emit_complex(Recorder& recorder, const MultiplyProblem& problem, const Tensor& out,
                  const Tensor& residual);

/// Records one way to compute a problem.
void record(Recorder& recorder, const MultiplyPlan& plan);

/// The matrices of a tensor of rank 2 or 3 (the first of three dimensions is the outer batch).
[[nodiscard]] MatrixView matrix_view(const Tensor& tensor);
[[nodiscard]] MatrixView transposed(MatrixView view);

/// Puts a checked epilogue into `problem`: bias along n with `bias_inner` elements between inner problems and
/// `bias_column` between columns. `out` is the result as the caller sees it, whose elements residual and aux
/// share. The kernel wants a residual with the result's strides: another one is returned, to be copied into
/// the result first, which then is its own residual.
[[nodiscard]] Tensor set_epilogue(MultiplyProblem& problem, const Epilogue& epilogue, const Tensor& out,
                                  std::uint64_t bias_column, std::uint64_t bias_inner);

/// Throws unless `epilogue` fits a result `out` (…, tokens, features) of operands of `operand_type`.
void check_epilogue(const Recorder& recorder, const Epilogue& epilogue, const Tensor& out,
                    DataType operand_type);

/// Throws unless what is written, `out` and the epilogue's aux, is apart from an operand that is read.
void require_apart(const Tensor& out, const Epilogue& epilogue, const char* name, const Tensor& operand);

/// Throws unless `out` may hold a product of operands of `type`: the same type or f32, no element twice.
void require_result(const Recorder& recorder, const Tensor& out, const Shape& shape, DataType type);
void require_result(const Recorder& recorder, const char* name, const Tensor& out, const Shape& shape,
                    DataType type);
/// Of a product's new result. Throws where there is no wider one.
[[nodiscard]] DataType result_type(DataType operand_type, bool widen);
/// A new result of `shape` (…, tokens, features) in the epilogue's order and type.
[[nodiscard]] Tensor new_result(Recorder& recorder, const Shape& shape, DataType operand_type,
                                const Epilogue& epilogue);

}  // namespace danaus::detail
