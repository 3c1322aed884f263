// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Points over voxels, and what the operations between them are by definition: matrices, written out on the host.

#include "../nn/tensors.hpp"
#include "../support/device.hpp"

#include <tessera/ops/point_voxel.hpp>

#include <limits>
#include <memory>
#include <vector>

namespace point_scenes {

using namespace tessera;

inline constexpr float nan_position = std::numeric_limits<float>::quiet_NaN();
inline constexpr float infinite = std::numeric_limits<float>::infinity();

/// Points and voxels on the host: what the definitions read.
template <int Dim>
struct Scene {
  std::vector<float> positions;  // [points, 1 + Dim]
  std::vector<Coordinate<Dim>> voxels;
  IntArray<Dim> stride = IntArray<Dim>(1);
  int num_batches = 1;

  [[nodiscard]] std::size_t num_points() const { return positions.size() / (1 + Dim); }
};

/// The cell of a point and where in it the point is; false where it has none.
template <int Dim>
bool locate(Scene<Dim> const& scene, std::size_t i, Coordinate<Dim>& cell, std::vector<float>& fraction)
{
  auto const* const row = scene.positions.data() + i * (1 + Dim);
  if (!(std::abs(row[0]) < 1e9F)) { return false; }
  cell.batch = static_cast<int>(row[0]);
  for (int a = 0; a < Dim; ++a) {
    float const position = row[1 + a] / static_cast<float>(scene.stride[a]);
    float const lower = std::floor(position);
    if (!(std::abs(lower) <= 1073741824.0F)) { return false; }
    cell.position[a] = static_cast<int>(lower);
    fraction[static_cast<std::size_t>(a)] = position - lower;
  }
  return true;
}

template <int Dim>
std::int32_t row_of(Scene<Dim> const& scene, Coordinate<Dim> const& c)
{
  for (std::size_t m = 0; m < scene.voxels.size(); ++m) {
    if (scene.voxels[m] == c) { return static_cast<std::int32_t>(m); }
  }
  return -1;
}

/// matrix[i][m]: how much of voxel m point i receives.
template <int Dim>
std::vector<std::vector<double>> interpolation_matrix(Scene<Dim> const& scene)
{
  std::vector<std::vector<double>> result(scene.num_points(), std::vector<double>(scene.voxels.size()));
  IntArray<Dim> const two(2);
  for (std::size_t i = 0; i < scene.num_points(); ++i) {
    Coordinate<Dim> cell;
    std::vector<float> fraction(Dim);
    if (!locate(scene, i, cell, fraction)) { continue; }
    double sum = 0;
    for (auto const& digits : test::kernel_digits(two)) {
      auto corner = cell;
      double weight = 1;
      for (int a = 0; a < Dim; ++a) {
        corner.position[a] += digits[a];
        double const f = fraction[static_cast<std::size_t>(a)];
        weight *= digits[a] == 1 ? f : 1 - f;
      }
      auto const row = row_of(scene, corner);
      if (row < 0) { continue; }
      result[i][static_cast<std::size_t>(row)] += weight;
      sum += weight;
    }
    for (auto& weight : result[i]) { weight /= sum + 1e-8; }
  }
  return result;
}

/// matrix[m][i]: how much of point i voxel m receives.
template <int Dim>
std::vector<std::vector<double>> mean_matrix(Scene<Dim> const& scene, bool misses_go_to_the_first)
{
  std::vector<std::vector<double>> result(scene.voxels.size(), std::vector<double>(scene.num_points()));
  std::vector<int> counts(scene.voxels.size());
  std::vector<std::int32_t> row(scene.num_points(), -1);
  for (std::size_t i = 0; i < scene.num_points(); ++i) {
    Coordinate<Dim> cell;
    std::vector<float> fraction(Dim);
    if (locate(scene, i, cell, fraction)) { row[i] = row_of(scene, cell); }
    if (row[i] < 0 && misses_go_to_the_first && !scene.voxels.empty()) { row[i] = 0; }
    if (row[i] >= 0) { ++counts[static_cast<std::size_t>(row[i])]; }
  }
  for (std::size_t i = 0; i < scene.num_points(); ++i) {
    if (row[i] < 0) { continue; }
    auto const m = static_cast<std::size_t>(row[i]);
    result[m][i] = 1.0 / counts[m];
  }
  return result;
}

using Dense = std::vector<std::vector<double>>;

inline Dense transposed(Dense const& matrix, std::size_t columns)
{
  Dense result(columns, std::vector<double>(matrix.size()));
  for (std::size_t r = 0; r < matrix.size(); ++r) {
    for (std::size_t c = 0; c < columns; ++c) { result[c][r] = matrix[r][c]; }
  }
  return result;
}

inline std::vector<double> multiply(Dense const& matrix, std::vector<double> const& features,
                                    std::size_t channels)
{
  std::vector<double> result;
  for (auto const& row : matrix) {
    for (std::size_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (std::size_t k = 0; k < row.size(); ++k) {
        if (row[k] != 0) { sum += row[k] * features[k * channels + c]; }
      }
      result.push_back(sum);
    }
  }
  return result;
}

/// `points` points over `voxels` voxels of a small grid: some points on borders, some in no voxel, some that are
/// not finite or far away. Batch entry 1 of 3 is empty.
template <int Dim>
Scene<Dim> random_scene(std::size_t points, std::size_t voxels, IntArray<Dim> const& stride, unsigned seed)
{
  std::mt19937 random{seed};
  auto const below = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)); };
  Scene<Dim> scene;
  scene.stride = stride;
  scene.num_batches = 3;
  int const extent = Dim == 1 ? 60 : 8 - Dim;
  std::vector<Coordinate<Dim>> all;
  for (std::size_t n = 0; n < 4 * voxels && all.size() < voxels; ++n) {
    Coordinate<Dim> c;
    c.batch = 2 * below(2);
    for (int a = 0; a < Dim; ++a) { c.position[a] = below(extent) - 2; }
    bool const known = std::find(all.begin(), all.end(), c) != all.end();
    if (!known) { all.push_back(c); }
  }
  scene.voxels = all;
  float const odd[] = {nan_position,   infinite, -infinite, 2147483648.0F,
                       -2147483648.0F, 1e30F,    3e9F,      1073741824.0F};
  for (std::size_t i = 0; i < points; ++i) {
    scene.positions.push_back(static_cast<float>(2 * below(2)));
    for (int a = 0; a < Dim; ++a) {
      float const steps = random() % 4 == 0 ? static_cast<float>(below(extent) - 2)
                                            : static_cast<float>(below(1000 * extent)) / 1000 - 2;
      scene.positions.push_back(random() % 40 == 0 ? odd[below(8)] : steps * static_cast<float>(stride[a]));
    }
    if (random() % 60 == 0) { scene.positions[scene.positions.size() - 1 - Dim] = odd[below(8)]; }
  }
  return scene;
}

inline std::vector<double> random_values(std::size_t count, unsigned seed)
{
  std::mt19937 random{seed};
  std::vector<double> result;
  for (std::size_t i = 0; i < count; ++i) {
    result.push_back(static_cast<double>(static_cast<int>(random() % 2001) - 1000) / 256);
  }
  return result;
}

template <class Scalar, class Space>
Matrix<Scalar, Space> matrix_of(std::vector<double> const& values, std::size_t columns,
                                Execution<Space> const& exec)
{
  auto const rows = static_cast<std::int64_t>(columns == 0 ? 0 : values.size() / columns);
  return {upload(test::rounded<Scalar>(values), exec), rows, static_cast<std::int64_t>(columns)};
}

template <class Scalar>
std::vector<double> values_held(std::vector<double> const& values)
{
  std::vector<double> result;
  for (auto const value : values) { result.push_back(test::wide(test::from_double<Scalar>(value))); }
  return result;
}

/// A scene in `Space`, with features on its points and its voxels.
template <int Dim, class Scalar, class Space>
struct Uploaded {
  PointTensor<Dim, Scalar, Space> points;
  SparseTensor<Dim, Scalar, Space> voxels;

  Uploaded(Scene<Dim> const& scene, std::vector<double> const& of_points,
           std::vector<double> const& of_voxels, std::size_t channels, Execution<Space> const& exec)
  {
    Matrix<float, Space> positions{upload(scene.positions, exec),
                                   static_cast<std::int64_t>(scene.num_points()), 1 + Dim};
    points = {std::make_shared<PointSet<Dim, Space>>(std::move(positions), scene.num_batches),
              matrix_of<Scalar>(of_points, channels, exec)};
    CoordinateSetOptions<Dim> options;
    options.tensor_stride = scene.stride;
    voxels = {make_coordinate_set(scene.voxels, options, exec), matrix_of<Scalar>(of_voxels, channels, exec)};
  }
};

template <class Scalar, class Space>
std::vector<Scalar> on_host(Matrix<Scalar, Space> const& matrix, Execution<Space> const& exec)
{
  return download(matrix.data(), matrix.size(), exec);
}

/// Every operation of a scene against its matrix, and gradients against the transposed matrix.
template <int Dim, class Scalar, class Space>
void check_scene(Scene<Dim> const& scene, std::size_t channels, Execution<Space> const& exec)
{
  auto const of_points = values_held<Scalar>(random_values(scene.num_points() * channels, 1));
  auto const of_voxels = values_held<Scalar>(random_values(scene.voxels.size() * channels, 2));
  Uploaded<Dim, Scalar, Space> const x{scene, of_points, of_voxels, channels, exec};
  auto const bound = std::max(test::rounding<Scalar>(), 2e-6) * 4;  // weights are float
  auto const set = x.voxels.coordinates();

  for (auto const compat : {Compatibility::none, Compatibility::torchsparse}) {
    CAPTURE(static_cast<int>(compat));
    auto const mean = mean_matrix(scene, compat == Compatibility::torchsparse);
    auto const y = point_to_voxel(x.points, set, exec, compat);
    test::check_close(y.features_on_host(exec), multiply(mean, of_points, channels), bound);
    auto const map = x.points.points()->map_to(set, PointCells::containing, compat, exec);
    CHECK(map == x.points.points()->map_to(set, PointCells::containing, compat, exec));
    auto const back = voxelize_features_backward<Scalar>(x.voxels.features(), *map, exec);
    test::check_close(on_host(back, exec),
                      multiply(transposed(mean, scene.num_points()), of_voxels, channels), bound);
  }
  auto const weights = interpolation_matrix(scene);
  auto const z = voxel_to_point(x.voxels, x.points, exec);
  CHECK(z.points() == x.points.points());
  test::check_close(z.features_on_host(exec), multiply(weights, of_voxels, channels), bound);
  auto const map = x.points.points()->map_to(set, PointCells::corners, Compatibility::none, exec);
  auto const back = devoxelize_features_backward<Scalar>(x.points.features(), *map, exec);
  test::check_close(on_host(back, exec),
                    multiply(transposed(weights, scene.voxels.size()), of_points, channels), bound);
  auto const again = devoxelize_features_backward<Scalar>(x.points.features(), *map, exec);
  CHECK(test::same_bits(on_host(back, exec), on_host(again, exec)));
}

template <int Dim, class Space>
void check_dimension(IntArray<Dim> const& stride, Execution<Space> const& exec)
{
  for (unsigned seed = 0; seed < 3; ++seed) {
    CAPTURE(Dim);
    CAPTURE(seed);
    auto const scene = random_scene<Dim>(150 + 100 * seed, 30 + 30 * seed, stride, 10 * seed + Dim);
    test::for_each_scalar([&](auto scalar) {
      using Scalar = decltype(scalar);
      check_scene<Dim, Scalar>(scene, 3, exec);
      check_scene<Dim, Scalar>(scene, 8, exec);
    });
  }
}

}  // namespace point_scenes
