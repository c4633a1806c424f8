// Keys of problems, and the text that stands for them in files.
#include "check.hpp"
#include "tuning.hpp"

#include <algorithm>
#include <bit>
#include <charconv>

namespace danaus::detail {
namespace {

using Order = ProblemKey::Order;
using Weight = ProblemKey::Weight;

constexpr std::string_view order_names[] = {"rows", "columns", "scattered", "packed"};
constexpr std::string_view weight_names[] = {"dense",
                                             "sparse24",
                                             "sparse24_across",
                                             "tile24",
                                             "tile24_across",
                                             "vector",
                                             "monarch",
                                             "monarch_blocked",
                                             "monarch_transposed",
                                             "monarch_transposed_blocked"};
constexpr std::string_view access_names[] = {"address", "descriptor"};
constexpr std::string_view type_names[] = {"f32", "f16", "bf16"};
static_assert(static_cast<int>(Access::address) == 0 && static_cast<int>(Access::descriptor) == 1);

std::uint64_t size_class(std::uint64_t size) {
    return std::bit_ceil(std::min<std::uint64_t>(size, 1ull << 62));
}

std::uint64_t depth_class(std::uint64_t k) {
    return k <= 64 ? k : size_class(k);
}

bool is_monarch(Weight weight) {
    return weight >= Weight::monarch;
}

// A dimension of one element has no neighbours.
Order order_of(const MatrixView& view, std::uint64_t rows, std::uint64_t columns) {
    if (columns > 1 && view.column == 1) return Order::rows;
    if (rows > 1 && view.row == 1) return Order::columns;
    return columns > 1 && rows > 1 ? Order::scattered : Order::rows;
}

template <std::size_t count>
std::optional<std::uint32_t> index_of(const std::string_view (&names)[count], std::string_view text) {
    const auto found = std::find(std::begin(names), std::end(names), text);
    if (found == std::end(names)) return std::nullopt;
    return static_cast<std::uint32_t>(found - std::begin(names));
}

template <typename Number>
bool read_number(std::string_view text, std::string_view prefix, Number& number) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
}

bool read_order(std::string_view text, std::string_view prefix, Order& order) {
    if (!text.starts_with(prefix)) return false;
    const auto index = index_of(order_names, text.substr(prefix.size()));
    if (index) order = static_cast<Order>(*index);
    return index.has_value();
}

bool read_types(std::string_view text, ProblemKey& key) {
    const std::size_t at = text.find('>');
    if (at == std::string_view::npos) return false;
    const auto operands = index_of(type_names, text.substr(0, at)),
               result = index_of(type_names, text.substr(at + 1));
    if (!operands || !result) return false;
    key.operands = static_cast<DataType>(*operands);
    key.result = static_cast<DataType>(*result);
    return true;
}

// "a:packed64x12"
bool read_a(std::string_view text, ProblemKey& key) {
    constexpr std::string_view packed = "a:packed";
    const std::size_t by = text.find('x');
    if (!text.starts_with(packed) || by == std::string_view::npos) return read_order(text, "a:", key.a);
    key.a = Order::packed;
    return read_number(text.substr(0, by), packed, key.panel) && read_number(text.substr(by), "x", key.depth);
}

std::vector<std::string_view> words_of(std::string_view text) {
    std::vector<std::string_view> words;
    for (std::size_t end = 0; end != std::string_view::npos;) {
        end = text.find(' ');
        words.push_back(text.substr(0, end));
        if (end != std::string_view::npos) text.remove_prefix(end + 1);
    }
    return words;
}

}  // namespace

ProblemKey key_of(const MultiplyProblem& p, Access access) {
    ProblemKey key;
    key.access = access;
    key.operands = p.b.type;  // a packed A may be f32
    key.result = p.c.type;
    if (is_sparse(p))
        key.weight = p.tile_codes ? (p.contract_columns ? Weight::tile24 : Weight::tile24_across)
                                  : (p.contract_columns ? Weight::sparse24 : Weight::sparse24_across);
    if (p.picked_from) key.weight = Weight::vector;
    key.a = p.a_panel ? Order::packed : order_of(p.a, p.m, p.k);
    key.b = is_sparse(p) ? Order::rows : order_of(p.b, p.k, p.n);
    key.c = order_of(p.c, p.m, p.n);
    key.panel = p.a_panel;
    key.depth = p.a_depth;
    key.m = size_class(p.m);
    key.n = size_class(p.n);
    key.k = depth_class(p.k);
    key.batch = size_class(p.outer * p.inner);
    return key;
}

ProblemKey key_of(const MonarchProblem& p, Access access) {
    ProblemKey key;
    key.access = access;
    key.operands = p.whole.b.type;
    key.result = p.whole.c.type;
    const bool blocked = p.transposed ? !p.x_interleaved : !p.y_interleaved;
    key.weight = p.transposed ? (blocked ? Weight::monarch_transposed_blocked : Weight::monarch_transposed)
                              : (blocked ? Weight::monarch_blocked : Weight::monarch);
    key.a = order_of(p.whole.a, p.whole.m, p.whole.k);
    key.b = order_of(p.first.weight, p.first.rows, p.first.depth);
    key.c = order_of(p.whole.c, p.whole.m, p.whole.n);
    key.m = size_class(std::min<std::uint64_t>(p.whole.m, 1ull << 40) *
                       std::min<std::uint64_t>(p.whole.outer, 1ull << 20));
    key.n = size_class(p.first.rows);
    key.k = depth_class(p.first.depth);
    key.batch = size_class(p.first.blocks);
    key.n2 = size_class(p.second.rows);
    key.k2 = depth_class(p.second.depth);
    key.batch2 = size_class(p.second.blocks);
    return key;
}

std::string to_string(const ProblemKey& key) {
    const auto order = [](Order one) { return order_names[static_cast<std::size_t>(one)]; };
    const auto type = [](DataType one) { return type_names[static_cast<std::size_t>(one)]; };
    std::string second;
    if (is_monarch(key.weight)) second = fmt::format(" n{} k{} batch{}", key.n2, key.k2, key.batch2);
    return fmt::format("{} {}>{} {} a:{}{} b:{} c:{} m{} n{} k{} batch{}{}",
                       access_names[static_cast<std::size_t>(key.access)], type(key.operands),
                       type(key.result), weight_names[static_cast<std::size_t>(key.weight)], order(key.a),
                       key.a == Order::packed ? fmt::format("{}x{}", key.panel, key.depth) : "", order(key.b),
                       order(key.c), key.m, key.n, key.k, key.batch, second);
}

std::optional<ProblemKey> key_from(std::string_view text) {
    const std::vector<std::string_view> words = words_of(text);
    if (words.size() != 10 && words.size() != 13) return std::nullopt;
    ProblemKey key;
    const auto access = index_of(access_names, words[0]);
    const auto weight = index_of(weight_names, words[2]);
    if (!access || !weight || !read_types(words[1], key) || !read_a(words[3], key) ||
        !read_order(words[4], "b:", key.b) || !read_order(words[5], "c:", key.c) ||
        !read_number(words[6], "m", key.m) || !read_number(words[7], "n", key.n) ||
        !read_number(words[8], "k", key.k) || !read_number(words[9], "batch", key.batch))
        return std::nullopt;
    key.access = static_cast<Access>(*access);
    key.weight = static_cast<Weight>(*weight);
    if (is_monarch(key.weight) != (words.size() == 13)) return std::nullopt;
    if (is_monarch(key.weight) &&
        (key.a == Order::packed || !read_number(words[10], "n", key.n2) ||
         !read_number(words[11], "k", key.k2) || !read_number(words[12], "batch", key.batch2)))
        return std::nullopt;
    // One text for each key: no leading zeros, no sign, no size that is not a class.
    const bool classes =
        size_class(key.m) == key.m && size_class(key.n) == key.n && depth_class(key.k) == key.k &&
        size_class(key.batch) == key.batch &&
        (!is_monarch(key.weight) || (size_class(key.n2) == key.n2 && depth_class(key.k2) == key.k2 &&
                                     size_class(key.batch2) == key.batch2));
    if (!classes || to_string(key) != text) return std::nullopt;
    return key;
}

}  // namespace danaus::detail
