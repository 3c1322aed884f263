// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The gradients that spconv 2.3 recorded for its pools: of the largest over a kernel, and over batch entries. Those of
// its averages over a kernel are wrong, and so not compared.

#include "../support/data.hpp"
#include "../support/golden.hpp"
#include "../support/oracle.hpp"
#include "gradient_check.hpp"

#include <tessera/ops/global_pooling.hpp>
#include <tessera/ops/pooling.hpp>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

using namespace tessera;

namespace {

template <class Space>
SparseTensor<3, float, Space> recorded_input(Safetensors const& file, std::vector<int> const& shape,
                                             Execution<Space> const& exec)
{
  auto const rows = test::coordinates_of(file.to<std::int32_t>("input.3d.coords"));
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, {shape.at(0), shape.at(1), shape.at(2)}};
  for (auto const& row : rows) {
    options.spatial_range->batches = std::max(options.spatial_range->batches, row.batch + 1);
  }
  auto const columns = file.shape("input.3d.feats").back();
  return {make_coordinate_set(rows, options, exec),
          upload_matrix(file.to_float("input.3d.feats"), columns, exec)};
}

/// Rows in lexicographic order, as they were recorded, brought into the order of `y`.
template <class Space>
std::vector<float> in_order_of(SparseTensor<3, float, Space> const& y, std::vector<float> const& sorted,
                               Execution<Space> const& exec)
{
  auto const rows = y.coordinates_on_host(exec);
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return test::lexicographically_less(rows[a], rows[b]); });
  auto const channels = static_cast<std::size_t>(y.channels());
  std::vector<float> result(sorted.size());
  for (std::size_t place = 0; place < order.size(); ++place) {
    std::copy_n(sorted.begin() + static_cast<std::ptrdiff_t>(place * channels), channels,
                result.begin() + static_cast<std::ptrdiff_t>(order[place] * channels));
  }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("spconv's pools of the largest and over entries: gradients are those that were recorded",
                   Space, TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/spconv/layers.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  Execution<Space> const exec{};
  int pools = 0;
  for (auto const& entry : file.metadata()) {
    auto const& name = entry.first;
    auto const& text = entry.second;
    if (!file.contains(name + ".grad_in") || text.find("Pool") == std::string::npos) { continue; }
    auto const json = test::golden_config(file, name);
    auto const layer = *json.find("layer")->template get<std::string>();
    if (layer.rfind("SparseAvgPool", 0) == 0) { continue; }
    CAPTURE(name);
    ++pools;
    auto const x = recorded_input<Space>(file, test::ints(*json.find("spatial_shape")), exec);
    auto const grad_out = file.to_float(name + ".grad_out");
    auto const gradient = [&](auto const& run, std::vector<float> const& cotangent, std::int64_t columns) {
      auto const record = test::recorded(exec, run);
      return test::input_gradients<float>(*record, upload_matrix(cotangent, columns, exec), exec).at(0);
    };
    std::vector<float> found;
    if (layer == "SparseGlobalMaxPool") {
      found = gradient([&](auto const& e) { return global_max_pool(x, e); }, grad_out, x.channels());
    } else if (layer == "SparseGlobalAvgPool") {
      found = gradient([&](auto const& e) { return global_average_pool(x, compat::spconv, e); }, grad_out, 1);
    } else {
      auto const options =
          PoolOptions<3>(test::per_axis(*json.find("kernel_size")))
              .stride(test::per_axis(*json.find("stride")))
              .padding(json.find("padding") != nullptr ? test::per_axis(*json.find("padding"))
                                                       : IntArray<3>(0))
              .compat(Compatibility::spconv);
      auto const y = max_pool(x, options, exec);
      found = gradient([&](auto const& e) { return max_pool(x, options, e); }, in_order_of(y, grad_out, exec),
                       x.channels());
    }
    CHECK(test::largest_difference(found, file.to_float(name + ".grad_in")) <= 1e-5);
  }
  CHECK(pools == 5);
}
