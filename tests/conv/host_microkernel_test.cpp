// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/skip.hpp"

#include <tessera/conv/detail/microkernel_host.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace detail = tessera::detail;

namespace {

constexpr int rows = 40;

/// A product and the arrays that it names, aligned as the library aligns them.
template <class Sum>
struct Case {
  struct alignas(64) Row {
    Sum value[detail::panel_channels<Sum>] = {};
  };

  /// @param transposed  whether x lies channel by channel
  Case(int channels, int num_panels, bool transposed, unsigned seed)
  {
    std::mt19937 random{seed};
    std::uniform_real_distribution<Sum> value{-1, 1};
    auto const depth = static_cast<std::size_t>(channels);
    auto const width = static_cast<std::size_t>(num_panels);
    constexpr int gap = 2;  // between the panels
    features.resize(rows * depth);
    for (auto& x : features) { x = value(random); }
    panels.resize(width * (depth + gap));
    sums.resize(rows * width);
    for (auto* matrix : {&panels, &sums}) {
      for (auto& row : *matrix) {
        for (auto& v : row.value) { v = value(random); }
      }
    }
    for (int i = 0; i < rows; ++i) {
      in.push_back(static_cast<std::int32_t>(random() % rows));
      out.push_back((i * 7 + 3) % rows);
    }
    product.row_step = transposed ? 1 : channels;
    product.channel_step = transposed ? rows : 1;
    product.panel_size = (channels + gap) * detail::panel_channels<Sum>;
    product.channels = channels;
    product.num_panels = num_panels;
  }

  /// The sums of the first `count` pairs by registers of so many bytes.
  std::vector<Row> multiplied(int count, int bytes) const
  {
    auto result = sums;
    auto p = product;
    p.features = features.data();
    p.panels = panels[0].value;
    p.sums = result[0].value;
    p.in = in.data();
    p.out = out.data();
    p.count = count;
    detail::multiply_panels<Sum>(bytes)(p);
    return result;
  }

  /// @param multiply_add  gives x w + sum
  template <class MultiplyAdd>
  std::vector<Row> by_definition(int count, MultiplyAdd multiply_add) const
  {
    auto result = sums;
    auto const width = static_cast<std::size_t>(product.num_panels);
    for (std::size_t p = 0; p < static_cast<std::size_t>(count); ++p) {
      for (std::size_t panel = 0; panel < width; ++panel) {
        auto& to = result[static_cast<std::size_t>(out[p]) * width + panel].value;
        auto const* const weight = panels[0].value + static_cast<std::ptrdiff_t>(panel) * product.panel_size;
        for (int c = 0; c < product.channels; ++c) {
          auto const x =
              features[static_cast<std::size_t>(in[p] * product.row_step + c * product.channel_step)];
          for (int j = 0; j < detail::panel_channels<Sum>; ++j) {
            to[j] = multiply_add(x, weight[c * detail::panel_channels<Sum> + j], to[j]);
          }
        }
      }
    }
    return result;
  }

  std::vector<Sum> features;
  std::vector<Row> panels;
  std::vector<Row> sums;
  std::vector<std::int32_t> in;
  std::vector<std::int32_t> out;
  detail::PanelProduct<Sum> product;
};

/// The widths of registers that this processor has.
std::vector<int> registers()
{
  std::vector<int> result;
  for (int bytes = 16; bytes <= detail::widest_register(); bytes *= 2) { result.push_back(bytes); }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("microkernel: adds the product of any number of pairs, and to nothing else", Sum, float,
                   double)
{
  for (int const channels : {1, 2, 7, 32}) {
    for (int const num_panels : {1, 2, 3, 4}) {
      for (bool const transposed : {false, true}) {
        Case<Sum> const c{channels, num_panels, transposed, 3};
        for (int count = 0; count <= 20; ++count) {
          auto const expected = c.by_definition(count, [](Sum x, Sum w, Sum sum) { return x * w + sum; });
          for (int const bytes : registers()) {
            CAPTURE(channels);
            CAPTURE(num_panels);
            CAPTURE(transposed);
            CAPTURE(count);
            CAPTURE(bytes);
            auto const sums = c.multiplied(count, bytes);
            Sum worst = 0;
            for (std::size_t r = 0; r < sums.size(); ++r) {
              for (int j = 0; j < detail::panel_channels<Sum>; ++j) {
                worst = std::max(worst, std::abs(sums[r].value[j] - expected[r].value[j]));
              }
            }
            CHECK(worst <= 20 * std::numeric_limits<Sum>::epsilon());
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("microkernel: a sum is fused whatever the number of pairs and of panels", Sum, float,
                   double)
{
  auto widths = registers();
#if defined(__x86_64__) && !defined(__FMA__)
  widths.erase(widths.begin());  // those of 16 bytes have no such instruction there
#endif
  for (int const num_panels : {1, 2, 3}) {
    for (bool const transposed : {false, true}) {
      Case<Sum> const c{50, num_panels, transposed, 5};
      for (int count = 0; count <= 20; ++count) {
        auto const expected =
            c.by_definition(count, [](Sum x, Sum w, Sum sum) { return std::fma(x, w, sum); });
        for (int const bytes : widths) {
          CAPTURE(num_panels);
          CAPTURE(transposed);
          CAPTURE(count);
          CAPTURE(bytes);
          auto const sums = c.multiplied(count, bytes);
          CHECK(std::memcmp(sums.data(), expected.data(), sums.size() * sizeof sums[0]) == 0);
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("microkernel: registers of 32 and of 64 bytes give the same bits", Sum, float, double)
{
  if (detail::widest_register() < 64) {
    test::skip("the processor has no AVX-512");
    return;
  }
  for (int const num_panels : {1, 2, 3}) {
    CAPTURE(num_panels);
    Case<Sum> const c{50, num_panels, false, 4};
    auto const narrow = c.multiplied(rows, 32);
    auto const wide = c.multiplied(rows, 64);
    CHECK(std::memcmp(narrow.data(), wide.data(), narrow.size() * sizeof narrow[0]) == 0);
  }
}
