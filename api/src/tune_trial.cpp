#include "tune_trial.hpp"

#include "check.hpp"

#include <danaus/random.hpp>
#include <danaus/sparse24.hpp>

#include <algorithm>
#include <cmath>

namespace danaus::detail {

Trial::Trial(Stream& stream, const MultiplyProblem& problem) : stream_(stream), problem_(problem) {
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

void Trial::place_sparse() {
    MultiplyProblem& p = problem_;
    const std::uint64_t rows = p.contract_columns ? p.n : p.k, columns = p.contract_columns ? p.k : p.n;
    const Tensor dense(stream_.device(), p.b.type, {p.inner, rows, columns});
    uniform_into(stream_, dense, -1.0f, 1.0f, seed_++);
    const Sparse24 weight = compress_by_magnitude(stream_, dense);
    const std::uint64_t row_values = weight.values().size(2);
    p.b = {weight.values().buffer(), p.b.type, weight.values().offset(), 0, 0, 0, rows * row_values};
    (p.contract_columns ? p.b.column : p.b.row) = row_values;
    p.metadata_word = weight.metadata().offset();
    p.metadata_words = weight.metadata().elements();
}

void Trial::place_picks() {
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

void Trial::add_ways(bool packed) {
    if (packed && !packed_) return;
    const Capabilities& caps = stream_.device().capabilities();
    const Access access = stream_.device().access();
    const MultiplyProblem p = packed ? with_packed(problem_, packed_, layout_) : problem_;
    const std::vector<MultiplyPlan> by_rules = plan(p, caps, access);
    const Tile rules = by_rules.front().tile;
    ways_.push_back({{rules, packed}, by_rules});
    // Where one dispatch does not reach, its first piece stands for all.
    const MultiplyProblem& piece = by_rules.front().problem;
    for (const MultiplyPlan& one : candidates(rules.exchanged ? exchanged(piece) : piece, caps, access)) {
        if (one.tile == rules) continue;
        try {
            std::vector<MultiplyPlan> plans = plan(p, caps, access, &one.tile);
            // Cut up for its own count of workgroups it may not be what it was.
            if (plans.front().tile == one.tile) ways_.push_back({{one.tile, packed}, std::move(plans)});
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::unsupported) throw;
        }
    }
}

void Trial::record(Recorder& recorder, const Way& way) const {
    if (way.choice.packed) record_pack(recorder, packed_, layout_, pack_source(problem_));
    record_plans(recorder, way.plans);
}

Tensor Trial::whole(const MatrixView& view) const {
    return Tensor(view.buffer, view.type, {view.offset + view_span(problem_, view, problem_.m, problem_.n)});
}

std::vector<float> Trial::result(const Way& way) {
    const Tensor out = whole(problem_.c);
    fill_into(stream_, out, 0.0);
    record(stream_, way);
    return download(stream_, out);
}

bool Trial::same(const std::vector<float>& result, const std::vector<float>& other) const {
    // Sums of k products of numbers below 1 in magnitude, in f32, whose errors partly cancel; then one
    // rounding to the result's type, and to the sum's again where one kernel adds in two steps.
    const double k = static_cast<double>(problem_.k);
    const double sums = std::abs(static_cast<double>(problem_.scale)) * (k * std::sqrt(k) + 16.0) * 0x1p-22;
    const double relative = problem_.c.type == DataType::f32   ? 0x1p-21
                            : problem_.c.type == DataType::f16 ? 0x1p-9
                                                               : 0x1p-6;
    for (std::size_t i = 0; i < result.size(); ++i) {
        const double a = static_cast<double>(result[i]), b = static_cast<double>(other[i]);
        if (!(std::abs(a - b) <= sums + relative * std::max(std::abs(a), std::abs(b)))) return false;
    }
    return true;
}

}  // namespace danaus::detail
