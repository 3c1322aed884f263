// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "operation_cases.hpp"

#include <tessera/ops/dropout.hpp>
#include <tessera/ops/global_pooling.hpp>
#include <tessera/ops/pooling.hpp>

#include <type_traits>
#include <vector>

using namespace operation_cases;

TEST_CASE_TEMPLATE("gradients: two runs have the same bits, and so has every scalar within its rounding",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const host = test::random_tensor<float>(700, 8, {0, 1}, 5);
  using Options = PoolOptions<3>;
  auto const gradients = [&](auto scalar, Execution<Space> const& on) {
    using Scalar = decltype(scalar);
    auto const x = test::upload_tensor<Scalar>(host, on);
    std::vector<std::vector<Scalar>> results;
    auto const add = [&](auto const& run) {
      auto const record = test::recorded(on, [&](auto const& inside) { return run(x, inside); });
      auto const y = run(x, on);
      auto const count = elements(y, on).size();
      std::vector<double> cotangent;
      for (std::size_t i = 0; i < count; ++i) { cotangent.push_back(static_cast<double>(i % 13) / 8 - 0.75); }
      results.push_back(test::input_gradients<Scalar>(*record, gradient_like(y, cotangent, on), on).at(0));
    };
    add([](auto const& v, auto const& e) { return max_pool(v, Options(2), e); });
    add([](auto const& v, auto const& e) { return average_pool(v, Options(3).stride(2).padding(1), e); });
    add([](auto const& v, auto const& e) { return sum_pool(v, Options(3).stride(1).padding(1), e); });
    add([](auto const& v, auto const& e) { return global_max_pool(v, e); });
    add([](auto const& v, auto const& e) { return global_average_pool(v, e); });
    add([](auto const& v, auto const& e) { return dropout(v, 0.5, 7, e); });
    return results;
  };
  // features of float's rounding tie in other scalars, so that pools of the largest are left to float and double
  auto const expected = gradients(double{}, exec);
  test::for_each_scalar([&](auto scalar) {
    using Scalar = decltype(scalar);
    auto const found = gradients(Scalar{}, exec);
    auto const again = gradients(Scalar{}, exec);
    for (std::size_t i = 0; i < found.size(); ++i) {
      CAPTURE(i);
      CHECK(test::same_bits(found[i], again[i]));
      bool const takes_one = i == 0 || i == 3;
      if (takes_one && sizeof(Scalar) == 2) { continue; }
      test::check_close(found[i], expected[i], test::rounding<Scalar>());
    }
  });
  if constexpr (std::is_same_v<Space, Host>) {
    auto const one = gradients(float{}, Execution<Host>{1});
    auto const four = gradients(float{}, Execution<Host>{4});
    for (std::size_t i = 0; i < one.size(); ++i) { CHECK(test::same_bits(one[i], four[i])); }
  }
}
