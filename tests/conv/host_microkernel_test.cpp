// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include <tessera/conv/detail/microkernel_host.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace detail = tessera::detail;

namespace {

/// Rows of one panel's width, aligned as panels are.
template <class Sum>
struct alignas(64) PanelRow {
  Sum value[detail::panel_channels<Sum>] = {};
};

/// Every product that this processor can carry out.
template <class Sum>
std::vector<detail::MultiplyPanel<Sum>> products()
{
  return {detail::multiply_panel_portably<Sum>, detail::multiply_panel<Sum>()};
}

}  // namespace

TEST_CASE_TEMPLATE("microkernel: adds the product of any number of pairs, and to nothing else", Sum, float,
                   double)
{
  constexpr int rows = 40;
  std::mt19937 random{3};
  std::uniform_real_distribution<Sum> value{-1, 1};
  for (int const channels : {1, 2, 7, 32}) {
    auto const depth = static_cast<std::size_t>(channels);
    std::vector<Sum> features(rows * depth);
    for (auto& x : features) { x = value(random); }
    std::vector<PanelRow<Sum>> panel(depth);
    std::vector<PanelRow<Sum>> start(rows);
    for (auto* matrix : {&panel, &start}) {
      for (auto& row : *matrix) {
        for (auto& v : row.value) { v = value(random); }
      }
    }
    std::vector<std::int32_t> in;
    std::vector<std::int32_t> out;
    for (int i = 0; i < rows; ++i) {
      in.push_back(static_cast<std::int32_t>(random() % rows));
      out.push_back((i * 7 + 3) % rows);
    }
    for (int count = 0; count <= 20; ++count) {
      CAPTURE(channels);
      CAPTURE(count);
      for (auto const multiply : products<Sum>()) {
        auto sums = start;
        detail::PanelProduct<Sum> product;
        product.features = features.data();
        product.panel = panel[0].value;
        product.sums = sums[0].value;
        product.sums_stride = detail::panel_channels<Sum>;
        product.in = in.data();
        product.out = out.data();
        product.count = count;
        product.channels = channels;
        multiply(product);

        auto expected = start;
        for (std::size_t p = 0; p < static_cast<std::size_t>(count); ++p) {
          auto const* x = features.data() + static_cast<std::size_t>(in[p]) * depth;
          for (std::size_t c = 0; c < depth; ++c) {
            for (int j = 0; j < detail::panel_channels<Sum>; ++j) {
              expected[static_cast<std::size_t>(out[p])].value[j] += x[c] * panel[c].value[j];
            }
          }
        }
        Sum worst = 0;
        for (std::size_t r = 0; r < rows; ++r) {
          for (int j = 0; j < detail::panel_channels<Sum>; ++j) {
            worst = std::max(worst, std::abs(sums[r].value[j] - expected[r].value[j]));
          }
        }
        CHECK(worst <= 20 * std::numeric_limits<Sum>::epsilon());
      }
    }
  }
}
