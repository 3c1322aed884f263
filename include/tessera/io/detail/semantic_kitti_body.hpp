// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/point_bin_body.hpp>
#include <tessera/io/point_bin.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/io/semantic_kitti.hpp>
#include <tessera/points/point_cloud.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

namespace detail {

[[nodiscard]] inline SemanticKittiLabels parse_semantic_kitti_labels(Bytes const& bytes,
                                                                     FileContext const& file)
{
  file.expects(bytes.size() % 4 == 0, "holds ", bytes.size(), " bytes; each label has 4");
  SemanticKittiLabels labels;
  labels.classes.resize(bytes.size() / 4);
  labels.instances.resize(bytes.size() / 4);
  for (std::size_t i = 0; i < labels.classes.size(); ++i) {
    auto const value = load_bytes<std::uint32_t>(bytes.data() + 4 * i);
    labels.classes[i] = semantic_kitti_class(value & 0xffffU);
    labels.instances[i] = static_cast<std::uint16_t>(value >> 16U);
    file.expects(labels.classes[i] != no_semantic_kitti_class, "point ", i, " has the label ",
                 value & 0xffffU, ", which is none of SemanticKITTI's");
  }
  return labels;
}

}  // namespace detail

TESSERA_INLINE SemanticKittiLabels read_semantic_kitti_labels(std::string const& path)
{
  detail::FileContext const file{"read_semantic_kitti_labels", path};
  return detail::parse_semantic_kitti_labels(detail::read_file(file), file);
}

TESSERA_INLINE std::vector<int> sequences_of(SemanticKittiSplit split)
{
  switch (split) {
    case SemanticKittiSplit::train: return {0, 1, 2, 3, 4, 5, 6, 7, 9, 10};
    case SemanticKittiSplit::valid: return {8};
    default: return {11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21};
  }
}

TESSERA_INLINE SemanticKitti::SemanticKitti(std::string const& folder, std::vector<int> const& sequences)
{
  namespace fs = std::filesystem;
  detail::FileContext const file{"SemanticKitti", folder};
  for (auto const number : sequences) {
    auto const digits = (number < 10 ? "0" : "") + detail::concat(number);
    auto const sequence = fs::path{folder} / "sequences" / digits;
    std::error_code error;
    if (!fs::is_directory(sequence / "velodyne", error)) { continue; }
    auto const first = scans_.size();
    bool const has_labels = fs::is_directory(sequence / "labels", error);
    fs::directory_iterator at{sequence / "velodyne", error};
    for (; !error && at != fs::directory_iterator{}; at.increment(error)) {
      if (at->path().extension() != ".bin") { continue; }
      auto const labels = sequence / "labels" / (at->path().stem().string() + ".label");
      scans_.push_back({at->path().string(), has_labels ? labels.string() : std::string{}});
    }
    file.expects(!error, "sequence ", digits, " cannot be listed: ", error.message());
    std::sort(scans_.begin() + static_cast<std::ptrdiff_t>(first), scans_.end(),
              [](Scan const& a, Scan const& b) { return a.points < b.points; });
  }
  file.expects(!scans_.empty(), "no scan of the sequences ", sequences,
               " is there, as sequences/NN/velodyne/*.bin");
}

TESSERA_INLINE SemanticKitti::SemanticKitti(std::string const& folder, SemanticKittiSplit split)
    : SemanticKitti{folder, sequences_of(split)}
{}

TESSERA_INLINE std::string const& SemanticKitti::path(std::int64_t index) const
{
  return scan(index).points;
}

TESSERA_INLINE PointCloud SemanticKitti::load(std::int64_t index) const
{
  auto const& at = scan(index);
  auto const bytes_of = [](detail::FileContext const& file) {
    return detail::read_file(file, detail::max_file_bytes, detail::Pipes::refused);
  };
  detail::FileContext const points{"SemanticKitti", at.points};
  auto cloud =
      detail::parse_point_bin(bytes_of(points), detail::columns_of(PointFormat::kitti), std::nullopt, points);
  if (at.labels.empty()) { return cloud; }
  detail::FileContext const file{"SemanticKitti", at.labels};
  cloud.labels = detail::parse_semantic_kitti_labels(bytes_of(file), file).classes;
  file.expects(static_cast<std::int64_t>(cloud.labels.size()) == cloud.size(), "holds ", cloud.labels.size(),
               " labels, but the scan has ", cloud.size(), " points");
  return cloud;
}

TESSERA_INLINE SemanticKitti::Scan const& SemanticKitti::scan(std::int64_t index) const
{
  detail::expects(index >= 0 && index < size(), "SemanticKitti: scan ", index, " of ", size());
  return scans_[static_cast<std::size_t>(index)];
}

}  // namespace v0
}  // namespace tessera
