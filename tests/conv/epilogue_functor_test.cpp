// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The epilogue against its definition, step by step in the type that sums are kept in.

#include <tessera/conv/epilogue.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace ts = tessera;

namespace {

using ts::Activation;
using ts::detail::ActivationSet;

template <class Scalar>
Scalar by_definition(Scalar sum, Scalar const* bias, Scalar const* residual, Activation activation,
                     float slope)
{
  Scalar x = sum;
  if (x == 0) { x = 0; }  // of -0
  if (bias != nullptr) { x = x + *bias; }
  if (residual != nullptr) { x = x + *residual; }
  switch (activation) {
    case Activation::relu: return std::isnan(x) || x > 0 ? x : Scalar{0};
    case Activation::leaky_relu: return std::isnan(x) || x > 0 ? x : static_cast<Scalar>(slope) * x;
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
    default: return x;
  }
}

template <class Scalar>
bool same_bits(Scalar a, Scalar b)
{
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

}  // namespace

TEST_CASE_TEMPLATE("epilogue: sums are output by the definition for each activation, bias and residual",
                   Scalar, float, double)
{
  auto const infinity = std::numeric_limits<Scalar>::infinity();
  auto const nan = std::numeric_limits<Scalar>::quiet_NaN();
  auto const third = Scalar{1} / 3;
  auto const tiny = std::numeric_limits<Scalar>::denorm_min();
  auto const a_half = Scalar{1} / 2;
  std::vector<Scalar> const values{0,  -Scalar{0}, third,       -third,   tiny,      -tiny,
                                   40, -200,       40 + a_half, infinity, -infinity, nan};
  for (auto const activation :
       {Activation::none, Activation::relu, Activation::leaky_relu, Activation::silu, Activation::sigmoid}) {
    for (float const slope : {0.01F, 0.0F, -2.0F}) {
      for (bool const has_bias : {false, true}) {
        for (bool const has_residual : {false, true}) {
          for (auto const bias : values) {
            for (auto const residual : values) {
              auto const* const b = has_bias ? &bias : nullptr;
              auto const* const r = has_residual ? &residual : nullptr;
              ts::Epilogue<Scalar> epilogue;
              epilogue.residual = {r, 1, 1};
              epilogue.activation = activation;
              epilogue.slope = slope;
              ts::detail::EpilogueFunctor<Scalar> const functor{b, epilogue};
              bool const linear = activation <= Activation::leaky_relu;
              REQUIRE(functor.is_linear() == linear);
              for (auto const sum : values) {
                auto const expected = by_definition(sum, b, r, activation, slope);
                CAPTURE(ts::name_of(activation));
                CAPTURE(slope);
                CAPTURE(sum);
                CAPTURE(bias);
                CAPTURE(residual);
                REQUIRE(same_bits(functor.template run<ActivationSet::all>(sum, 0, 0), expected));
                REQUIRE(same_bits(linear ? functor.template run<ActivationSet::linear>(sum, 0, 0)
                                         : functor.template run<ActivationSet::curved>(sum, 0, 0),
                                  expected));
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("epilogue: several sums at once give what each gives by itself, in their order")
{
  float const sums[5] = {1, -2, 3.5F, -0.25F, 0};
  float const bias[5] = {0.5F, -1, 2, 3, -4};
  float const residual[5] = {9, 8, -7, -6, 5};
  for (auto const activation :
       {Activation::none, Activation::relu, Activation::leaky_relu, Activation::silu, Activation::sigmoid}) {
    CAPTURE(ts::name_of(activation));
    ts::detail::EpilogueFunctor<float> const functor{bias, {{residual, 1, 5}, activation, 0.125F}};
    float outputs[5] = {};
    functor.run<ActivationSet::all>(sums, bias, residual, outputs);
    for (int i = 0; i < 5; ++i) { CHECK(outputs[i] == functor.run<ActivationSet::all>(sums[i], i, i)); }
  }
}
