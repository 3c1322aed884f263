// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What the file of a network that train_segmentation has trained says of it, as texts of its metadata: all that a
// program needs to run it.

#include "command_line.hpp"
#include "palette.hpp"
#include "program.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace program::segmentation {

/// What a MinkUNet was trained as.
struct Description {
  double width = 1;
  double voxel_size = 0.05;  // metres; floor, from the lowest voxel, with the features of the first point
  std::vector<ClassStyle> classes;  // in the order of the logits
  std::string data;                 // simulated or semantic_kitti
  std::string command;              // that trained it
  std::uint64_t seed = 1;
  std::int64_t steps = 0;

  [[nodiscard]] bool is_simulated() const { return data == "simulated"; }
};

inline constexpr char const* description_prefix = "tessera.network.";

/// A number as short as it can be read back.
[[nodiscard]] inline std::string short_number(double value)
{
  char text[32];
  for (int digits = 6; digits <= 17; ++digits) {
    std::snprintf(text, sizeof(text), "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value) { break; }
  }
  return text;
}

/// `#rrggbb`
[[nodiscard]] inline std::string color_text(Color const& color)
{
  char text[8];
  std::snprintf(text, sizeof(text), "#%02x%02x%02x", color[0], color[1], color[2]);
  return text;
}

/// The metadata that say it.
[[nodiscard]] inline std::map<std::string, std::string> texts_of(Description const& network)
{
  std::string classes;
  for (auto const& style : network.classes) {
    classes += (classes.empty() ? "" : " ") + style.name + color_text(style.color);
  }
  std::map<std::string, std::string> const texts{
      {"model", "minkunet"},
      {"width", short_number(network.width)},
      {"channels", "x y z intensity"},
      {"classes", classes},
      {"voxel_size", short_number(network.voxel_size)},
      {"voxels", "floor lowest_voxel first"},
      {"compat", "none"},
      {"norms", "batch_norm: weight bias running_mean running_var"},
      {"data", network.data},
      {"command", network.command},
      {"seed", std::to_string(network.seed)},
      {"steps", std::to_string(network.steps)},
  };
  std::map<std::string, std::string> result;
  for (auto const& [key, text] : texts) { result.emplace(description_prefix + key, text); }
  return result;
}

/// The classes that `texts_of()` wrote: `car#6496f5 road#ff00ff`.
/// @throws UsageError  it wrote others
[[nodiscard]] inline std::vector<ClassStyle> classes_of_text(std::string const& text)
{
  std::vector<ClassStyle> classes;
  for (std::size_t at = 0; at < text.size();) {
    auto const end = std::min(text.find(' ', at), text.size());
    auto const hash = text.find('#', at);
    if (hash == std::string::npos || hash == at || end != hash + 7) {
      throw UsageError{"'" + text.substr(at, end - at) + "' is no class"};
    }
    std::uint32_t color = 0;
    auto const [last, error] = std::from_chars(text.data() + hash + 1, text.data() + end, color, 16);
    if (error != std::errc{} || last != text.data() + end) {
      throw UsageError{"'" + text.substr(at, end - at) + "' has no colour"};
    }
    classes.push_back({text.substr(at, hash - at),
                       {static_cast<std::uint8_t>(color >> 16U), static_cast<std::uint8_t>(color >> 8U),
                        static_cast<std::uint8_t>(color)}});
    at = end + 1;
  }
  if (classes.empty()) { throw UsageError{"there are no classes"}; }
  return classes;
}

/// What the metadata of a file say of its network; nothing where they say nothing.
/// @throws Failure  they say something that cannot be
[[nodiscard]] inline std::optional<Description> description_in(
    std::map<std::string, std::string> const& metadata, std::string const& path)
{
  auto const text = [&](char const* key) {
    auto const found = metadata.find(std::string{description_prefix} + key);
    return found == metadata.end() ? std::string{} : found->second;
  };
  if (text("model").empty()) { return std::nullopt; }
  try {
    Description result;
    if (text("model") != "minkunet") { throw UsageError{"'" + text("model") + "' is not minkunet"}; }
    if (text("voxels") != "floor lowest_voxel first" || text("compat") != "none") {
      throw UsageError{"its voxels are made otherwise than here"};
    }
    result.width = parse_number<double>("width", text("width"), 0.04, 16);
    result.voxel_size = parse_number<double>("voxel_size", text("voxel_size"), 0.001, 1000);
    result.classes = classes_of_text(text("classes"));
    result.data = text("data");
    result.command = text("command");
    result.seed = parse_number<std::uint64_t>("seed", text("seed"), 0, UINT64_MAX);
    result.steps = parse_number<std::int64_t>("steps", text("steps"), 0, INT64_MAX);
    return result;
  } catch (UsageError const& error) {
    throw Failure{path + ": what it says of its network cannot be: " + error.what()};
  }
}

}  // namespace program::segmentation
