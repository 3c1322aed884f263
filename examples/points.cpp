// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Points as programs have them: rows of messages and images, column-major matrices, batches, labels.

#include <tessera/tessera.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace ts = tessera;

namespace {

using Exec = ts::Execution<ts::Host>;

int failures = 0;

void expect(bool held, char const* what)
{
  if (!held) {
    std::printf("not so: %s\n", what);
    ++failures;
  }
}

/// The part of sensor_msgs::msg::PointCloud2 that matters here; fields x, y, z and intensity are floats.
struct PointCloud2 {
  std::uint32_t width = 0;
  std::uint32_t height = 1;
  std::uint32_t point_step = 0;
  std::vector<std::uint8_t> data;
};

/// The part of cv::Mat of CV_32FC1 that matters here: its `step` may be more than its columns.
struct Image {
  int rows = 0;
  int cols = 0;
  std::size_t step = 0;  // bytes
  std::vector<float> data;
};

/// Points of a wall and a floor, rows of x, y, z, intensity.
std::vector<float> make_points(int shift)
{
  std::vector<float> rows;
  for (int i = 0; i < 30; ++i) {
    for (int j = 0; j < 30; ++j) {
      float const u = 0.1F * static_cast<float>(i + shift);
      float const v = 0.1F * static_cast<float>(j);
      rows.insert(rows.end(),
                  {u, i % 2 == 0 ? v : 1.5F, i % 2 == 0 ? 0.05F : v, 0.01F * static_cast<float>(j)});
    }
  }
  return rows;
}

/// The same points as a message with something between its fields.
PointCloud2 make_message(std::vector<float> const& rows)
{
  PointCloud2 message;
  message.width = static_cast<std::uint32_t>(rows.size() / 4);
  message.point_step = 32;
  message.data.resize(std::size_t{message.width} * message.point_step);
  for (std::size_t i = 0; i < message.width; ++i) {
    std::memcpy(&message.data[i * 32], &rows[4 * i], 12);
    std::memcpy(&message.data[i * 32 + 16], &rows[4 * i + 3], 4);
  }
  return message;
}

bool same_features(ts::Matrix<float, ts::Host> const& a, ts::Matrix<float, ts::Host> const& b)
{
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * 4) == 0;
}

}  // namespace

int main()
{
  Exec const exec;
  auto const rows = make_points(0);
  auto const n = static_cast<std::int64_t>(rows.size()) / 4;
  auto const options = ts::QuantizeOptions<3>(0.25F).features(ts::VoxelFeatures::mean);

  // [interleaved]
  // n rows of x, y, z, intensity, in memory of the execution's space
  auto const points = ts::interleaved_points({rows.data(), n, 4});
  auto const voxels = ts::sparse_quantize(points, options, exec);
  // [interleaved]
  expect(voxels.features.columns() == 1, "the fourth column is the feature");

  {
    auto const message = make_message(rows);
    // [message]
    std::int64_t const count = std::int64_t{message.width} * message.height;
    ts::PointsView<float> view;
    view.positions = ts::rows_at<float>(message.data.data(), count, 3, message.point_step);  // x at byte 0
    view.features = ts::rows_at<float>(message.data.data() + 16, count, 1, message.point_step);  // at byte 16
    auto const of_message = ts::sparse_quantize(view, options, exec);
    // [message]
    expect(ts::same_voxels(voxels.coordinates, of_message.coordinates, exec),
           "a message has the same voxels");
    expect(same_features(voxels.features, of_message.features), "and the same features");
  }
  {
    Image mat{static_cast<int>(n), 4, 24, std::vector<float>(static_cast<std::size_t>(n) * 6)};
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      std::memcpy(&mat.data[6 * i], &rows[4 * i], 16);
    }
    // [image]
    auto const step = static_cast<std::int64_t>(mat.step);
    auto const view = ts::interleaved_points(ts::rows_at<float>(mat.data.data(), mat.rows, mat.cols, step));
    // [image]
    auto const of_image = ts::sparse_quantize(view, options, exec);
    expect(same_features(voxels.features, of_image.features), "an image has the same features");
  }
  {
    std::vector<float> matrix(rows.size());  // as Eigen::MatrixXf keeps it
    for (std::size_t i = 0; i < rows.size(); ++i) {
      matrix[i % 4 * static_cast<std::size_t>(n) + i / 4] = rows[i];
    }
    // [columns]
    // Eigen::MatrixXf m(n, 4) is column-major: data(), rows(), cols()
    auto const view = ts::interleaved_points(ts::columns_at(matrix.data(), n, 4));
    // [columns]
    auto const of_columns = ts::sparse_quantize(view, options, exec);
    expect(same_features(voxels.features, of_columns.features), "columns have the same features");
  }

  auto const other = make_points(7);
  {
    std::vector<float> both = rows;
    both.insert(both.end(), other.begin(), other.end());
    // [batch]
    // two scans, one after the other; offsets are in the space of the points
    auto const count = static_cast<std::int32_t>(n);
    auto const offsets = ts::upload(std::vector<std::int32_t>{0, count, 2 * count}, exec);
    auto batch = ts::interleaved_points({both.data(), 2 * n, 4});
    batch.offsets = offsets.data();
    batch.num_batches = 2;
    auto const together = ts::sparse_quantize(batch, options, exec);
    // [batch]
    // [one_by_one]
    auto second = ts::interleaved_points({other.data(), n, 4});
    second.batch_entry = 1;
    auto const one = ts::sparse_quantize(points, options, exec);
    auto const two = ts::sparse_quantize(second, options, exec);
    auto const collated = ts::collate_coordinates<3, ts::Host>({one.coordinates, two.coordinates}, exec);
    // [one_by_one]
    expect(ts::same_voxels(together.coordinates, collated, exec), "a batch in one call has the same voxels");
    expect(collated->num_batches() == 2, "two entries");
  }
  {
    std::vector<std::int32_t> of_points;
    for (std::int64_t i = 0; i < n; ++i) {
      of_points.push_back(static_cast<std::int32_t>(i % 7 == 0 ? 255 : i / 30 % 2));
    }
    // [labels]
    auto const labels = ts::vote_labels(voxels, of_points.data(), 255, exec);  // 255: not labelled
    // [labels]
    expect(labels.size() == voxels.num_voxels(), "a label for each voxel");
  }
  {
    auto const second = ts::sparse_quantize(ts::interleaved_points({other.data(), n, 4}), options, exec);
    // [combine]
    auto const united = ts::unite_coordinates(voxels.coordinates, second.coordinates, exec);
    std::int32_t const* const row_of_first = united.rows->of_first.data();    // or -1
    std::int32_t const* const row_of_second = united.rows->of_second.data();  // or -1
    // [combine]
    std::int64_t in_both = 0;
    for (std::int64_t i = 0; i < united.coordinates->num_rows(); ++i) {
      in_both += row_of_first[i] >= 0 && row_of_second[i] >= 0 ? 1 : 0;
    }
    auto const shared = ts::intersect_coordinates(voxels.coordinates, second.coordinates, exec);
    expect(shared.coordinates->num_rows() == in_both, "the intersection is what both have");
    expect(united.coordinates->num_rows() ==
               voxels.num_voxels() + second.num_voxels() - shared.coordinates->num_rows(),
           "the union is what either has");
  }
  if (failures == 0) { std::puts("ok"); }
  return failures == 0 ? 0 : 1;
}
