// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/data/data_set.hpp>
#include <tessera/io/point_bin.hpp>
#include <tessera/points/point_cloud.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {

/// A class of SemanticKITTI as networks number them, 0 to 18.
struct SemanticKittiClass {
  char const* name;
  std::uint16_t id;  ///< what a .label file has for it: learning_map_inv
};

/// The 19 classes that are trained and evaluated, in the order of networks.
/// Source: semantic-kitti.yaml of the SemanticKITTI API, whose classes 1 to 19 these are; its 0 is "unlabeled".
inline constexpr std::array<SemanticKittiClass, 19> semantic_kitti_classes{{
    {"car", 10},      {"bicycle", 11},      {"motorcycle", 15},   {"truck", 18},        {"other-vehicle", 20},
    {"person", 30},   {"bicyclist", 31},    {"motorcyclist", 32}, {"road", 40},         {"parking", 44},
    {"sidewalk", 48}, {"other-ground", 49}, {"building", 50},     {"fence", 51},        {"vegetation", 70},
    {"trunk", 71},    {"terrain", 72},      {"pole", 80},         {"traffic-sign", 81},
}};

/// What semantic_kitti_class() gives for a number that SemanticKITTI does not have.
inline constexpr std::int32_t no_semantic_kitti_class = -2;

/// The class of networks for a number of a .label file (its lower 16 bits), as `learning_map` has it: moving
/// things are what they are when they stand, buses and trains are other vehicles, lane markings are road.
///
/// -1 of what is not trained: unlabeled, outlier, other-structure, other-object.
/// Source: learning_map of semantic-kitti.yaml, less one.
[[nodiscard]] constexpr std::int32_t semantic_kitti_class(std::uint32_t id) noexcept
{
  switch (id) {
    case 0:
    case 1:
    case 52:
    case 99: return -1;
    case 13:            // bus
    case 16: return 4;  // on-rails
    case 60: return 8;  // lane-marking
    case 252: return 0;
    case 253: return 6;
    case 254: return 5;
    case 255: return 7;
    case 256:
    case 257:
    case 259: return 4;
    case 258: return 3;
    default: break;
  }
  for (std::size_t i = 0; i < semantic_kitti_classes.size(); ++i) {
    if (semantic_kitti_classes[i].id == id) { return static_cast<std::int32_t>(i); }
  }
  return no_semantic_kitti_class;
}

/// The labels of a scan as a .label file has them.
struct SemanticKittiLabels {
  std::vector<std::int32_t> classes;     ///< [points] 0 to 18, or -1: semantic_kitti_class()
  std::vector<std::uint16_t> instances;  ///< [points] 0: of no instance; unique within a sequence and class
};

/// Reads a .label file: a little-endian 32-bit number of each point, its class in the lower half, its
/// instance in the upper one.
/// @throws invalid_argument  the file cannot be read, its size is no multiple of 4, or a class is not one of
///                           SemanticKITTI's
/// Cost: one pass over the file.
[[nodiscard]] SemanticKittiLabels read_semantic_kitti_labels(std::string const& path);

/// Which sequences of SemanticKITTI are for what. Source: split of semantic-kitti.yaml.
enum class SemanticKittiSplit : std::uint8_t {
  train,  ///< 0 to 7, 9, 10
  valid,  ///< 8
  test    ///< 11 to 21, without labels
};

/// The numbers of the sequences of a split, ascending.
[[nodiscard]] std::vector<int> sequences_of(SemanticKittiSplit split);

/// The scans of a SemanticKITTI folder, `sequences/NN/velodyne/NNNNNN.bin` with
/// `sequences/NN/labels/NNNNNN.label`.
///
/// Scans are in the order of sequences, then of names. Their labels are the 19 classes of networks, -1 for what
/// is not trained; the one feature is the intensity. Scans of a sequence without a folder of labels have none.
class SemanticKitti {
 public:
  using Sample = PointCloud;

  /// @param folder     the one that `sequences` is in
  /// @param sequences  numbers; those that are not there are passed over, unless none is
  /// @throws invalid_argument  the folder cannot be read, or has no scan of these sequences
  /// Cost: lists the folders of velodyne scans.
  SemanticKitti(std::string const& folder, std::vector<int> const& sequences);
  SemanticKitti(std::string const& folder, SemanticKittiSplit split);

  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(scans_.size()); }
  [[nodiscard]] static constexpr int num_classes() noexcept
  {
    return static_cast<int>(semantic_kitti_classes.size());
  }
  /// The file of a scan, for messages. @throws invalid_argument  there is no such scan
  [[nodiscard]] std::string const& path(std::int64_t index) const;

  /// Scan `index`; from several threads at once.
  /// @throws invalid_argument  there is no such scan, a file cannot be read or is not a regular one, or points and
  ///                           labels differ in number
  /// Cost: reads two files.
  [[nodiscard]] PointCloud load(std::int64_t index) const;

 private:
  struct Scan {
    std::string points;
    std::string labels;  // empty: the sequence has none
  };

  [[nodiscard]] Scan const& scan(std::int64_t index) const;

  std::vector<Scan> scans_;
};

}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/semantic_kitti_body.hpp>
#endif
