// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// A ROS 2 node: a PointCloud2 comes, a label for each point goes. What rclcpp and sensor_msgs declare is
// mocked by the few lines that matter here.

#include <tessera/tessera.cuh>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace sensor_msgs::msg {

struct PointField {
  static constexpr std::uint8_t FLOAT32 = 7;
  std::string name;
  std::uint32_t offset;
  std::uint8_t datatype;
  std::uint32_t count;
};
struct PointCloud2 {
  std::uint32_t height;
  std::uint32_t width;
  std::vector<PointField> fields;
  bool is_bigendian;
  std::uint32_t point_step;
  std::uint32_t row_step;
  std::vector<std::uint8_t> data;
};

}  // namespace sensor_msgs::msg

namespace deploy {

inline void check(cudaError_t status)
{
  if (status != cudaSuccess) { throw tessera::cuda_error{status, cudaGetErrorString(status)}; }
}

/// Host memory that the device reads and writes by itself.
template <class T>
class Pinned {
 public:
  explicit Pinned(std::size_t size)
  {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, size * sizeof(T)));
    data_ = static_cast<T*>(memory);
  }
  Pinned(Pinned const&) = delete;
  Pinned& operator=(Pinned const&) = delete;
  ~Pinned() { static_cast<void>(cudaFreeHost(data_)); }
  [[nodiscard]] T* data() const noexcept { return data_; }

 private:
  T* data_ = nullptr;
};

/// Copies x, y, z and intensity of each point, wherever they are in it, to rows of four floats.
/// @returns  points, or -1: there are too many, or no such fields
inline std::int64_t unpack(sensor_msgs::msg::PointCloud2 const& cloud, std::int64_t most, float* rows)
{
  std::size_t offsets[4] = {};
  char const* const names[4] = {"x", "y", "z", "intensity"};
  for (int i = 0; i < 4; ++i) {
    bool found = false;
    for (auto const& field : cloud.fields) {
      if (field.name != names[i] || field.datatype != sensor_msgs::msg::PointField::FLOAT32) { continue; }
      offsets[i] = field.offset;
      found = field.offset + sizeof(float) <= cloud.point_step;
    }
    if (!found) { return -1; }
  }
  auto const count = std::int64_t{cloud.height} * cloud.width;
  bool const fits = cloud.height == 0 || cloud.data.size() >= std::size_t{cloud.height} * cloud.row_step;
  if (cloud.is_bigendian || count > most || !fits ||
      cloud.row_step < std::uint64_t{cloud.width} * cloud.point_step) {
    return -1;
  }
  for (std::size_t row = 0; row < cloud.height; ++row) {
    for (std::size_t column = 0; column < cloud.width; ++column) {
      auto const* const point = cloud.data.data() + row * cloud.row_step + column * cloud.point_step;
      for (auto const offset : offsets) { std::memcpy(rows++, point + offset, sizeof(float)); }
    }
  }
  return count;
}

/// The node: one stream, one plan, pinned memory for a scan and its labels.
template <class Net>
class SegmentNode {
 public:
  using Publish = std::function<void(std::int32_t const*, std::int64_t)>;

  SegmentNode(Net& net, tessera::PointLimits<tessera::QuantizeOptions<3>> const& limits, Publish publish,
              tessera::Execution<tessera::Device> const& exec)
      : exec_{exec},
        plan_{net, limits, exec},
        points_{static_cast<std::size_t>(4 * limits.points())},
        labels_{static_cast<std::size_t>(limits.points())},
        publish_{std::move(publish)}
  {}

  // [callback]
  void callback(sensor_msgs::msg::PointCloud2 const& cloud)
  {
    auto const count = unpack(cloud, plan_.limits().points(), points_.data());
    if (count < 0) {
      std::fprintf(stderr, "segment: a cloud that cannot be taken was left out\n");
      return;
    }
    tessera::PlanDestination<__half> to;
    to.labels = {labels_.data(), count, 1};
    auto const status = plan_.try_run({points_.data(), count, 4}, to, exec_.stream());
    exec_.wait();  // the callback ends with the labels, and the memory is free again for the next cloud
    auto const report = plan_.status();
    plan_.acknowledge();
    if (status.ok() && report.ok()) {
      publish_(labels_.data(), count);
    } else {
      std::fprintf(stderr, "segment: no labels for this cloud: %s\n",
                   report.over_capacity ? "it has more voxels than planned" : status.what());
    }
  }
  // [callback]

 private:
  tessera::Execution<tessera::Device> exec_;
  tessera::Plan<Net, tessera::QuantizeOptions<3>> plan_;
  Pinned<float> points_;
  Pinned<std::int32_t> labels_;
  Publish publish_;
};

}  // namespace deploy
