// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Conv mode, kernel map and downsample rule chosen at run time: for a thread, for a scope, for one layer.

#include <tessera/conv/convolution.hpp>
#include <tessera/nn/conv.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <thread>

namespace ts = tessera;

namespace {

using Tensor = ts::SparseTensor<3, float, ts::Host>;
using Conv = ts::nn::Conv<3, float, ts::Host>;
using Cell = std::array<int, 3>;

int failures = 0;

void expect(bool held, char const* what)
{
  if (!held) {
    std::printf("FAILED: %s\n", what);
    ++failures;
  }
}

Cell cell_of(ts::Coordinate<3> const& c)
{
  return {c.position[0], c.position[1], c.position[2]};
}

/// Whether y is the convolution of x by a kernel of 3, stride 2, on `outputs`, the kernel's first offset
/// being at 2 * out - anchor; one input and one output channel.
bool equals_loop(Tensor const& x, Conv& layer, Tensor const& y, std::set<Cell> const& outputs, int anchor,
                 ts::Execution<ts::Host> const& exec)
{
  std::map<Cell, double> value_at;
  auto const rows = x.coordinates_on_host(exec);
  for (std::size_t i = 0; i < rows.size(); ++i) { value_at[cell_of(rows[i])] = double{x.features().data[i]}; }
  auto const found = y.coordinates_on_host(exec);
  bool good = found.size() == outputs.size();
  for (std::size_t o = 0; o < found.size() && good; ++o) {
    auto const p = cell_of(found[o]);
    double sum = 0;
    for (int k = 0; k < 27; ++k) {  // the last axis runs fastest
      auto const in = value_at.find(
          {2 * p[0] + k / 9 - anchor, 2 * p[1] + k / 3 % 3 - anchor, 2 * p[2] + k % 3 - anchor});
      if (in != value_at.end()) { sum += in->second * double{layer.weight().data()[k]}; }
    }
    good = outputs.count(p) == 1 && std::fabs(sum - double{y.features().data[o]}) <= 1e-5;
  }
  return good;
}

/// floor(p / 2) of every voxel: MinkowskiEngine's rule.
std::set<Cell> halved(std::vector<ts::Coordinate<3>> const& voxels)
{
  std::set<Cell> result;
  for (auto const& v : voxels) {
    result.insert({v.position[0] >> 1, v.position[1] >> 1, v.position[2] >> 1});
  }
  return result;
}

/// Every o with 2 o + d - anchor = p on all axes for some digits d of 0, 1, 2: spconv's rule.
std::set<Cell> reached(std::vector<ts::Coordinate<3>> const& voxels, int anchor)
{
  std::set<Cell> result;
  for (auto const& v : voxels) {
    for (int k = 0; k < 27; ++k) {
      Cell const p{v.position[0] + anchor - k / 9, v.position[1] + anchor - k / 3 % 3,
                   v.position[2] + anchor - k % 3};
      if ((p[0] & 1) == 0 && (p[1] & 1) == 0 && (p[2] & 1) == 0) {
        result.insert({p[0] / 2, p[1] / 2, p[2] / 2});
      }
    }
  }
  return result;
}

/// What a config file may hold.
struct Settings {
  int conv_mode = 2;
  std::string kmap_mode = "hashmap";
  std::string downsample_mode = "minkowski";
};

}  // namespace

int main()
{
  ts::Execution<ts::Host> const exec;
  std::vector<ts::Coordinate<3>> voxels;
  for (int i = 0; i < 400; ++i) { voxels.push_back({0, {i % 13 - 6, i / 13 % 11, i * i % 7}}); }
  auto const less = [](auto const& a, auto const& b) { return cell_of(a) < cell_of(b); };
  std::sort(voxels.begin(), voxels.end(), less);
  voxels.erase(std::unique(voxels.begin(), voxels.end()), voxels.end());
  std::vector<float> values;
  for (std::size_t i = 0; i < voxels.size(); ++i) { values.push_back(static_cast<float>(i % 17) - 8); }
  Tensor const x{ts::make_coordinate_set(voxels, {}, exec), ts::upload_matrix(values, 1, exec)};
  Conv layer(ts::ConvOptions<3>(1, 1, 3).stride(2), exec);
  Settings const settings;

  auto const by_default = layer(x, exec);  // mode 1, hashmap_on_the_fly, spconv
  expect(equals_loop(x, layer, by_default, reached(voxels, 0), 0, exec), "the default is spconv's geometry");

  // [thread]
  ts::set_conv_mode(settings.conv_mode);              // 0, 1 (default) or 2
  ts::set_kmap_mode(settings.kmap_mode);              // "hashmap_on_the_fly" (default) or "hashmap"
  ts::set_downsample_mode(settings.downsample_mode);  // "spconv" (default) or "minkowski"
  auto const minkowski = layer(x, exec);
  // [thread]
  expect(equals_loop(x, layer, minkowski, halved(voxels), 1, exec), "the thread's switches act");

  bool other_thread_is_default = false;
  std::thread{[&] {
    other_thread_is_default = layer(x, exec).coordinates() == by_default.coordinates();
  }}.join();
  expect(other_thread_is_default, "another thread has its own configuration");

  // [scope]
  {
    ts::ScopedConvConfig const scope{ts::ConvConfig{}};  // the defaults, until the end of the scope
    auto const y = layer(x, exec);
    expect(y.coordinates() == by_default.coordinates(), "a scope acts");
  }
  expect(ts::thread_conv_config().kmap == ts::KmapMode::hashmap, "a scope ends");
  // [scope]

  ts::ConvConfig mixed;
  mixed.kmap = ts::KmapMode::hashmap;
  layer.options().config(mixed);
  expect(equals_loop(x, layer, layer(x, exec), reached(voxels, 1), 1, exec),
         "hashmap and spconv are both centred");
  mixed.kmap = ts::KmapMode::hashmap_on_the_fly;
  mixed.downsample = ts::DownsampleMode::minkowski;
  layer.options().config(mixed);
  expect(equals_loop(x, layer, layer(x, exec), halved(voxels), 0, exec),
         "minkowski acts without hashmap too");

  // [layer]
  ts::ConvConfig config;  // starts from the defaults, not from the thread's
  config.dataflow = ts::Dataflow::gather_scatter;
  config.downsample = ts::downsample_mode("spconv");
  layer.options().config(config);  // this layer, whatever the thread says
  // [layer]
  auto const own = layer(x, exec);
  expect(equals_loop(x, layer, own, reached(voxels, 0), 0, exec),
         "a layer's configuration goes before the thread's");

  // [refused]
  try {
    ts::set_kmap_mode("hash");
    expect(false, "an unknown mode is refused");
  } catch (ts::invalid_argument const& error) {
    std::puts(error.what());  // kmap mode "hash" does not exist; choose "hashmap_on_the_fly" or "hashmap"
  }
  // [refused]

  std::puts(failures == 0 ? "ok" : "FAILED");
  return failures == 0 ? 0 : 1;
}
