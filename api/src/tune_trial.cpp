#include "tune_trial.hpp"

#include "check.hpp"
#include "stored24.hpp"

#include <danaus/random.hpp>

#include <algorithm>
#include <cmath>

namespace danaus::detail {

MultiplyTrial::MultiplyTrial(Stream& stream, const MultiplyProblem& problem)
    : Trial(stream), problem_(problem) {
    MultiplyProblem& p = problem_;
    const bool onto_itself = p.has_residual && p.residual.buffer == p.c.buffer;
    if (p.picked_from)
        place_picks();
    else
        place(p.a, span_a(p));
    if (is_sparse(p))
        place_sparse();
    else
        place(p.b, span_b(p));
    const std::uint64_t result = view_span(p, p.c, p.m, p.n);
    place(p.c, result);
    if (p.has_bias) place(p.bias, bias_span(p));
    if (p.has_aux) place(p.aux, result);
    if (onto_itself)
        p.residual = p.c;
    else if (p.has_residual)
        place(p.residual, result);
    out_ = Tensor(p.c.buffer, p.c.type, {p.c.offset + result});
    // Products of numbers below 1 in magnitude, whose errors in f32 partly cancel.
    const double k = static_cast<double>(p.k);
    tolerance_ = std::abs(static_cast<double>(p.scale)) * (k * std::sqrt(k) + 16.0) * 0x1p-22;

    const Capabilities& caps = stream.device().capabilities();
    const bool rules_pack = packing_pays(p, caps, stream.device().access());
    if (may_pack(p, caps, stream.device().access())) {
        layout_ = pack_layout(caps, p.b.type, p.n, p.k);
        try {
            packed_ = Tensor(stream.device(), layout_.type, {p.inner * layout_.elements(p.n, p.k)});
        } catch (const Error& error) {
            if (rules_pack || error.kind() != ErrorKind::out_of_memory) throw;
        }
    }
    add_ways(rules_pack);
    try {
        if (packed_) add_ways(!rules_pack);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::unsupported) throw;
    }
}

void Trial::place(MatrixView& view, std::uint64_t span) {
    view.offset = view.buffer.starts_aligned() ? view.offset % 8 : 1;
    const std::uint64_t elements = view.offset + span;
    view.buffer = stream_.device().allocate(elements * size_of(view.type));
    // Not bits at random: they would hold NaN, and numbers that some processors are slow with.
    uniform_into(stream_, Tensor(view.buffer, view.type, {elements}), -1.0f, 1.0f, seed_++);
}

void MultiplyTrial::place_sparse() {
    MultiplyProblem& p = problem_;
    const std::uint64_t rows = p.contract_columns ? p.n : p.k, columns = p.contract_columns ? p.k : p.n;
    const Tensor dense(stream_.device(), p.b.type, {p.inner, rows, columns});
    uniform_into(stream_, dense, -1.0f, 1.0f, seed_++);
    const Stored24 weight = p.tile_codes ? Stored24(compress_transposable(stream_, dense))
                                         : Stored24(compress_by_magnitude(stream_, dense));
    const std::uint64_t row_values = weight.values.size(2);
    p.b = {weight.values.buffer(), p.b.type, weight.values.offset(), 0, 0, 0, rows * row_values};
    (p.contract_columns ? p.b.column : p.b.row) = row_values;
    p.metadata_word = weight.places.offset();
    p.metadata_words = weight.places.elements();
}

void MultiplyTrial::place_picks() {
    MultiplyProblem& p = problem_;
    const std::uint64_t panels = divide_up(p.m, p.a_panel), panel = p.k * p.a_panel,
                        values = p.inner * panels * panel;
    std::vector<std::uint32_t> list(p.inner * panels * p.k);
    for (std::size_t i = 0; i < list.size(); ++i)
        list[i] = static_cast<std::uint32_t>(i % p.k * p.picked_from / p.k);
    p.metadata_word = values * size_of(p.a.type) / 4;
    p.metadata_words = list.size();
    p.a = {stream_.device().allocate((p.metadata_word + p.metadata_words) * 4),
           p.a.type,
           0,
           panel,
           0,
           0,
           panels * panel};
    uniform_into(stream_, Tensor(p.a.buffer, p.a.type, {values}), -1.0f, 1.0f, seed_++);
    stream_.upload(p.a.buffer, p.metadata_word * 4, std::as_bytes(std::span(list)));
}

void MultiplyTrial::add_ways(bool packed) {
    if (packed && !packed_) return;
    const Capabilities& caps = stream_.device().capabilities();
    const Access access = stream_.device().access();
    const MultiplyProblem p = packed ? with_packed(problem_, packed_, layout_) : problem_;
    const std::vector<MultiplyPlan> by_rules = plan(p, caps, access);
    const Tile rules = by_rules.front().tile;
    add_way({rules, packed}, by_rules);
    // Where one dispatch does not reach, its first piece stands for all.
    const MultiplyProblem& piece = by_rules.front().problem;
    for (const MultiplyPlan& one : candidates(rules.exchanged ? exchanged(piece) : piece, caps, access)) {
        if (one.tile == rules) continue;
        try {
            std::vector<MultiplyPlan> plans = plan(p, caps, access, &one.tile);
            // Cut up for its own count of workgroups it may not be what it was.
            if (plans.front().tile == one.tile) add_way({one.tile, packed}, std::move(plans));
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::unsupported) throw;
        }
    }
}

void MultiplyTrial::add_way(const Choice& choice, std::vector<MultiplyPlan> plans) {
    ways_.push_back({choice, [this, choice, plans = std::move(plans)](Recorder& recorder) {
                         if (choice.packed) record_pack(recorder, packed_, layout_, pack_source(problem_));
                         record_plans(recorder, plans);
                     }});
}

MonarchTrial::MonarchTrial(Stream& stream, const MonarchProblem& problem) : Trial(stream) {
    MonarchProblem p = problem;
    MultiplyProblem& whole = p.whole;
    const std::uint64_t written = view_span(whole, whole.c, whole.m, whole.n);
    place(whole.a, span_a(whole));
    place(whole.c, written);
    const auto activations = [&](const MatrixView& v, std::uint64_t features) {
        return Tensor(v.buffer, v.type, {whole.outer, whole.m, features}, {v.outer, v.row, v.column},
                      v.offset);
    };
    const auto weight = [&](MonarchProblem::Stage& s) {
        place(s.weight, s.span());
        const MatrixView& v = s.weight;
        const Tensor t(v.buffer, v.type, {s.blocks, s.rows, s.depth}, {v.inner, v.row, v.column}, v.offset);
        return p.transposed ? t.transpose() : t;
    };
    const Tensor x = activations(whole.a, whole.k), y = activations(whole.c, whole.n);
    const Tensor first = weight(p.first), second = weight(p.second);
    const bool interleaved = p.transposed ? p.x_interleaved : p.y_interleaved, transposed = p.transposed;
    const Monarch w(transposed ? second : first, transposed ? first : second,
                    interleaved ? OutputOrder::interleaved : OutputOrder::blocked);
    out_ = Tensor(whole.c.buffer, whole.c.type, {whole.c.offset + written});
    // Sums of sums; what is between them is rounded to 16 bits, to the one side or the other.
    const double terms = static_cast<double>(p.first.depth) * static_cast<double>(p.second.depth);
    const double rounding = whole.b.type == DataType::f32   ? 0x1p-22
                            : whole.b.type == DataType::f16 ? 0x1p-10
                                                            : 0x1p-7;
    tolerance_ = (terms + 16.0) * 0x1p-22 + 2.0 * std::sqrt(terms) * rounding;

    Tensor residual;
    const MonarchProblem own = monarch_problem(y, x, w, transposed, {}, residual);
    const Capabilities& caps = stream.device().capabilities();
    const Access access = stream.device().access();
    const auto by_rules = fused_by_rules(own, caps, access);
    const Choice apart{{Family::factors, 0, 0, 0, 0, false}, false};
    ways_.push_back({apart, [=](Recorder& recorder) { multiply_apart(recorder, y, x, w, transposed, {}); }});
    for (const MonarchPlan& one : fused_candidates(own, caps, access)) {
        const Way way{{one.tile, false}, [one](Recorder& recorder) { detail::record(recorder, one); }};
        ways_.insert(by_rules && one.tile == by_rules->tile ? ways_.begin() : ways_.end(), way);
    }
}

std::vector<float> Trial::result(const Way& way) {
    fill_into(stream_, out_, 0.0);
    way.record(stream_);
    return download(stream_, out_);
}

bool Trial::same(const std::vector<float>& result, const std::vector<float>& other) const {
    // Then one rounding to the result's type, and to the sum's again where one kernel adds in two steps.
    const double relative = out_.type() == DataType::f32   ? 0x1p-21
                            : out_.type() == DataType::f16 ? 0x1p-9
                                                           : 0x1p-6;
    for (std::size_t i = 0; i < result.size(); ++i) {
        const double a = static_cast<double>(result[i]), b = static_cast<double>(other[i]);
        if (!(std::abs(a - b) <= tolerance_ + relative * std::max(std::abs(a), std::abs(b)))) return false;
    }
    return true;
}

}  // namespace danaus::detail
