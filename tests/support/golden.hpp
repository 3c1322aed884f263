// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Reading recorded outputs of TorchSparse: configurations from the files' metadata, offsets into our order.

#include "difference.hpp"

#include <tessera/conv/config.hpp>
#include <tessera/coords/coordinate_set.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/kmap/geometry.hpp>

#include <optional>
#include <string>
#include <vector>

namespace test {

/// The metadata text of `name`, parsed.
inline tessera::detail::Json golden_config(tessera::Safetensors const& file, std::string const& name)
{
  return tessera::detail::parse_json(file.metadata().at(name), tessera::detail::FileContext{"golden", name});
}

inline std::vector<int> ints(tessera::detail::Json const& value)
{
  if (auto const* const one = value.get<std::int64_t>()) { return {static_cast<int>(*one)}; }
  std::vector<int> result;
  for (auto const& entry : *value.get<tessera::detail::Json::Array>()) {
    result.push_back(static_cast<int>(*entry.get<std::int64_t>()));
  }
  return result;
}

/// One number for every axis, or one per axis.
inline tessera::IntArray<3> per_axis(tessera::detail::Json const& value)
{
  auto const list = ints(value);
  tessera::IntArray<3> result;
  for (int i = 0; i < 3; ++i) { result[i] = list.at(list.size() == 1 ? 0 : static_cast<std::size_t>(i)); }
  return result;
}

/// TorchSparse's number of the offset that is number `k` here: it lets the first axis run fastest when the
/// volume is odd and the last when it is even.
inline int torchsparse_offset(int k, tessera::IntArray<3> const& size)
{
  tessera::KernelRegion<3> region;
  region.size = size;
  if (region.volume() % 2 == 0) { return k; }
  auto const d = region.digits(k);
  return d[0] + size[0] * (d[1] + size[1] * d[2]);
}

/// [volume, per_offset] in TorchSparse's order, in ours.
template <class T>
std::vector<T> reorder_offsets(std::vector<T> const& values, tessera::IntArray<3> const& size)
{
  auto const volume = static_cast<std::size_t>(size[0] * size[1] * size[2]);
  auto const each = values.size() / volume;
  std::vector<T> result(values.size());
  for (std::size_t k = 0; k < volume; ++k) {
    auto const from = static_cast<std::size_t>(torchsparse_offset(static_cast<int>(k), size));
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(from * each), each,
                result.begin() + static_cast<std::ptrdiff_t>(k * each));
  }
  return result;
}

/// Rows (b, x, y, z) as coordinates.
inline std::vector<tessera::Coordinate<3>> coordinates_of(std::vector<std::int32_t> const& rows)
{
  std::vector<tessera::Coordinate<3>> result;
  for (std::size_t i = 0; i + 3 < rows.size(); i += 4) {
    result.push_back({rows[i], {rows[i + 1], rows[i + 2], rows[i + 3]}});
  }
  return result;
}

/// One configuration of golden/kmaps.safetensors.
struct GoldenMap {
  std::string name;
  tessera::ConvolutionGeometry<3> geometry;
  tessera::ConvConfig config;
  std::optional<tessera::SpatialRange<3>> spatial_range;

  [[nodiscard]] tessera::ConvolutionKind kind() const
  {
    return tessera::all_equal(geometry.stride, 1) ? tessera::ConvolutionKind::submanifold
                                                  : tessera::ConvolutionKind::strided;
  }
};

/// Every configuration that the file's metadata lists.
inline std::vector<GoldenMap> golden_maps(tessera::Safetensors const& file)
{
  std::vector<GoldenMap> result;
  for (auto const& [name, text] : file.metadata()) {
    if (!file.contains(name + ".out_coords")) { continue; }
    auto const json = golden_config(file, name);
    GoldenMap entry;
    entry.name = name;
    entry.geometry.kernel_size = per_axis(*json.find("kernel_size"));
    entry.geometry.stride = per_axis(*json.find("stride"));
    entry.geometry.padding = per_axis(*json.find("padding"));
    entry.config.kmap = tessera::kmap_mode(*json.find("kmap")->get<std::string>());
    entry.config.downsample = tessera::downsample_mode(*json.find("downsample")->get<std::string>());
    entry.config.compat = tessera::compat::torchsparse;
    if (auto const* const range = json.find("spatial_range"); range != nullptr && !range->is_null()) {
      auto const list = ints(*range);
      entry.spatial_range = tessera::SpatialRange<3>{list.at(0), {list.at(1), list.at(2), list.at(3)}};
    }
    result.push_back(entry);
  }
  return result;
}

}  // namespace test
