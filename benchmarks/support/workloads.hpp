// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What benchmarks run on, on the host: recorded scans where their folder is there, simulated ones otherwise,
// and shells of spheres.

#include <tessera/coords/quantize.hpp>
#include <tessera/coords/voxel_options.hpp>
#include <tessera/data/lidar_simulator.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/npy_body.hpp>
#include <tessera/io/detail/zip.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/point_bin.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace bench {

namespace ts = tessera;

using Rows = std::vector<ts::Coordinate<3>>;

/// Voxels with features, and the grid they lie in: the spatial range that spconv is given for them.
struct Voxels {
  std::string name;  ///< "simulated ..." where no recorded scan was found
  Rows rows;
  std::vector<float> features;  ///< [rows, channels]
  int channels = 0;
  ts::IntArray<3> grid;
  int tensor_stride = 1;

  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(rows.size()); }
};

/// Points as detectors take them.
struct Points {
  std::string name;
  std::vector<float> rows;  ///< [points, columns]: x, y, z, intensity, ...
  int columns = 4;

  [[nodiscard]] std::int64_t size() const noexcept
  {
    return static_cast<std::int64_t>(rows.size()) / columns;
  }
};

/// Where recorded scans lie: a folder that has them, or has them in `data/`.
class ScanFolder {
 public:
  explicit ScanFolder(std::filesystem::path root) : root_{std::move(root)} {}

  /// The file's path, or an empty string.
  [[nodiscard]] std::string find(std::string const& file) const
  {
    for (auto const& path : {root_ / file, root_ / "data" / file}) {
      std::error_code none;
      if (std::filesystem::is_regular_file(path, none)) { return path.string(); }
    }
    return {};
  }

 private:
  std::filesystem::path root_;
};

namespace detail {

/// The smallest multiples of 16 that hold all rows, as spconv's benchmarks round their shapes.
[[nodiscard]] inline ts::IntArray<3> rounded_grid(Rows const& rows)
{
  ts::IntArray<3> extent(1);
  for (auto const& row : rows) {
    for (int i = 0; i < 3; ++i) { extent[i] = std::max(extent[i], row.position[i] + 1); }
  }
  for (int i = 0; i < 3; ++i) { extent[i] = (extent[i] + 15) / 16 * 16; }
  return extent;
}

/// One voxel for each cell with points, with the features of the first of them: columns [columns of
/// `points`].
[[nodiscard]] inline Voxels first_points(std::string name, Points const& points,
                                         ts::QuantizeOptions<3> const& options, int channels, bool reversed)
{
  ts::Execution<ts::Host> const host;
  std::vector<float> positions;
  auto const columns = static_cast<std::size_t>(points.columns);
  for (std::size_t at = 0; at < points.rows.size(); at += columns) {
    for (std::size_t i = 0; i < 3; ++i) { positions.push_back(points.rows[at + (reversed ? 2 - i : i)]); }
  }
  auto const where = ts::upload_matrix(positions, 3, host);
  ts::Matrix<float, ts::Host> const none{points.size(), 0, host};
  auto const found = ts::sparse_quantize(ts::PointsView<float>{where.view(), none.view()}, options, host);
  Voxels voxels;
  voxels.name = std::move(name);
  voxels.rows.assign(found.coordinates->data(), found.coordinates->data() + found.num_voxels());
  voxels.channels = channels;
  for (std::int64_t i = 0; i < found.num_voxels(); ++i) {
    auto const first = static_cast<std::size_t>(found.first_point.data()[i]) * columns;
    for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
      voxels.features.push_back(points.rows[first + c]);
    }
  }
  voxels.grid = rounded_grid(voxels.rows);
  if (options.grid()) { voxels.grid = options.grid().value(); }
  return voxels;
}

/// x, y, z and the first `columns - 3` features of each point, absent ones 0.
[[nodiscard]] inline Points rows_of(std::string name, ts::PointCloud const& cloud, int columns)
{
  Points points{std::move(name), {}, columns};
  auto const channels = static_cast<std::size_t>(cloud.channels);
  for (std::size_t i = 0; i < static_cast<std::size_t>(cloud.size()); ++i) {
    for (std::size_t k = 0; k < 3; ++k) { points.rows.push_back(cloud.positions[3 * i + k]); }
    for (std::size_t k = 0; k + 3 < static_cast<std::size_t>(columns); ++k) {
      points.rows.push_back(k < channels ? cloud.features[channels * i + k] : 0.0F);
    }
  }
  return points;
}

/// The means of hard voxels, rows (b, z, y, x).
[[nodiscard]] inline Voxels voxel_means(Points const& points, ts::VoxelizeOptions const& options)
{
  ts::Execution<ts::Host> const host;
  auto const cloud = ts::upload_matrix(points.rows, points.columns, host);
  auto const found = ts::hard_voxelize<ts::Host>(cloud.view(), options, host);
  Voxels voxels;
  voxels.name = points.name;
  voxels.channels = points.columns;
  voxels.grid = options.shape().value_or(ts::grid_shape(options));
  voxels.rows.assign(found.coordinates->data(), found.coordinates->data() + found.num_voxels());
  voxels.features.assign(found.mean.data(), found.mean.data() + found.mean.size());
  return voxels;
}

/// The rows of a file of five integers (magic, 2, type, rows, columns) and then the values.
[[nodiscard]] inline std::vector<std::uint8_t> tensor_values(std::string const& path, std::int32_t columns,
                                                             std::size_t element)
{
  ts::detail::FileContext const file{"tensor_values", path};
  auto bytes = ts::detail::read_file(file);
  std::array<std::int32_t, 5> header{};
  file.expects(bytes.size() >= sizeof(header), "is too short for a header");
  std::memcpy(header.data(), bytes.data(), sizeof(header));
  file.expects(header[3] >= 0 && header[4] == columns &&
                   bytes.size() == sizeof(header) + static_cast<std::size_t>(header[3]) *
                                                        static_cast<std::size_t>(columns) * element,
               "does not hold rows of ", columns, " values");
  bytes.erase(bytes.begin(), bytes.begin() + sizeof(header));
  return bytes;
}

}  // namespace detail

/// A cloud of `points` points or a few more, of a scanner that turns as slowly as it takes.
[[nodiscard]] inline Points simulated_points(std::int64_t points)
{
  ts::LidarOptions options;
  auto cloud = ts::simulate_lidar(options);
  while (cloud.size() < points) {
    auto const steps = std::int64_t{options.azimuth_steps} * points / cloud.size();
    options.azimuth_steps = static_cast<int>(std::max<std::int64_t>(steps, options.azimuth_steps + 1));
    cloud = ts::simulate_lidar(options);
  }
  return detail::rows_of("simulated " + std::to_string(points / 1000) + "k", cloud, 4);
}

/// nuScenes' scanner.
[[nodiscard]] inline ts::LidarOptions scanner_of_32_beams()
{
  ts::LidarOptions options;
  options.beams = 32;
  options.azimuth_steps = 1084;
  return options;
}

/// The points of `sweeps` sweeps where the last one stands: x, y, z, intensity, and the age in seconds.
[[nodiscard]] inline Points simulated_sweeps(std::string name, ts::LidarOptions const& options, int sweeps,
                                             double seconds_between)
{
  Points points{std::move(name), {}, 5};
  auto const here = ts::ego_pose(options, sweeps - 1);
  for (int sweep = sweeps - 1; sweep >= 0; --sweep) {
    auto const rows = detail::rows_of({}, ts::simulate_lidar(options, sweep), 5).rows;
    auto const there = ts::ego_pose(options, sweep);
    auto const age = static_cast<float>(seconds_between * (sweeps - 1 - sweep));
    for (std::size_t at = 0; at < rows.size(); at += 5) {
      double const x = rows[at];
      double const y = rows[at + 1];
      // to the street, and from there to the last scanner
      double const along = there.x - here.x + std::cos(there.yaw) * x - std::sin(there.yaw) * y;
      double const across = there.y - here.y + std::sin(there.yaw) * x + std::cos(there.yaw) * y;
      points.rows.insert(points.rows.end(),
                         {static_cast<float>(std::cos(here.yaw) * along + std::sin(here.yaw) * across),
                          static_cast<float>(std::cos(here.yaw) * across - std::sin(here.yaw) * along),
                          rows[at + 2] + static_cast<float>(there.z - here.z), rows[at + 3], age});
    }
  }
  return points;
}

/// The points of one scan of 64 beams: SemanticKITTI's, 123,389.
[[nodiscard]] inline Points semkitti_points(ScanFolder const& folder)
{
  auto const path = folder.find("semkitti_000000.bin");
  return path.empty() ? detail::rows_of("simulated 64 beams", ts::simulate_lidar(), 4)
                      : detail::rows_of("semkitti", ts::read_kitti(path), 4);
}

/// That scan at 0.05 m from its lowest corner: 94,444 voxels of 4 channels.
[[nodiscard]] inline Voxels semkitti(ScanFolder const& folder)
{
  auto const points = semkitti_points(folder);
  return detail::first_points(points.name, points,
                              ts::QuantizeOptions<3>(0.05F).origin(ts::GridOrigin::lowest_voxel), 4, false);
}

/// One sweep of 32 beams at 0.1 m from its lowest corner: nuScenes', 17,885 voxels of 4 channels.
[[nodiscard]] inline Voxels nuscenes(ScanFolder const& folder)
{
  auto const path = folder.find("nuscenes_lidar_top.bin");
  auto const points =
      path.empty() ? detail::rows_of("simulated 32 beams", ts::simulate_lidar(scanner_of_32_beams()), 5)
                   : detail::rows_of("nuscenes", ts::read_nuscenes(path), 5);
  return detail::first_points(points.name, points,
                              ts::QuantizeOptions<3>(0.1F).origin(ts::GridOrigin::lowest_voxel), 4, false);
}

/// Frames of such a scanner, a metre apart, moved to where the last one stands; simulated.
[[nodiscard]] inline Voxels nuscenes_frames(int frames)
{
  auto const points =
      simulated_sweeps("simulated 32 beams x" + std::to_string(frames), scanner_of_32_beams(), frames, 0.05);
  return detail::first_points(points.name, points,
                              ts::QuantizeOptions<3>(0.1F).origin(ts::GridOrigin::lowest_voxel), 4, false);
}

/// Ten sweeps in the grid of CenterPoint at 0.075 m, rows (b, z, y, x): nuScenes', 79,745 voxels of 5
/// channels.
[[nodiscard]] inline Voxels ten_sweeps(ScanFolder const& folder)
{
  auto const indices = folder.find("nuscenes_10sweep_indices_bzyx.tensor");
  auto const means = folder.find("nuscenes_10sweep_features.tensor");
  Voxels voxels;
  voxels.channels = 5;
  voxels.grid = {41, 1440, 1440};
  if (!indices.empty() && !means.empty()) {
    voxels.name = "ten sweeps";
    auto const rows = detail::tensor_values(indices, 4, sizeof(std::int32_t));
    voxels.rows.resize(rows.size() / sizeof(ts::Coordinate<3>));
    std::memcpy(voxels.rows.data(), rows.data(), rows.size());
    auto const halves = detail::tensor_values(means, 5, sizeof(std::uint16_t));
    for (std::size_t at = 0; at < halves.size(); at += sizeof(std::uint16_t)) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, halves.data() + at, sizeof(bits));
      voxels.features.push_back(ts::detail::half_bits_to_float(bits));
    }
    return voxels;
  }
  auto const points = simulated_sweeps("simulated ten sweeps", scanner_of_32_beams(), 10, 0.05);
  return detail::voxel_means(points, ts::voxel_options("nvidia_0_075"));
}

/// Simulated frames of a scanner of 64 beams at 10 Hz in the grid of CenterPoint on Waymo: 0.1 x 0.1 x 0.15 m, rows
/// (b, z, y, x); 5 channels.
[[nodiscard]] inline Voxels waymo(int frames)
{
  ts::LidarOptions options;
  options.azimuth_steps = 2650;
  options.elevation_top = 2.4;
  options.elevation_middle = -6;
  options.elevation_bottom = -17.6;
  auto const points = simulated_sweeps("simulated waymo x" + std::to_string(frames), options, frames, 0.1);
  return detail::voxel_means(points,
                             ts::VoxelizeOptions({0.1F, 0.1F, 0.15F}, {-75.2F, -75.2F, -2}, {75.2F, 75.2F, 4})
                                 .points_per_voxel(5)
                                 .voxels(150000)
                                 .shape({41, 1504, 1504}));
}

/// spconv's benchmark cloud at 0.1 m, rows (b, z, y, x) with features x, y, z: 125,562 voxels; of eight
/// copies, each shifted by a metre in y, 913,903.
[[nodiscard]] inline Voxels spconv_benchmark(ScanFolder const& folder, int copies)
{
  auto const path = folder.find("spconv_benchmark_pc.npz");
  Points points;
  points.columns = 3;
  if (path.empty()) {
    points = detail::rows_of("simulated spconv benchmark", ts::simulate_lidar(), 3);
  } else {
    points.name = "spconv benchmark";
    ts::detail::FileContext const file{"spconv_benchmark", path};
    auto const bytes = ts::detail::read_file(file);
    for (auto const& entry : ts::detail::ZipReader{bytes, file}.read()) {
      if (entry.name != "pc.npy") { continue; }
      auto const begin = bytes.begin() + static_cast<std::ptrdiff_t>(entry.begin);
      auto const end = bytes.begin() + static_cast<std::ptrdiff_t>(entry.end);
      points.rows = ts::to_float(ts::detail::parse_npy({begin, end}, file).tensor());
    }
    file.expects(!points.rows.empty() && points.rows.size() % 3 == 0, "holds no rows x, y, z");
  }
  if (copies > 1) { points.name += " x" + std::to_string(copies); }
  auto const of_one = points.rows;
  for (int copy = 1; copy < copies; ++copy) {
    for (std::size_t at = 0; at < of_one.size(); at += 3) {
      points.rows.insert(points.rows.end(),
                         {of_one[at], of_one[at + 1] + static_cast<float>(copy), of_one[at + 2]});
    }
  }
  auto options = ts::QuantizeOptions<3>(0.1F).origin({-2, -80, -80}).grid({80, 1600, 1600});
  return detail::first_points(points.name, points, options, 3, true);
}

/// The cells of an R-cube whose centre lies between R / 2 - 1.25 and R / 2 from the cube's: 15,192 for R =
/// 64, 64,160 for 128, 252,392 for 256, 1,026,536 for 512. No features. Source: FlexGEMM's benchmarks.
[[nodiscard]] inline Voxels sphere(int extent)
{
  Voxels voxels;
  voxels.name = "sphere" + std::to_string(extent);
  voxels.grid = ts::IntArray<3>(extent);
  // in quarters of a cell all of these are integers
  auto const from_centre = [&](int i) { return std::int64_t{4} * i + 2 - 2 * std::int64_t{extent}; };
  auto const outer = 2 * std::int64_t{extent};
  auto const inner = outer - 5;
  for (int i = 0; i < extent; ++i) {
    for (int j = 0; j < extent; ++j) {
      auto const square = from_centre(i) * from_centre(i) + from_centre(j) * from_centre(j);
      if (square > outer * outer) { continue; }
      for (int k = 0; k < extent; ++k) {
        auto const distance = square + from_centre(k) * from_centre(k);
        if (distance <= outer * outer && distance >= inner * inner) { voxels.rows.push_back({0, {i, j, k}}); }
      }
    }
  }
  return voxels;
}

/// Which cells of an R-cube the sphere of radius 0.49 R about its middle passes through; R in cells.
struct SphereSurface {
  int extent;

  [[nodiscard]] TESSERA_HOST_DEVICE bool passes(ts::IntArray<3> const& cell) const
  {
    // The corners of cells of all grids whose extents are this one times powers of two are exact in a double, so
    // that a cell has a child that the sphere passes through if and only if it passes through the cell.
    double nearest = 0;
    double farthest = 0;
    for (int i = 0; i < 3; ++i) {
      double const low = static_cast<double>(cell[i]) / extent - 0.5;
      double const high = static_cast<double>(cell[i] + 1) / extent - 0.5;
      double const below = low * low;
      double const above = high * high;
      nearest += low <= 0 && high >= 0 ? 0 : (below < above ? below : above);
      farthest += below > above ? below : above;
    }
    constexpr double square = 0.49 * 0.49;
    return nearest <= square && farthest >= square;
  }
};

/// Those cells, lexicographic; no features.
[[nodiscard]] inline Voxels sphere_surface(int extent)
{
  Voxels voxels;
  voxels.name = "sphere surface " + std::to_string(extent);
  voxels.grid = ts::IntArray<3>(extent);
  for (int i = 0; i < extent; ++i) {
    for (int j = 0; j < extent; ++j) {
      for (int k = 0; k < extent; ++k) {
        if (SphereSurface{extent}.passes({i, j, k})) { voxels.rows.push_back({0, {i, j, k}}); }
      }
    }
  }
  return voxels;
}

/// The outputs of a convolution of size and stride 2 without padding, lexicographic; no features.
[[nodiscard]] inline Voxels coarser(Voxels const& fine)
{
  Voxels coarse;
  coarse.name = fine.name;
  for (int i = 0; i < 3; ++i) { coarse.grid[i] = fine.grid[i] / 2; }
  for (auto row : fine.rows) {
    bool inside = true;
    for (int i = 0; i < 3; ++i) {
      row.position[i] /= 2;
      inside = inside && row.position[i] < coarse.grid[i];
    }
    if (inside) { coarse.rows.push_back(row); }
  }
  auto const before = [](auto const& a, auto const& b) {
    if (a.batch != b.batch) { return a.batch < b.batch; }
    for (int i = 0; i < 3; ++i) {
      if (a.position[i] != b.position[i]) { return a.position[i] < b.position[i]; }
    }
    return false;
  };
  std::sort(coarse.rows.begin(), coarse.rows.end(), before);
  coarse.rows.erase(std::unique(coarse.rows.begin(), coarse.rows.end()), coarse.rows.end());
  return coarse;
}

}  // namespace bench
