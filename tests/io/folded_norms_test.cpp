// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/files.hpp"
#include "../support/state_dicts.hpp"
#include "convert_cases.hpp"

#include <tessera/io/convert.hpp>
#include <tessera/io/load.hpp>
#include <tessera/nn/initialize.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

using namespace tessera;
using namespace convert_cases;
using io::WeightLayout;
using test::Made;

TEST_CASE("convert: a folded norm is the convolution with the norm behind it")
{
  for (bool const has_bias : {false, true}) {
    CAPTURE(has_bias);
    Made made;
    made.add("c.conv1", {2, 3, 1, 1, 4}, "c.bn1", 2).add("c.bn1.weight", {2}).add("c.bn1.bias", {2});
    made.add("c.bn1.num_batches_tracked", {})
        .add("d.weight", {3, 3, 3, 3, 3})
        .add("e.0", {2, 3, 3, 3, 4}, "e.1", 2);
    if (has_bias) { made.add("c.conv1.bias", {2}); }
    std::vector<float> const weight{1.5F, -2};
    std::vector<float> const shift{0.25F, 3};
    std::vector<float> const mean{-1, 0.5F};
    std::vector<float> const variance{4, 0.01F};
    for (auto& [name, tensor] : made.state.tensors) {
      if (name == "c.bn1.weight") { tensor = raw_tensor(weight, {2}); }
      if (name == "c.bn1.bias") { tensor = raw_tensor(shift, {2}); }
      if (name == "c.bn1.running_mean") { tensor = raw_tensor(mean, {2}); }
      if (name == "c.bn1.running_var") { tensor = raw_tensor(variance, {2}); }
    }
    auto const plain = io::convert_checkpoint(made.state, "f", ConvertOptions().layout(WeightLayout::krsc));
    auto const folded = io::convert_checkpoint(
        made.state, "f", ConvertOptions().layout(WeightLayout::krsc).fold_batch_norm(1e-3));
    auto const a = plain.tensors.to_float("c.conv1.weight");
    auto const b = folded.tensors.to_float("c.conv1.weight");
    auto const bias = folded.tensors.to_float("c.conv1.bias");
    REQUIRE((a.size() == b.size() && bias.size() == 2));
    for (std::size_t i = 0; i < 2; ++i) {
      double const scale = weight[i] / std::sqrt(variance[i] + 1e-3);
      for (std::size_t k = i; k < a.size(); k += 2) { CHECK(b[k] == static_cast<float>(a[k] * scale)); }
      double const old = has_bias ? static_cast<double>(i) : 0.0;
      CHECK(bias[i] == doctest::Approx((old - mean[i]) * scale + shift[i]));
    }
    for (auto const* const gone : {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}) {
      CHECK_FALSE(folded.tensors.contains(std::string{"c.bn1."} + gone));
    }
    CHECK(folded.tensors.contains("e.0.bias"));
    CHECK_FALSE(folded.tensors.contains("d.bias"));
    CHECK(test::has(folded.text(), "c.conv1.bias [2] made: of c.bn1"));
  }
  Made broken;
  broken.add("a.0.weight", {2, 3, 3, 3, 4}).add("a.1.running_mean", {2});
  CHECK(error(broken, ConvertOptions().fold_batch_norm(1e-3)) ==
        "batch norm 'a.1' has no running_var of 2 channels");
}

TEST_CASE("convert: a norm is not folded where the result is beyond the kernel's type")
{
  std::list<std::vector<std::int16_t>> kept;  // tensors are views
  auto const half_tensor = [&](float value, std::vector<std::int64_t> const& shape) {
    kept.push_back({static_cast<std::int16_t>(detail::float_to_half_bits(value))});
    auto tensor = raw_tensor(kept.back(), shape);
    tensor.dtype = DType::float16;
    return tensor;
  };
  for (float const mean : {512.0F, -60000.0F}) {
    CAPTURE(mean);
    Made made;
    made.add("a.0", {1, 1, 1, 1, 1}, "a.1", 1).add("a.1.weight", {1}).add("a.1.bias", {1});
    for (auto& [name, tensor] : made.state.tensors) {
      if (name == "a.0.weight") { tensor = half_tensor(1, {1, 1, 1, 1, 1}); }
      if (name == "a.1.running_mean") { tensor = half_tensor(mean, {1}); }
      if (name == "a.1.running_var") { tensor = half_tensor(0, {1}); }
      if (name == "a.1.weight") { tensor = half_tensor(1, {1}); }
      if (name == "a.1.bias") { tensor = half_tensor(0, {1}); }
    }
    auto const options = ConvertOptions().layout(WeightLayout::krsc).fold_batch_norm(1e-5);
    CHECK(error(made, options) ==
          "the batch norm 'a.1' folded into 'a.0.weight' gives values that float16 cannot hold; convert it "
          "without folding");
  }
}
