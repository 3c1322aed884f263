// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Files of points: formats that say what they are and rows that do not, coordinates of a map, points without
// features.

#include <tessera/coords/quantize.hpp>
#include <tessera/io/point_cloud_file.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace ts = tessera;

namespace {

bool failed = false;

void check(bool good, char const* what)
{
  if (good) { return; }
  std::printf("FAILED: %s\n", what);
  failed = true;
}

/// Rows of x, y, z, intensity, age: what a program joins of several sweeps.
void write_rows(std::string const& path)
{
  std::vector<float> rows;
  for (int i = 0; i < 300; ++i) {
    auto const t = static_cast<float>(i);
    rows.insert(rows.end(),
                {20 * std::cos(t), 20 * std::sin(t), 0.01F * t, 0.5F, 0.05F * static_cast<float>(i % 4)});
  }
  std::ofstream file{path, std::ios::binary};
  file.write(reinterpret_cast<char const*>(rows.data()), static_cast<std::streamsize>(4 * rows.size()));
}

/// A survey: doubles in metres of a map, 0.1 m apart.
void write_survey(std::string const& path)
{
  std::ofstream file{path};
  file << "ply\nformat ascii 1.0\nelement vertex 3\nproperty double x\nproperty double y\nproperty double "
          "z\nend_header\n"
          "627285.1 4841948.3 41.5\n627285.2 4841948.4 41.5\n627285.3 4841948.5 41.5\n";
}

}  // namespace

int main()
{
  auto const folder = std::filesystem::temp_directory_path() / "tessera-point-files";
  std::filesystem::create_directories(folder);
  auto const sweeps = (folder / "sweeps.bin").string();
  auto const survey = (folder / "survey.ply").string();
  auto const copy = (folder / "copy.ply").string();
  write_rows(sweeps);
  write_survey(survey);
  ts::Execution<ts::Host> const exec;

  bool refused = false;
  try {
    static_cast<void>(ts::read_point_cloud(sweeps));
  } catch (ts::invalid_argument const& error) {
    refused = std::string{error.what()}.find("name its format") != std::string::npos;
  }
  check(refused, "rows with an age are neither KITTI nor nuScenes");

  // [rows]
  auto const rows = ts::read_point_cloud(sweeps, ts::point_format("x,y,z,intensity,age"));
  // rows.channels == 2, rows.feature_names == {"intensity", "age"}
  // [rows]
  check(rows.size() == 300 && rows.channels == 2 && rows.features[3] == 0.05F, "rows of five columns");

  // [origin]
  ts::PointCloud cloud = ts::read_point_cloud(survey);
  std::array<double, 3> const origin = cloud.origin;           // whole numbers, zero where none was needed
  double const east = origin[0] + double{cloud.positions[0]};  // 627285.1 again

  ts::PointReadOptions options;
  options.origin = origin;  // a second scan of the same place, about the same origin
  ts::PointCloud const second = ts::read_point_cloud(survey, options);
  ts::append_points(cloud, second);  // moves what has another origin
  ts::write_ply(copy, cloud);        // writes doubles: origin + position
  // [origin]
  check(std::fabs(east - 627285.1) < 1e-4 && origin[0] == std::floor(origin[0]), "an origin of whole metres");
  check(cloud.size() == 6 && ts::read_ply(copy).origin == origin, "written where it was");

  // [ones]
  ts::ensure_features(cloud);  // x, y, z alone: one channel of ones, as networks on occupancy expect
  auto const positions = ts::upload_matrix(cloud.positions, 3, exec);
  auto const features = ts::upload_matrix(cloud.features, cloud.channels, exec);
  // [ones]
  check(positions.rows() == 6 && features.columns() == 1, "ones");
  auto const voxels =
      ts::sparse_quantize(ts::PointsView<float>{positions, features}, ts::QuantizeOptions<3>(0.05F), exec);
  check(voxels.features.rows() == 3, "three places, 0.1 m apart");

  std::filesystem::remove_all(folder);
  if (!failed) { std::puts("ok"); }
  return failed ? 1 : 0;
}
