// Every kind of multiply that the plan tells apart, and the kernels that it chooses for them.
#include "corpus.hpp"
#include "monarch_lanes.hpp"
#include "multiply.hpp"
#include "pack.hpp"

#include <cstdint>
#include <unordered_set>

namespace danaus::lab {
namespace {

using detail::MatrixView;
using detail::MultiplyProblem;
using Weight = kernels::MatmulDirect::Weight;

constexpr DataType floating[] = {DataType::f32, DataType::f16, DataType::bf16};
// Both sides of every size a plan might look at: powers of two, multiples of tiles, odd ones, large ones.
// Rows and columns are the same ones, because a plan may exchange them.
constexpr std::uint64_t sizes[] = {1, 2, 3, 4, 8, 16, 32, 64, 128, 129, 256, 258, 4096};
constexpr std::uint64_t depths[] = {1, 5, 9, 13, 130, 132, 136, 4096};
// Depths whose rows start at other multiples of words count where a sum is long and there are few of it.
bool for_few(std::uint64_t depth) {
    return depth > 16 && depth < 4096;
}

enum class Layout { even, odd, turned_even, turned_odd, scattered };
constexpr Layout layouts[] = {Layout::even, Layout::odd, Layout::turned_even, Layout::turned_odd,
                              Layout::scattered};

MatrixView view(DataType type, std::uint64_t height, std::uint64_t width, Layout layout) {
    MatrixView v;
    v.type = type;
    const bool turned = layout == Layout::turned_even || layout == Layout::turned_odd;
    const bool odd = layout == Layout::odd || layout == Layout::turned_odd;
    const std::uint64_t length = turned ? height : width;
    const std::uint64_t pitch = (length + 1) / 2 * 2 + (odd ? 1 : 0);
    v.row = turned ? 1 : layout == Layout::scattered ? 3 * pitch : pitch;
    v.column = turned ? pitch : layout == Layout::scattered ? 3 : 1;
    // What lies in one row only is told by where it starts.
    v.offset = odd ? 1 : 0;
    return v;
}

// One of the ways a product can be stored; `number` counts through all of them.
constexpr std::uint64_t epilogues = 4 * 3 * 3 * 3;
void set_epilogue(MultiplyProblem& p, std::uint64_t number) {
    const auto next = [&](std::uint64_t count) {
        const std::uint64_t value = number % count;
        number /= count;
        return value;
    };
    p.activation = static_cast<Activation>(next(4));
    const std::uint64_t bias = next(3), residual = next(3), aux = next(3);
    p.has_bias = bias > 0;
    if (p.has_bias) p.bias = {{}, bias == 1 ? p.a.type : DataType::f32, 0, 0, 1, 0, 0};
    const auto beside = [&](std::uint64_t skew) {
        MatrixView v = p.c;
        v.offset += skew - 1;
        return v;
    };
    p.has_residual = residual > 0;
    if (p.has_residual) p.residual = beside(residual);
    p.has_aux = aux > 0;
    if (p.has_aux) p.aux = beside(aux);
}

class Chosen {
public:
    Chosen(const Capabilities& capabilities, Access access, std::uint64_t sample)
        : one_in(sample), capabilities_(capabilities), access_(access) {}

    const std::uint64_t one_in;  // combinations of sizes and layouts

    // What the device cannot reach in one dispatch chooses nothing.
    void add(const MultiplyProblem& problem) {
        try {
            // The pieces that are dispatched, and what a tuner might choose in their place.
            for (const detail::MultiplyPlan& piece : detail::plan(problem, capabilities_, access_))
                kernels.insert(piece.kernel);
            for (const detail::MultiplyPlan& other : detail::candidates(problem, capabilities_, access_))
                kernels.insert(other.kernel);
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::unsupported) throw;
        }
    }

    // All ways to compute a Monarch product in one dispatch, what rules choose among them, or along features.
    void add(const detail::MonarchProblem& problem) {
        for (const detail::MonarchPlan& one : detail::fused_candidates(problem, capabilities_, access_))
            kernels.insert(one.kernel);
        if (const auto lanes = detail::lanes_plan(problem, capabilities_, access_))
            for (const auto& kernel : {lanes->first, lanes->second}) kernels.insert(kernel);
    }

    [[nodiscard]] const Capabilities& capabilities() const { return capabilities_; }
    std::unordered_set<kernels::Kernel> kernels;

private:
    const Capabilities& capabilities_;
    Access access_;
};

// A number that follows no pattern of `i`'s (SplitMix64).
std::uint64_t mixed(std::uint64_t i) {
    i *= 0x9e3779b97f4a7c15ull;
    i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9ull;
    i = (i ^ i >> 27) * 0x94d049bb133111ebull;
    return i ^ i >> 31;
}

enum class Form { plain, packed, picked };

// The epilogues are spread over sizes and layouts without a pattern, which would tie them to a layout.
void add_all(Chosen& chosen, MultiplyProblem p, DataType type, DataType result, Layout b, std::uint64_t& turn,
             Form form = Form::plain) {
    for (const std::uint64_t m : sizes)
        for (const std::uint64_t n : sizes)
            for (const std::uint64_t k : depths) {
                if (for_few(k) && m > 16 && n > 16) continue;
                for (const Layout a : layouts)
                    for (const Layout c : layouts) {
                        const std::uint64_t number = mixed(++turn), draw = number / chosen.one_in;
                        if (number % chosen.one_in != 0) continue;
                        p.m = m;
                        p.n = n;
                        p.k = k;
                        p.a = view(type, m, k, a);
                        p.c = view(result, m, n, c);
                        if (detail::is_sparse(p)) {
                            p.b = {{}, type, 0, 0, 0, 0, 0};
                            const std::uint64_t values = 2 * detail::divide_up(p.contract_columns ? k : n, 4);
                            (p.contract_columns ? p.b.column : p.b.row) = values;
                            const std::uint64_t weight_rows = p.contract_columns ? n : k;
                            p.metadata_word = weight_rows * values * size_of(type) / 4;
                            p.metadata_words = detail::weight_words(p);
                        } else {
                            p.b = view(type, k, n, b);
                        }
                        set_epilogue(p, draw % epilogues);
                        // Starts at multiples of one, two or four words.
                        if (p.a.offset == 0) p.a.offset = 2 * (draw / epilogues % 3);
                        if (p.b.offset == 0 && !detail::is_sparse(p))
                            p.b.offset = 2 * (draw / (3 * epilogues) % 3);
                        if (form == Form::packed) {
                            const detail::PackLayout layout =
                                detail::pack_layout(chosen.capabilities(), type, m, k);
                            p.a = {{}, layout.type, 0, layout.panel_elements(k), 0, 0, layout.elements(m, k)};
                            p.a_panel = layout.panel;
                            p.a_depth = layout.depth;
                        }
                        if (form == Form::picked) {
                            // Of panels of all heights.
                            p.a_panel = 4u << draw / (9 * epilogues) % 6;
                            p.a_depth = 1;
                            p.picked_from = 2 * k;
                            const std::uint64_t panel = k * p.a_panel,
                                                panels = detail::divide_up(m, p.a_panel);
                            p.a = {{}, type, 0, panel, 0, 0, panels * panel};
                            p.b = view(type, 2 * k, n, b);
                            p.metadata_word = panels * panel * size_of(type) / 4;
                            p.metadata_words = panels * k;
                        }
                        chosen.add(p);
                    }
            }
}

// Monarch products whose intermediate is of every size that shared memory has room for, of factors that begin
// at multiples of one, two or four words, and in every order.
void add_monarchs(Chosen& chosen, DataType type, DataType result, std::uint64_t& turn) {
    constexpr std::uint64_t inner[] = {8, 120, 250, 500, 760, 1000, 1500, 2000, 3000, 6000};
    for (const std::uint64_t features : inner)
        for (const std::uint64_t depth : {5u, 6u, 8u})
            for (const Layout x : layouts)
                for (const Layout y : layouts)
                    for (unsigned order = 0; order < 4; ++order) {
                        detail::MonarchProblem p;
                        const bool transposed = order % 2, blocked = order / 2;
                        p.transposed = transposed;
                        p.x_interleaved = transposed && !blocked;
                        p.y_interleaved = !transposed && !blocked;
                        const std::uint64_t skew = mixed(++turn) % 3 * 2, blocks = 1 + mixed(turn) / 3 % 2;
                        const auto weight = [&](std::uint64_t rows, std::uint64_t columns) {
                            const bool turned = mixed(turn) / 6 % 3 == 0;
                            return MatrixView{
                                {}, type, skew, turned ? 1 : columns, turned ? rows : 1, 0, rows * columns};
                        };
                        p.first = {blocks, features / blocks, depth, weight(features / blocks, depth)};
                        p.second = {2, 7 + blocks, features / 2, weight(7 + blocks, features / 2)};
                        MultiplyProblem& w = p.whole;
                        w.m = mixed(turn) / 18 % 2 ? 1 : 64;
                        w.k = blocks * depth;
                        w.n = 2 * (7 + blocks);
                        w.a = view(type, w.m, w.k, x);
                        w.b.type = type;
                        w.c = view(result, w.m, w.n, y);
                        set_epilogue(w, mixed(turn) / 36 % epilogues);
                        chosen.add(p);
                    }
}

// Monarch products whose lanes may lie along features.
void add_monarchs_by_sixteen(Chosen& chosen) {
    for (const std::uint64_t depth : {16u, 32u, 64u})
        for (const std::uint64_t rows : {31u, 32u})
            for (std::uint64_t epilogue = 0; epilogue < 8; ++epilogue) {
                detail::MonarchProblem p;
                const DataType type = DataType::f32;
                p.y_interleaved = true;
                p.first = {16, 32, depth, {{}, type, 0, depth, 1, 0, 32 * depth}};
                p.second = {32, rows, 16, {{}, type, 0, 16, 1, 0, 16 * rows}};
                MultiplyProblem& w = p.whole;
                w.m = 256;
                w.k = 16 * depth;
                w.n = 32 * rows;
                w.a = {{}, type, 0, w.k, 1, 0, 0};
                w.b.type = type;
                w.c = {{}, type, 0, w.n, 1, 0, 0};
                w.has_bias = epilogue % 2;
                w.bias = {{}, type, 0, 0, 1, 0, 0};
                w.activation = static_cast<Activation>(epilogue / 2);
                chosen.add(p);
            }
}

}  // namespace

Kernels multiply_kernels(const Capabilities& capabilities, Access access, std::uint64_t one_in) {
    Chosen chosen(capabilities, access, one_in);
    std::uint64_t turn = 0, monarchs = 0;
    add_monarchs_by_sixteen(chosen);
    for (const DataType type : floating)
        for (const DataType result : {type, DataType::f32}) {
            for (const Layout b : layouts)
                for (const Form form : {Form::plain, Form::packed, Form::picked})
                    add_all(chosen, {}, type, result, b, turn, form);
            for (const bool contract_columns : {true, false})
                for (const bool tile_codes : {false, true}) {
                    MultiplyProblem sparse;
                    sparse.weight = Weight::sparse24;
                    sparse.contract_columns = contract_columns;
                    sparse.tile_codes = tile_codes;
                    add_all(chosen, sparse, type, result, Layout::even, turn);
                }
            add_monarchs(chosen, type, result, monarchs);
            if (type == DataType::f32) break;  // its only result
        }
    return {chosen.kernels.begin(), chosen.kernels.end()};
}

}  // namespace danaus::lab
