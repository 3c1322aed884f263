// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Gradients by the records of the operations between points and voxels.

#include "gradient_check.hpp"
#include "point_scenes.hpp"

#include <type_traits>
#include <utility>
#include <vector>

using namespace point_scenes;

namespace {

constexpr std::size_t channels = 2;

/// backward() of the record of `run(exec)` for input number `input`, against finite differences of `loss`.
template <class Space, class Run, class Loss>
void check(Execution<Space> const& exec, std::size_t input, std::vector<double> const& values,
           std::vector<double> const& cotangent, Run const& run, Loss const& loss)
{
  auto const record = test::recorded(exec, run);
  CAPTURE(record->name());
  auto const found = test::input_gradients<double>(
      *record, upload_matrix(cotangent, static_cast<std::int64_t>(channels), exec), exec);
  test::check_close(found.at(input), test::finite_differences(values, loss, 1e-3), 1e-8);
}

template <int Dim, class Space>
void check_dim(IntArray<Dim> const& stride, Execution<Space> const& exec)
{
  CAPTURE(Dim);
  auto const scene = random_scene<Dim>(24, 12, stride, 7);
  auto const of_points = test::random_values(scene.num_points() * channels, 3);
  auto const of_voxels = test::random_values(scene.voxels.size() * channels, 4);
  using Both = Uploaded<Dim, double, Space>;
  Both const x{scene, of_points, of_voxels, channels, exec};

  for (auto const compat : {Compatibility::none, Compatibility::torchsparse}) {
    auto const to_voxels = [&](Both const& of, Execution<Space> const& e) {
      return point_to_voxel(of.points, of.voxels, e, compat);
    };
    check(
        exec, 0, of_points, of_voxels, [&](auto const& e) { return to_voxels(x, e); },
        [&](auto const& v) {
          return test::dot(to_voxels(Both{scene, v, of_voxels, channels, exec}, exec).features_on_host(exec),
                           of_voxels);
        });
    for (auto const interpolation : {Interpolation::multilinear, Interpolation::nearest}) {
      auto const to_points = [&](Both const& of, Execution<Space> const& e) {
        return voxel_to_point(of.voxels, of.points, e, interpolation, compat);
      };
      check(
          exec, 0, of_voxels, of_points, [&](auto const& e) { return to_points(x, e); },
          [&](auto const& v) {
            return test::dot(
                to_points(Both{scene, of_points, v, channels, exec}, exec).features_on_host(exec), of_points);
          });
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("gradients: points and voxels agree with finite differences in one to four dimensions",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  check_dim<1>({1}, exec);
  check_dim<2>({2, 3}, exec);
  check_dim<3>(IntArray<3>(2), exec);
  check_dim<4>(IntArray<4>(1), exec);
}

TEST_CASE_TEMPLATE("gradients: a sum of point tensors and the points of voxels hand theirs on", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const scene = random_scene<3>(9, 7, IntArray<3>(1), 7);
  auto const of_points = test::random_values(scene.num_points() * channels, 3);
  auto const of_voxels = test::random_values(scene.voxels.size() * channels, 4);
  Uploaded<3, double, Space> const x{scene, of_points, of_voxels, channels, exec};
  auto const b = x.points.with_features(upload_matrix(of_points, channels, exec));
  auto const gradients = [&](auto const& run, std::vector<double> const& cotangent) {
    auto const record = test::recorded(exec, run);
    return test::input_gradients<double>(*record, upload_matrix(cotangent, channels, exec), exec);
  };
  auto const of_sum = gradients([&](auto const& e) { return add(x.points, b, e); }, of_points);
  CHECK(of_sum.at(0) == of_points);
  CHECK(of_sum.at(1) == of_points);
  auto const twice = gradients([&](auto const& e) { return add(b, b, e); }, of_points);
  for (std::size_t i = 0; i < of_points.size(); ++i) { CHECK(twice.at(0)[i] == 2 * of_points[i]); }
  CHECK(gradients([&](auto const& e) { return points_of_voxels(x.voxels, e); }, of_voxels).at(0) ==
        of_voxels);
}

TEST_CASE_TEMPLATE("gradients: initial_voxelize() adds those of its voxels and of its points", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto scene = random_scene<3>(40, 0, IntArray<3>(1), 11);
  for (auto& number : scene.positions) {
    if (std::abs(number) > 1e8F) { number = nan_position; }  // beyond 2^30 is an error
  }
  auto const of_points = test::random_values(scene.num_points() * channels, 5);
  Uploaded<3, double, Space> const x{scene, of_points, {}, channels, exec};
  test::RecordList<Space> list;
  auto const made = initial_voxelize(x.points, 0.3F, 0.2F, exec.with_recorder(list));
  REQUIRE(list.records.size() == 1);
  auto const& record = *list.records[0];
  CHECK(record.has_backward());
  auto const of_voxels = test::random_values(static_cast<std::size_t>(made.voxels.features().size()), 6);
  auto const loss = [&](bool by_points, bool by_voxels) {
    return [&, by_points, by_voxels](std::vector<double> const& v) {
      Uploaded<3, double, Space> const other{scene, v, {}, channels, exec};
      auto const result = initial_voxelize(other.points, 0.3F, 0.2F, exec);
      double sum = 0;
      if (by_points) { sum += test::dot(result.points.features_on_host(exec), of_points); }
      if (by_voxels) { sum += test::dot(result.voxels.features_on_host(exec), of_voxels); }
      return sum;
    };
  };
  for (int const reached : {1, 2, 3}) {
    CAPTURE(reached);
    bool const by_points = (reached & 1) != 0;
    bool const by_voxels = (reached & 2) != 0;
    test::FilledGradients<Space> gradients;
    gradients.want(x.points.id());
    if (by_points) { gradients.reach(made.points.id(), upload_matrix(of_points, channels, exec)); }
    if (by_voxels) { gradients.reach(made.voxels.id(), upload_matrix(of_voxels, channels, exec)); }
    test::run_backward(record, gradients, exec);
    test::check_close(gradients.template on_host<double>(x.points.id(), exec),
                      test::finite_differences(of_points, loss(by_points, by_voxels), 1e-3), 1e-8);
  }
}

TEST_CASE_TEMPLATE("gradients: no points and no voxels are legal", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const of_points = test::random_values(6 * channels, 3);
  auto const of_voxels = test::random_values(5 * channels, 4);
  for (bool const has_points : {false, true}) {
    Scene<3> scene;
    if (has_points) { scene.positions.assign(6 * 4, 0.5F); }
    for (int i = 0; !has_points && i < 5; ++i) { scene.voxels.push_back({0, {i, 0, 0}}); }
    Uploaded<3, double, Space> const x{scene, has_points ? of_points : std::vector<double>{},
                                       has_points ? std::vector<double>{} : of_voxels, channels, exec};
    auto const gradient = [&](auto const& run, std::vector<double> const& cotangent) {
      auto const record = test::recorded(exec, run);
      return test::input_gradients<double>(*record, upload_matrix(cotangent, channels, exec), exec).at(0);
    };
    auto const none = std::vector<double>{};
    CHECK(gradient([&](auto const& e) { return point_to_voxel(x.points, x.voxels, e); },
                   has_points ? none : of_voxels) == std::vector<double>(has_points ? 12 : 0, 0.0));
    CHECK(gradient([&](auto const& e) { return voxel_to_point(x.voxels, x.points, e); },
                   has_points ? of_points : none) == std::vector<double>(has_points ? 0 : 10, 0.0));
  }
}
