// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The gradient of a weight against the definition, where channels, pairs, rows in use and addresses are of every
// kind. Values are multiples of 1/128 up to 1, so products and their sums are exact in float, in any order: what
// is found must be equal.

#include "backward_cases.hpp"

#include <tessera/conv/detail/weight_gradient/shapes.hpp>

using namespace backward_cases;

namespace {

struct Entries {
  std::vector<std::int32_t> out_in;  // [rows, volume]
  std::int64_t num_in;
  std::int64_t rows;
  int volume;
};

/// Every fourth entry is a pair, of offset 0 every one, of offset 3 of each seven none.
Entries random_entries(std::int64_t num_in, std::int64_t rows, int volume, unsigned seed)
{
  std::mt19937 random{seed};
  Entries result{{}, num_in, rows, volume};
  for (std::int64_t i = 0; i < rows * volume; ++i) {
    auto const offset = i % volume;
    bool const exists = num_in > 0 && (offset == 0 || (offset % 7 != 3 && random() % 4 == 0));
    result.out_in.push_back(exists ? static_cast<std::int32_t>(random() % static_cast<unsigned>(num_in))
                                   : -1);
  }
  return result;
}

Entries identity_entries(std::int64_t rows)
{
  Entries result{{}, rows, rows, 1};
  for (std::int64_t i = 0; i < rows; ++i) { result.out_in.push_back(static_cast<std::int32_t>(i)); }
  return result;
}

/// What a gradient is asked of: a map, with more rows than are in use where `capacity` says so, and values, which
/// are NaN in rows that are not in use.
struct Question {
  Entries entries;
  int in_channels;
  int out_channels;
  std::int64_t capacity = 0;  // rows of the output, if more
  std::int64_t skipped = 0;   // elements before the rows of x and of dy in memory

  [[nodiscard]] Values x() const { return values(entries.num_in * in_channels, 1); }
  [[nodiscard]] Values grad() const { return values(entries.rows * out_channels, 2); }

  [[nodiscard]] Values expected() const
  {
    auto const from = x();
    auto const dy = grad();
    auto const cin = static_cast<std::size_t>(in_channels);
    auto const cout = static_cast<std::size_t>(out_channels);
    auto const volume = static_cast<std::size_t>(entries.volume);
    Values result(volume * cin * cout);
    for (std::size_t i = 0; i < entries.out_in.size(); ++i) {
      if (entries.out_in[i] < 0) { continue; }
      auto const in = static_cast<std::size_t>(entries.out_in[i]);
      for (std::size_t c = 0; c < cin; ++c) {
        for (std::size_t j = 0; j < cout; ++j) {
          result[(i % volume * cin + c) * cout + j] += from[in * cin + c] * dy[i / volume * cout + j];
        }
      }
    }
    return result;
  }

  template <class Scalar, class Out = accumulator_t<Scalar>, class Space>
  [[nodiscard]] std::vector<Out> answer(Execution<Space> const& exec,
                                        GradientMode mode = GradientMode::overwrite, Out before = Out(7),
                                        WeightSteps const& steps = {}) const
  {
    auto const rows = std::max(capacity, entries.rows);
    bool const is_identity = entries.volume == 1;
    auto out_in = entries.out_in;
    out_in.resize(static_cast<std::size_t>(rows * entries.volume), -1);
    auto const in_use = upload(std::vector<std::int32_t>{static_cast<std::int32_t>(entries.rows)}, exec);
    KernelMapParts<Space> parts;
    if (capacity > 0) { parts.out_count = in_use.data(); }
    KernelMap<Space> map{
        upload(out_in, exec), is_identity ? rows : entries.num_in, rows, entries.volume, is_identity ? 0 : -1,
        std::move(parts)};
    auto const from = upload(padded<Scalar>(x(), map.num_in() * in_channels), exec);
    auto const dy = upload(padded<Scalar>(grad(), rows * out_channels), exec);
    auto const size = entries.volume * in_channels * out_channels * (steps.out == 2 ? 2 : 1);
    auto result = upload(std::vector<Out>(static_cast<std::size_t>(size), before), exec);
    MatrixView<Scalar const> const x_view{from.data() + skipped, map.num_in(), in_channels};
    MatrixView<Scalar const> const dy_view{dy.data() + skipped, rows, out_channels};
    convolution_backward_weight(x_view, dy_view, map, result.data(), steps, mode, exec);
    return download(result, exec);
  }

 private:
  static Values values(std::int64_t size, unsigned seed)
  {
    std::mt19937 random{seed};
    return random_values(static_cast<std::size_t>(size), random);
  }
  template <class Scalar>
  [[nodiscard]] std::vector<Scalar> padded(Values const& values, std::int64_t size) const
  {
    Values all(static_cast<std::size_t>(skipped));
    all.insert(all.end(), values.begin(), values.end());
    all.resize(static_cast<std::size_t>(skipped + size), std::numeric_limits<double>::quiet_NaN());
    return rounded<Scalar>(all);
  }
};

template <class Sum>
std::size_t count_wrong(std::vector<Sum> const& found, Values const& expected)
{
  REQUIRE(found.size() == expected.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < found.size(); ++i) { wrong += wide(found[i]) == expected[i] ? 0 : 1; }
  return wrong;
}

/// Calls `body(scalar)` for the scalars of a space.
template <class Space, class Body>
void for_each_scalar(Body const& body)
{
  body(float{});
#ifdef __CUDACC__
  if constexpr (std::is_same_v<Space, Device>) {
    body(__half{});
    body(__nv_bfloat16{});
  }
#endif
}

std::int64_t rows_of(std::int64_t rows)
{
  return test::small_sets() ? rows / 8 : rows;
}

}  // namespace

TEST_CASE_TEMPLATE("weight gradient: it equals the definition for any numbers of channels", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  auto const entries = random_entries(300, rows_of(1500), 8, 5);
  for (auto const& channels : {std::pair{1, 1},
                               {3, 16},
                               {4, 32},
                               {8, 8},
                               {8, 24},
                               {24, 40},
                               {64, 64},
                               {40, 136},
                               {136, 24},
                               {65, 7},
                               {5, 130},
                               {72, 200},
                               {264, 16},
                               {136, 72},
                               {200, 130}}) {
    CAPTURE(channels.first);
    CAPTURE(channels.second);
    Question const question{entries, channels.first, channels.second};
    auto const expected = question.expected();
    for_each_scalar<Space>([&](auto scalar) {
      CHECK(count_wrong(question.template answer<decltype(scalar)>(exec), expected) == 0);
    });
  }
}

TEST_CASE_TEMPLATE("weight gradient: it equals the definition for any numbers of rows and offsets", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  struct Size {
    std::int64_t num_in;
    std::int64_t rows;
    int volume;
  };
  for (auto const& size : {Size{5, 0, 27},
                           {0, 9, 27},
                           {1, 1, 27},
                           {3, 31, 2},
                           {40, 33, 3},
                           {100, 512, 2},
                           {100, 513, 2},
                           {200, 6000, 3},
                           {90, 300, 343}}) {
    CAPTURE(size.num_in);
    CAPTURE(size.rows);
    CAPTURE(size.volume);
    auto const entries = random_entries(size.num_in, size.rows, size.volume, 6);
    for (auto const& channels : {std::pair{16, 8}, {16, 72}}) {
      Question const question{entries, channels.first, channels.second};
      auto const expected = question.expected();
      for_each_scalar<Space>([&](auto scalar) {
        CHECK(count_wrong(question.template answer<decltype(scalar)>(exec), expected) == 0);
      });
    }
  }
}

TEST_CASE_TEMPLATE(
    "weight gradient: rows that read themselves need no lists, and those not in use give nothing", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  for (std::int64_t const rows : {0, 1, 700, 2500}) {
    CAPTURE(rows);
    for (auto const& channels : {std::pair{8, 48}, {20, 130}}) {
      Question question{identity_entries(rows), channels.first, channels.second};
      auto const expected = question.expected();
      for (std::int64_t const capacity : {0, 3000}) {
        CAPTURE(capacity);
        question.capacity = capacity;
        for_each_scalar<Space>([&](auto scalar) {
          // On the host, and with multiply-adds, rows that are not in use have no entries.
          CHECK(count_wrong(question.template answer<decltype(scalar)>(exec), expected) == 0);
        });
      }
    }
  }
}

TEST_CASE_TEMPLATE("weight gradient: twice, and with room for more rows, it has the same bits", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  // In thirds, so that sums are rounded and another order would show.
  auto const thirds = [&](auto scalar, Question question, std::int64_t capacity) {
    using Scalar = decltype(scalar);
    question.capacity = capacity;
    auto const rows = std::max(capacity, question.entries.rows);
    auto out_in = question.entries.out_in;
    out_in.resize(static_cast<std::size_t>(rows * question.entries.volume), -1);
    KernelMap<Space> map{upload(out_in, exec), question.entries.num_in, rows, question.entries.volume, -1};
    auto const scaled = [&](Values values, std::int64_t size) {
      values.resize(static_cast<std::size_t>(size));
      for (auto& value : values) { value /= 3; }
      return upload(rounded<Scalar>(values), exec);
    };
    auto const x = scaled(question.x(), map.num_in() * question.in_channels);
    auto const dy = scaled(question.grad(), rows * question.out_channels);
    Buffer<float, Space> result{
        std::int64_t{question.entries.volume} * question.in_channels * question.out_channels, exec};
    convolution_backward_weight(MatrixView<Scalar const>{x.data(), map.num_in(), question.in_channels},
                                MatrixView<Scalar const>{dy.data(), rows, question.out_channels}, map,
                                result.data(), GradientMode::overwrite, exec);
    return download(result, exec);
  };
  auto const rows = rows_of(5000);
  for (auto const& channels : {std::pair{24, 16}, {16, 96}}) {
    Question const question{random_entries(900, rows, 5, 8), channels.first, channels.second};
    for_each_scalar<Space>([&](auto scalar) {
      auto const once = thirds(scalar, question, 0);
      CHECK(same_bits(once, thirds(scalar, question, 0)));
      CHECK(same_bits(once, thirds(scalar, question, rows + 1)));
      CHECK(same_bits(once, thirds(scalar, question, 4 * rows)));
    });
  }
}

TEST_CASE_TEMPLATE("weight gradient: it is added to what is there, rounded once, and rows may begin anywhere",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  for (auto const& channels : {std::pair{16, 24}, {128, 8}}) {
    Question question{random_entries(80, 200, 4, 9), channels.first, channels.second};
    auto expected = question.expected();
    for (std::int64_t const skipped : {0, 1, 4}) {
      CAPTURE(skipped);
      question.skipped = skipped;
      for_each_scalar<Space>([&](auto scalar) {
        using Scalar = decltype(scalar);
        CHECK(count_wrong(question.template answer<Scalar>(exec), expected) == 0);
        auto sums = expected;
        for (auto& sum : sums) { sum += 3; }
        CHECK(count_wrong(question.template answer<Scalar>(exec, GradientMode::accumulate, 3.0F), sums) == 0);
        Values once;
        for (auto const value : rounded<Scalar>(expected)) { once.push_back(wide(value)); }
        CHECK(count_wrong(question.template answer<Scalar, Scalar>(exec, GradientMode::overwrite,
                                                                   rounded<Scalar>({7.0})[0]),
                          once) == 0);
      });
    }
  }
}

TEST_CASE_TEMPLATE("weight gradient: it is written in the order of the weight that it belongs to", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec;
  Question const question{random_entries(80, 200, 4, 9), 16, 24};
  std::vector<WeightSteps> const orders{{16, 1, 4 * 16},            // [out, volume, in]
                                        {16 * 24, 1, 16},           // [volume, out, in]
                                        {1, 4 * 24, 4},             // [in, out, volume]
                                        {2 * 16 * 24, 2 * 24, 2}};  // every other element
  for_each_scalar<Space>([&](auto scalar) {
    auto const plain = question.template answer<decltype(scalar)>(exec);
    for (auto const& steps : orders) {
      for (auto const mode : {GradientMode::overwrite, GradientMode::accumulate}) {
        auto const found = question.template answer<decltype(scalar)>(exec, mode, 3.0F, steps);
        std::size_t wrong = 0;
        std::size_t written = 0;
        for (std::size_t i = 0; i < plain.size(); ++i) {
          auto const at = i / (16 * 24) * static_cast<std::size_t>(steps.offset) +
                          i / 24 % 16 * static_cast<std::size_t>(steps.in) +
                          i % 24 * static_cast<std::size_t>(steps.out);
          wrong += found[at] == plain[i] + (mode == GradientMode::accumulate ? 3 : 0) ? 0 : 1;
          written += at < found.size() ? 1 : 0;
        }
        CHECK(wrong == 0);
        CHECK(written == plain.size());
        for (std::size_t i = 1; steps.out == 2 && i < found.size(); i += 2) {
          wrong += found[i] == 3 ? 0 : 1;
        }
        CHECK(wrong == 0);
      }
    }
  });
}

TEST_CASE("weight gradient: segments are long enough, few enough for their memory, and whole stages")
{
  constexpr std::int64_t most_bytes = std::int64_t{64} << 20;
  for (int const volume : {1, 8, 27, 343}) {
    for (std::int64_t const size : {1, 64 * 64, 128 * 128, 256 * 256, 512 * 512, 2048 * 2048}) {
      CAPTURE(volume);
      CAPTURE(size);
      detail::SegmentCut const cut{512, volume, size};
      for (std::int64_t const pairs : {0, 1, 512, 513, 100'000, 30'000'000}) {
        auto const room = cut.room(pairs, volume);
        CHECK(room * size * 4 <= std::max(most_bytes, 2 * volume * size * 4));
        auto const length = cut.length(pairs);
        CHECK(length >= 512);
        CHECK(length % detail::SegmentCut::unit == 0);
        // Offsets share the pairs anyhow: each has at most one segment that is not full.
        CHECK(pairs / length + volume <= room);
        CHECK(room <= cut.room(2 * pairs, volume));
      }
    }
  }
}
