// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/ply_header.hpp>
#include <tessera/io/detail/ply_rows.hpp>
#include <tessera/io/detail/point_table.hpp>
#include <tessera/io/ply.hpp>
#include <tessera/io/ply_format.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Lists are passed over: columns without a name.
[[nodiscard]] inline std::vector<PointColumn> ply_columns(PlyElement const& vertex)
{
  std::vector<PointColumn> columns;
  for (auto const& property : vertex.properties) {
    columns.push_back({property.is_list ? std::string{} : property.name, property.type});
  }
  return columns;
}

template <class Source>
[[nodiscard]] PointCloud read_ply_vertices(Source source, PlyHeader const& header, PointOrigin const& origin,
                                           FileContext const& file)
{
  for (auto const& element : header.elements) {
    check_ply_count(element, header.format == PlyFormat::ascii, source.left(), file);
    if (element.name != "vertex") {
      read_ply_rows(source, element, file, [](std::size_t, double, RowPlace const&) {});
      continue;
    }
    PointTable table{ply_columns(element), static_cast<std::size_t>(element.count), origin, file};
    read_ply_rows(source, element, file, [&](std::size_t property, double value, RowPlace const& place) {
      table.put(property, static_cast<std::size_t>(place.row), value);
    });
    bool const last = &element == &header.elements.back();
    file.expects(!last || source.at_end(), "goes on after its last row");
    return table.finish();
  }
  file.fail("has no element 'vertex'");
}

[[nodiscard]] inline PlyHeader parse_ply_header(Bytes const& bytes, FileContext const& file)
{
  return PlyHeaderParser{{reinterpret_cast<char const*>(bytes.data()), bytes.size()}, file}.parse();
}

[[nodiscard]] inline PointCloud parse_ply(Bytes const& bytes, FileContext const& file,
                                          PointOrigin const& origin = {})
{
  auto const header = parse_ply_header(bytes, file);
  std::string_view const text{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  auto const data = text.substr(header.data_begin);
  if (header.format == PlyFormat::ascii) { return read_ply_vertices(TextRows{data}, header, origin, file); }
  bool const big_endian = header.format == PlyFormat::binary_big_endian;
  return read_ply_vertices(PlyBinary{data, big_endian}, header, origin, file);
}

/// Refuses a file by its beginning, before the rest is read.
inline void check_ply_beginning(InputFile const& input, FileContext const& file)
{
  auto const header = parse_ply_header(input.beginning(), file);
  if (header.elements.empty() || !input.size()) { return; }
  bool const is_text = header.format == PlyFormat::ascii;
  check_ply_count(header.elements.front(), is_text, *input.size() - header.data_begin + (is_text ? 1 : 0),
                  file);
}

/// Appends numbers to a text in one of the three formats.
class PlyOutput {
 public:
  explicit PlyOutput(PlyFormat format) : format_{format} {}

  template <class T>
  void put(T value)
  {
    if (format_ == PlyFormat::ascii) {
      std::array<char, 32> digits{};
      auto const written = std::to_chars(digits.data(), digits.data() + digits.size(), value);
      if (!text.empty() && text.back() != '\n') { text += ' '; }
      text.append(digits.data(), written.ptr);
      return;
    }
    std::array<char, sizeof(T)> bytes{};
    std::memcpy(bytes.data(), &value, sizeof(T));
    if (format_ == PlyFormat::binary_big_endian) { std::reverse(bytes.begin(), bytes.end()); }
    text.append(bytes.data(), bytes.size());
  }

  void end_row()
  {
    if (format_ == PlyFormat::ascii) { text += '\n'; }
  }

  std::string text;

 private:
  PlyFormat format_;
};

/// The names under which the features are written: the cloud's own, else made-up ones.
[[nodiscard]] inline std::vector<std::string> ply_feature_names(PointCloud const& cloud, bool colored,
                                                                FileContext const& file)
{
  auto names = cloud.feature_names;
  if (names.empty() && cloud.channels == 1) { names = {"intensity"}; }
  for (auto i = names.size(); i < static_cast<std::size_t>(cloud.channels); ++i) {
    names.push_back("feature_" + std::to_string(i));
  }
  std::vector<std::string_view> taken{"x", "y", "z", "label"};
  if (colored) { taken.insert(taken.end(), {"red", "green", "blue"}); }
  for (auto const& name : names) {
    bool const word =
        !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
    file.expects(word, "the feature name ", in_quotes(name), " is not one printable word");
    file.expects(std::find(taken.begin(), taken.end(), name) == taken.end(), "the property ", in_quotes(name),
                 " would be written twice");
    taken.push_back(name);
  }
  return names;
}

}  // namespace detail

TESSERA_INLINE PointCloud read_ply(std::string const& path, PointOrigin const& origin)
{
  detail::FileContext const file{"read_ply", path};
  detail::InputFile input{file};
  detail::check_ply_beginning(input, file);
  return detail::parse_ply(std::move(input).all(), file, origin);
}

TESSERA_INLINE void write_ply(std::string const& path, PointCloud const& cloud, PlyOptions const& options)
{
  detail::FileContext const file{"write_ply", path};
  cloud.check("write_ply");
  auto const points = static_cast<std::size_t>(cloud.size());
  auto const channels = static_cast<std::size_t>(cloud.channels);
  bool const colored = !options.colors.empty();
  file.expects(!colored || options.colors.size() == 3 * points, points, " points with ",
               options.colors.size(), " colour values; three each are needed");
  auto const names = detail::ply_feature_names(cloud, colored, file);

  constexpr char const* formats[] = {"ascii", "binary_little_endian", "binary_big_endian"};
  auto header = detail::concat("ply\nformat ", formats[static_cast<std::size_t>(options.format)],
                               " 1.0\nelement vertex ", points, '\n');
  bool const wide = cloud.has_origin();
  for (char const axis : {'x', 'y', 'z'}) {
    header += detail::concat("property ", wide ? "double " : "float ", axis, '\n');
  }
  if (colored) { header += "property uchar red\nproperty uchar green\nproperty uchar blue\n"; }
  for (auto const& name : names) { header += "property float " + name + '\n'; }
  if (cloud.has_labels()) { header += "property int label\n"; }

  detail::PlyOutput rows{options.format};
  for (std::size_t i = 0; i < points; ++i) {
    for (std::size_t k = 0; k < 3; ++k) {
      float const position = cloud.positions[3 * i + k];
      wide ? rows.put(cloud.origin[k] + static_cast<double>(position)) : rows.put(position);
    }
    for (std::size_t k = 0; colored && k < 3; ++k) { rows.put(options.colors[3 * i + k]); }
    for (std::size_t k = 0; k < channels; ++k) { rows.put(cloud.features[channels * i + k]); }
    if (cloud.has_labels()) { rows.put(cloud.labels[i]); }
    rows.end_row();
  }
  detail::AtomicFile to{file};
  to.write(header + "end_header\n");
  to.write(rows.text);
  to.commit();
}

}  // namespace v0
}  // namespace tessera
