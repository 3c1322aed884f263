// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Every recorded layer of spconv 2.3, built from the configuration in the file's metadata by the registry.

#include "golden_spconv_layers.hpp"

#include "../support/small.hpp"
#include "../support/ways.hpp"

#include <tessera/nn/pooling.hpp>

using namespace tessera;
using namespace golden_spconv;

namespace {

/// Recorded coordinates, features and grid.
template <int Dim, class Space>
void check_recorded(Golden<Dim, Space> const& golden, SparseTensor<Dim, float, Space> const& y)
{
  auto const& name = golden.entry.name;
  auto const found = sorted(y, golden.exec);
  CHECK(found.rows == rows_of<Dim>(golden.file.template to<std::int32_t>(name + ".out_coords")));
  auto const expected = golden.file.to_float(name + ".out_feats");
  REQUIRE(found.features.size() == expected.size());
  CHECK(test::largest_difference(found.features, expected) <= 1e-4);
  auto const shape = test::ints(*golden.entry.json.find("out_spatial_shape"));
  auto const& extent = y.coordinates()->spatial_range()->extent;
  CHECK(std::vector<int>(extent.begin(), extent.end()) == shape);
}

/// Where spconv's maximum is floored at zero, ours is below; everywhere else they agree.
template <int Dim, class Space>
void check_not_floored(Golden<Dim, Space> const& golden, SparseTensor<Dim, float, Space> const& y)
{
  auto found = sorted(y, golden.exec).features;
  auto const expected = golden.file.to_float(golden.entry.name + ".out_feats");
  REQUIRE(found.size() == expected.size());
  int negative = 0;
  for (auto& value : found) {
    negative += value < 0 ? 1 : 0;
    value = std::max(value, 0.0F);
  }
  CHECK(negative > 0);
  CHECK(found == expected);
}

/// Under Compatibility::none the matrix that the weight's shape says, and not spconv's.
template <int Dim, class Space>
void check_declared_matrix(Golden<Dim, Space> const& golden)
{
  auto const x = golden.input();
  auto const y = golden.run(io::KrscUnder<Compatibility::none>{});
  auto const weight = golden.file.to_float(golden.entry.name + ".weight");  // [out, in]
  auto const bias = golden.file.to_float(golden.entry.name + ".bias");
  auto const in = static_cast<std::size_t>(x.channels());
  auto const out = bias.size();
  auto const features = x.features_on_host(golden.exec);
  REQUIRE(y.coordinates_on_host(golden.exec) == x.coordinates_on_host(golden.exec));
  std::vector<float> expected;
  for (std::size_t row = 0; row < features.size() / in; ++row) {
    for (std::size_t o = 0; o < out; ++o) {
      double sum = bias[o];
      for (std::size_t c = 0; c < in; ++c) { sum += double(features[row * in + c]) * weight[o * in + c]; }
      expected.push_back(static_cast<float>(sum));
    }
  }
  CHECK(test::largest_difference(y.features_on_host(golden.exec), expected) <= 1e-4);
  auto const recorded = golden.file.to_float(golden.entry.name + ".out_feats");
  CHECK(test::largest_difference(sorted(y, golden.exec).features, recorded) > 1e-2);
}

template <int Dim, class Space>
int check_layers(Safetensors const& file)
{
  Execution<Space> const exec{};
  int layers = 0;
  for (auto const& entry : cases_of(file, Dim)) {
    if (entry.has("Global")) { continue; }
    CAPTURE(entry.name);
    if (layers++ % 8 != 0 && test::small_sets()) { continue; }
    Golden<Dim, Space> const golden{file, entry, exec};
    for (auto const compat : {compat::none, compat::spconv}) {
      ConvConfig base;
      base.compat = compat;
      for (auto const& way : test::every_way(base)) {
        CAPTURE(way.name);
        CAPTURE(compat == Compatibility::spconv);
        ScopedConvConfig const scope{way.config};
        auto const y = golden.run(io::Krsc{});
        if (entry.has("MaxPool") && compat == Compatibility::none) {
          check_not_floored(golden, y);
        } else {
          check_recorded(golden, y);
        }
      }
    }
    if (auto const weight = entry.name + ".weight"; file.contains(weight)) {
      auto const shape = file.shape(weight);
      bool one_voxel = !entry.has("inverse") && golden.run(io::Krsc{}).coordinates()->origin() == nullptr;
      for (std::size_t i = 1; i + 1 < shape.size(); ++i) { one_voxel = one_voxel && shape[i] == 1; }
      if (one_voxel) { check_declared_matrix(golden); }
    }
  }
  return layers;
}

}  // namespace

TEST_CASE_TEMPLATE("spconv's layers: every recorded one is reproduced in every mode and dataflow", Space,
                   TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/spconv/layers.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  int const layers = check_layers<1, Space>(file) + check_layers<2, Space>(file) +
                     check_layers<3, Space>(file) + check_layers<4, Space>(file);
  int pools = 0;
  int recorded = 0;
  for (auto const& item : file.metadata()) {
    if (!file.contains(item.first + ".out_feats")) { continue; }
    ++recorded;
    pools += Case{item.first, test::golden_config(file, item.first)}.has("Global") ? 1 : 0;
  }
  CHECK(layers + pools == recorded);  // of other dimensions there is none
  CHECK(layers > 0);
}

TEST_CASE_TEMPLATE("spconv's global pooling: every channel, or channel 0 alone as recorded", Space,
                   TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/spconv/layers.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  Execution<Space> const exec{};
  int layers = 0;
  for (auto const& entry : cases_of(file, 3)) {
    if (!entry.has("Global")) { continue; }
    CAPTURE(entry.name);
    ++layers;
    Golden<3, Space> const golden{file, entry, exec};
    auto const x = golden.input();
    auto const expected = file.to_float(entry.name + ".out_feats");
    auto const on_host = [&](Matrix<float, Space> const& m) { return download(m.data(), m.size(), exec); };
    if (entry.has("Max")) {
      CHECK(on_host(nn::GlobalMaxPool<3, float, Space>{}(x, exec)) == expected);
      continue;
    }
    auto const one = on_host(nn::GlobalAveragePool<3, float, Space>{compat::spconv}(x, exec));
    REQUIRE(one.size() == expected.size());
    CHECK(test::largest_difference(one, expected) <= 1e-5);
    auto const all = on_host(nn::GlobalAveragePool<3, float, Space>{}(x, exec));
    auto const channels = static_cast<std::size_t>(x.channels());
    REQUIRE(all.size() == expected.size() * channels);
    std::vector<float> first;
    for (std::size_t b = 0; b < expected.size(); ++b) { first.push_back(all[b * channels]); }
    CHECK(test::largest_difference(first, expected) <= 1e-5);
  }
  CHECK(layers > 0);
}
