// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/network_input.hpp"
#include "engine.hpp"
#include "pipeline.hpp"

#include <tessera/io/point_cloud_file.hpp>

#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace label_scans {

/// Points of one scan as the network takes them, in memory of the engine's.
struct InputBuffer {
  std::shared_ptr<void> memory;
  std::int64_t num_points = 0;
  std::int64_t num_dropped = 0;  // of them: those whose position is not finite, which are in no voxel
  std::vector<float> rows;       // of a file with more columns than the network has channels

  [[nodiscard]] float* points() const { return static_cast<float*>(memory.get()); }
};

/// Reads files of points into buffers. Any thread, each with a buffer of its own.
class ScanReader {
 public:
  ScanReader(Task const& task, tessera::PointReadOptions read) : task_{&task}, read_{std::move(read)}
  {
    columns_ = read_.origin                                     ? 0
               : read_.format == tessera::PointFormat::kitti    ? 4
               : read_.format == tessera::PointFormat::nuscenes ? 5
                                                                : 0;
    read_.max_points = task.max_points;
    read_.pipes = false;
  }

  /// @throws ScanError  the file cannot be read, or the network cannot take its points
  void read(std::string const& path, InputBuffer& buffer) const
  {
    try {
      if (!read_rows(path, buffer)) { read_any(path, buffer); }
    } catch (std::bad_alloc const&) {
      throw ScanError{path + ": there is not enough memory to read it"};
    } catch (tessera::invalid_argument const& error) {
      throw ScanError{error.what()};
    } catch (program::Failure const& error) {
      throw ScanError{path + ": " + error.what()};
    }
    look_at(path, buffer);
  }

 private:
  [[nodiscard]] program::InputChannels channels_of(tessera::PointCloud const& cloud) const
  {
    if (task_->segmentation) {
      return program::segmentation_channels(cloud, task_->in_channels(),
                                            task_->segmentation->options.intensity_scale);
    }
    auto const& encoder = *task_->encoder;
    return program::detector_channels(cloud, task_->in_channels(),
                                      encoder.options.intensity_scale.value_or(1),
                                      encoder.shape.name == "second_waymo", 0);
  }

  void expect_room(std::string const& path, std::int64_t num_points) const
  {
    if (num_points <= task_->max_points) { return; }
    throw ScanError{path + ": " + std::to_string(num_points) + " points are more than the " +
                    std::to_string(task_->max_points) + " of --max-points"};
  }

  /// Any file that read_point_cloud() reads.
  void read_any(std::string const& path, InputBuffer& buffer) const
  {
    auto const cloud = tessera::read_point_cloud(path, read_);
    expect_room(path, cloud.size());
    buffer.num_points = cloud.size();
    program::write_input(channels_of(cloud), cloud, buffer.points());
  }

  /// Rows of floats go to where the network's device reads them, without a detour where they are what the
  /// network takes. False: the file is not as it should be, and read_any() knows why.
  [[nodiscard]] bool read_rows(std::string const& path, InputBuffer& buffer) const
  {
    std::error_code error;
    if (columns_ == 0 || !std::filesystem::is_regular_file(path, error)) { return false; }
    int const file =
        ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // so that a pipe does not block
    if (file < 0) { return false; }
    struct Closer {
      int file;
      ~Closer() { ::close(file); }
    } const closer{file};
    struct stat status {};
    auto const row_bytes = static_cast<std::int64_t>(columns_ * sizeof(float));
    if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size % row_bytes != 0) {
      return false;
    }
    auto const num_points = static_cast<std::int64_t>(status.st_size) / row_bytes;
    expect_room(path, num_points);

    tessera::PointCloud kind;  // without points
    kind.feature_names = {"intensity", "ring"};
    kind.channels = static_cast<int>(columns_) - 3;
    kind.feature_names.resize(columns_ - 3);
    auto const channels = channels_of(kind);
    bool as_it_is = channels.size() == columns_;
    for (std::size_t k = 0; k < channels.size(); ++k) {
      as_it_is = as_it_is && channels[k].column == static_cast<int>(k) && channels[k].scale == 1;
    }
    auto const size = static_cast<std::size_t>(status.st_size);
    if (!as_it_is) { buffer.rows.resize(size / sizeof(float)); }
    auto* const to = as_it_is ? buffer.points() : buffer.rows.data();
    if (!read_all(file, reinterpret_cast<char*>(to), size)) { return false; }
    if (!as_it_is) {
      program::write_input(
          channels, static_cast<std::size_t>(num_points),
          [&](std::size_t i, std::size_t column) { return to[i * columns_ + column]; }, buffer.points());
    }
    buffer.num_points = num_points;
    return true;
  }

  [[nodiscard]] static bool read_all(int file, char* to, std::size_t size)
  {
    while (size > 0) {
      auto const count = ::read(file, to, size);
      if (count < 0 && errno == EINTR) { continue; }
      if (count <= 0) { return false; }
      to += count;
      size -= static_cast<std::size_t>(count);
    }
    return true;
  }

  /// What a network makes of a number that is none spreads to the points around, so such features are refused;
  /// points without a place are left out by the voxels.
  void look_at(std::string const& path, InputBuffer& buffer) const
  {
    if (buffer.num_points == 0) { throw ScanError{path + ": the scan has no points"}; }
    auto const channels = static_cast<std::size_t>(task_->in_channels());
    auto const* point = buffer.points();
    buffer.num_dropped = 0;
    std::int64_t broken = 0;
    for (std::int64_t i = 0; i < buffer.num_points; ++i, point += channels) {
      bool const has_place = std::isfinite(point[0]) && std::isfinite(point[1]) && std::isfinite(point[2]);
      bool finite = true;
      for (std::size_t k = 3; k < channels; ++k) { finite = finite && std::isfinite(point[k]); }
      buffer.num_dropped += has_place ? 0 : 1;
      broken += has_place && !finite ? 1 : 0;
    }
    if (broken > 0) {
      throw ScanError{path + ": " + program::counted(broken, "point has a feature", "points have features") +
                      " that is no finite number"};
    }
    if (buffer.num_dropped == buffer.num_points) {
      throw ScanError{path + ": no point has a position that is finite"};
    }
  }

  Task const* task_;
  tessera::PointReadOptions read_;
  std::size_t columns_ = 0;  // of rows of floats; 0: other files
};

}  // namespace label_scans
