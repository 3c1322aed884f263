// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/small.hpp"
#include "batch_cases.hpp"

#include <tessera/coords/collate.hpp>
#include <tessera/coords/combine_sets.hpp>
#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/coords/voxelize.hpp>
#include <tessera/tensor/collate.hpp>

#ifdef __CUDACC__
#include <tessera/coords/detail/hard_voxels_device.cuh>
#endif

#include <algorithm>
#include <cstring>

using namespace tessera;
using namespace batch_cases;

TEST_CASE_TEMPLATE("batch of points: hard voxels are those of scan after scan, caps of each included", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  unsigned seed = 1;
  for (auto const& sizes : cloud_sizes) {
    for (int const max_voxels : {3, 90, 100000}) {
      for (float const size : {0.9F, 0.001F}) {  // few cells, and keys of 64 bits
        ++seed;
        if (test::few_cases() && (max_voxels != 90 || sizes.size() != 4)) { continue; }
        CAPTURE(seed);
        CAPTURE(max_voxels);
        auto const clouds = random_clouds(seed, sizes);
        auto options = grid_of(size).points_per_voxel(3).voxels(max_voxels);
        options.order(seed % 2 == 0 ? AxisOrder::zyx : AxisOrder::xyz);
        auto const expected = hard_one_by_one(clouds, options, exec);
        for (bool const by_offsets : {true, false}) {
          CAPTURE(by_offsets);
          auto const batch = make_batch(clouds, !by_offsets, exec);
          auto const found = hard_voxelize(batch.view(by_offsets), options, exec, {true, true});
          expect_set(*found.coordinates, expected, exec);
          CHECK(same_bits(values_of(found.mean, exec), expected.features));
          CHECK(same_bits(values_of(found.points, exec), expected.points));
          CHECK(download(found.num_points, exec) == expected.num_points);
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("batch of points: hard voxels of a fixed capacity are the same, zeros behind them", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const clouds = random_clouds(5, {300, 0, 800});
  auto const options = grid_of(0.9F).voxels(120).capacity({});
  auto const expected = hard_one_by_one(clouds, options, exec);
  for (bool const by_offsets : {true, false}) {
    auto const batch = make_batch(clouds, !by_offsets, exec);
    auto const found = hard_voxelize(batch.view(by_offsets), options, exec);
    CHECK(found.coordinates->capacity() == 3 * 120);
    expect_set(*found.coordinates, expected, exec);
    auto mean = values_of(found.mean, exec);
    auto const used = static_cast<std::ptrdiff_t>(expected.features.size());
    CHECK(std::count(mean.begin() + used, mean.end(), 0.0F) == mean.end() - (mean.begin() + used));
    mean.resize(expected.features.size());
    CHECK(same_bits(mean, expected.features));
  }
}

TEST_CASE_TEMPLATE("batch of points: dynamic voxels and quantized ones are those of scan after scan", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  unsigned seed = 50;
  for (auto const& sizes : cloud_sizes) {
    CAPTURE(++seed);
    if (test::few_cases() && sizes.size() != 4) { continue; }
    auto const clouds = random_clouds(seed, sizes);
    for (auto const features : {VoxelFeatures::mean, VoxelFeatures::maximum}) {
      for (bool const with_shape : {false, true}) {
        auto options = grid_of(0.9F);
        if (with_shape) { options.shape({40, 30, 20}); }
        expect_quantized(
            clouds, [&](auto const& points) { return dynamic_voxelize(points, options, features, exec); },
            exec);
      }
    }
    for (auto const origin : {GridOrigin::fixed, GridOrigin::lowest_point, GridOrigin::lowest_voxel}) {
      for (bool const with_grid : {false, true}) {
        auto options = QuantizeOptions<3>(0.7F).origin(origin).features(VoxelFeatures::sum);
        if (with_grid) { options.grid(6); }
        expect_quantized(
            clouds, [&](auto const& points) { return sparse_quantize(points, options, exec); }, exec);
      }
    }
  }
}

TEST_CASE_TEMPLATE(
    "batch of points: voxels in fixed room are those of exact room, and wrong offsets are reported", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const batch = make_batch(random_clouds(70, {300, 0, 500, 1}), false, exec);
  VoxelRoom<3> room;
  room.max_voxels = 900;
  room.box = CoordinateBox<3>{4, IntArray<3>(-20), IntArray<3>(20)};
  for (auto const origin : {GridOrigin::fixed, GridOrigin::lowest_voxel}) {
    auto const options = QuantizeOptions<3>(0.7F).origin(origin).features(VoxelFeatures::mean);
    auto const exact = sparse_quantize(batch.view(true), options, exec);
    auto const fixed = sparse_quantize(batch.view(true), options, room, exec);
    fixed.coordinates->check(exec);
    CHECK_FALSE(fixed.coordinates->only_entry());
    auto const count = exact.num_voxels();
    CHECK(fixed.coordinates->num_rows() == count);
    CHECK(download(fixed.coordinates->data(), count, exec) ==
          download(exact.coordinates->data(), count, exec));
    CHECK(same_bits(download(fixed.features.data(), exact.features.size(), exec),
                    values_of(exact.features, exec)));
    CHECK(download(fixed.inverse, exec) == download(exact.inverse, exec));
    auto const wrong = upload(std::vector<std::int32_t>{0, 300, 200, 800, 801}, exec);
    auto points = batch.view(true);
    points.offsets = wrong.data();
    CHECK(test::has(
        test::error_of([&] { sparse_quantize(points, options, room, exec).coordinates->check(exec); }),
        "offsets that do not ascend"));
  }
}

TEST_CASE_TEMPLATE("batch of points: offsets that do not fit and points of no scan are told by number", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const clouds = random_clouds(2, {600, 700, 5});
  auto const batch = make_batch(clouds, false, exec);
  auto const options = grid_of(0.9F);
  auto const errors = [&](PointsView<float> const& points) {
    auto const hard = test::error_of([&] { static_cast<void>(hard_voxelize(points, options, exec)); });
    auto const quantized =
        test::error_of([&] { static_cast<void>(sparse_quantize(points, QuantizeOptions<3>(1.0F), exec)); });
    auto const dynamic = test::error_of(
        [&] { static_cast<void>(dynamic_voxelize(points, options, VoxelFeatures::mean, exec)); });
    auto const fixed = test::error_of([&] {
      auto roomy = options;
      hard_voxelize(points, roomy.capacity({}), exec).coordinates->check(exec);
    });
    CHECK((fixed.empty() || test::has(fixed, "belong to none of the clouds") || fixed == hard));
    CHECK(fixed.empty() == hard.empty());
    auto const behind = hard.substr(std::min(hard.size(), hard.find(": ")));
    CHECK(quantized == (hard.empty() ? "" : "sparse_quantize" + behind));
    CHECK(dynamic == (hard.empty() ? "" : "dynamic_voxelize" + behind));
    return hard;
  };
  CHECK(errors(batch.view(true)).empty());
  CHECK_FALSE(hard_voxelize(batch.view(true), options, exec).coordinates->only_entry());
  CHECK(errors(batch.view(false)).empty());
  auto const with_offsets = [&](std::vector<std::int32_t> const& offsets) {
    auto const there = upload(offsets, exec);
    auto points = batch.view(true);
    points.offsets = there.data();
    return errors(points);
  };
  CHECK(with_offsets({0, 600, 1300, 1304}) ==
        "hard_voxelize: offset 3 is 1304; the 3 + 1 offsets must ascend from 0 to the 1305 points");
  CHECK(test::has(with_offsets({1, 600, 1300, 1305}), "offset 0 is 1;"));
  CHECK(test::has(with_offsets({0, 1300, 600, 1305}), "offset 2 is 600;"));
  CHECK(test::has(with_offsets({0, 1305, 0, 1305}), "offset 2 is 0;"));
  CHECK(test::has(with_offsets({0, INT_MAX, INT_MAX, 1305}), "offset 3 is 1305;"));
  CHECK(test::has(with_offsets({0, -5, 10, 1305}), "offset 1 is -5;"));
  CHECK(with_offsets({0, 0, 1305, 1305}).empty());
  for (std::int32_t const stray : {3, -1, INT_MAX, INT_MIN}) {
    std::vector<std::int32_t> of_points(1305, 1);
    of_points[700] = of_points[900] = stray;
    auto const there = upload(of_points, exec);
    auto points = batch.view(false);
    points.batch = there.data();
    CHECK(errors(points) == detail::concat("hard_voxelize: point 700 belongs to cloud ", stray, " of 3"));
  }
  auto both = batch.view(true);
  both.batch = batch.batch.data();
  CHECK(test::has(errors(both), "by the cloud of each point or by offsets, not by both"));
  auto unnumbered = batch.view(true);
  unnumbered.num_batches = 0;
  CHECK(test::has(errors(unnumbered), "num_batches must be given"));
}

TEST_CASE_TEMPLATE("batch of points: scans voxelized as entries stay these entries when they are collated",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const clouds = random_clouds(9, {40, 50, 0, 60});
  auto const make = [&](int way, std::size_t cloud, int entry) {
    auto const rows = upload_matrix(clouds[cloud], columns, exec);
    auto points = interleaved_points(rows);
    points.batch_entry = entry;
    auto set = way == 0 ? hard_voxelize(rows, grid_of(0.5F), exec, entry).coordinates
               : way == 1
                   ? dynamic_voxelize(rows, grid_of(0.5F), VoxelFeatures::mean, exec, entry).coordinates
                   : sparse_quantize(points, QuantizeOptions<3>(0.5F), exec).coordinates;
    CHECK(set->only_entry() == entry);
    CHECK(set->num_batches() == entry + 1);
    std::vector<float> const ones(static_cast<std::size_t>(set->num_rows()), 1.0F);
    return SparseTensor<3, float, Space>{set, upload_matrix(ones, 1, exec)};
  };
  auto const entries_of = [&](SparseTensor<3, float, Space> const& x) {
    std::vector<int> entries;
    for (auto const& row : download(x.coordinates()->data(), x.num_rows(), exec)) {
      if (entries.empty() || entries.back() != row.batch) { entries.push_back(row.batch); }
    }
    x.coordinates()->check(exec);
    return entries;
  };
  using Entries = std::vector<int>;
  for (int way = 0; way < 3; ++way) {
    CAPTURE(way);
    auto const in_order =
        sparse_collate<3, float, Space>({make(way, 0, 0), make(way, 1, 1), make(way, 3, 2)}, exec);
    CHECK(entries_of(in_order) == Entries{0, 1, 2});
    CHECK(in_order.coordinates()->num_batches() == 3);
    auto const shuffled =
        sparse_collate<3, float, Space>({make(way, 0, 2), make(way, 1, 0), make(way, 3, 1)}, exec);
    CHECK(entries_of(shuffled) == Entries{2, 0, 1});
    CHECK(shuffled.coordinates()->num_batches() == 3);
    auto const with_gap = sparse_collate<3, float, Space>({make(way, 0, 1), make(way, 1, 4)}, exec);
    CHECK(entries_of(with_gap) == Entries{1, 4});
    CHECK(with_gap.coordinates()->num_batches() == 5);
    auto const unnumbered =
        sparse_collate<3, float, Space>({make(way, 0, 0), make(way, 1, 0), make(way, 3, 0)}, exec);
    CHECK(entries_of(unnumbered) == Entries{0, 1, 2});
    CHECK(unnumbered.coordinates()->num_batches() == 3);
    auto const with_empty =
        sparse_collate<3, float, Space>({make(way, 0, 0), make(way, 2, 1), make(way, 3, 2)}, exec);
    CHECK(entries_of(with_empty) == Entries{0, 2});
    CHECK(with_empty.coordinates()->num_batches() == 3);
    // batches of batches: entries that are free are kept, else they follow
    auto const more = sparse_collate<3, float, Space>({in_order, make(way, 1, 3)}, exec);
    CHECK(entries_of(more) == Entries{0, 1, 2, 3});
    CHECK(more.coordinates()->num_batches() == 4);
    auto const twice = sparse_collate<3, float, Space>({in_order, shuffled, make(way, 1, 0)}, exec);
    CHECK(entries_of(twice) == Entries{0, 1, 2, 5, 3, 4, 6});
    CHECK(twice.coordinates()->num_batches() == 7);
    if (way < 2) { CHECK(twice.coordinates()->spatial_range()->batches == 7); }
    CHECK(sparse_collate<3, float, Space>({make(way, 1, 4)}, exec).coordinates()->only_entry() == 4);
  }
}

TEST_CASE_TEMPLATE("batch of points: rows with gaps, in columns and of messages are voxelized where they are",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const cloud = random_clouds(3, {900})[0];
  auto const n = points_of(cloud);
  auto const plain = upload_matrix(cloud, columns, exec);
  // a message: 8 bytes of something, x, y, z, 4 bytes of something, two features, 12 bytes of something
  constexpr std::int64_t point_step = 48;
  std::vector<float> message(static_cast<std::size_t>(n * point_step) / 4, -77);
  std::vector<float> by_columns(cloud.size());
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t c = 0; c < columns; ++c) {
      auto const value = cloud[static_cast<std::size_t>(i * columns + c)];
      message[static_cast<std::size_t>(i * point_step / 4 + 2 + c + (c >= 3 ? 1 : 0))] = value;
      by_columns[static_cast<std::size_t>(c * n + i)] = value;
    }
  }
  auto const bytes = upload(message, exec);
  auto const turned = upload(by_columns, exec);
  PointsView<float> of_message;
  of_message.positions = rows_at<float>(bytes.data() + 2, n, 3, point_step);
  of_message.features = rows_at<float>(bytes.data() + 6, n, 2, point_step);
  auto const of_columns = interleaved_points(columns_at(turned.data(), n, columns));

  auto const options = grid_of(0.9F).points_per_voxel(4);
  auto const hard = hard_voxelize(plain, options, exec, 0, {true, true});
  auto const dynamic = dynamic_voxelize(plain, options, VoxelFeatures::mean, exec);
  auto const quantized = sparse_quantize(interleaved_points(plain), QuantizeOptions<3>(0.7F), exec);
  for (auto const& points : {of_message, of_columns}) {
    auto const other_hard = hard_voxelize(points, options, exec, {true, true});
    CHECK(same_voxels(hard.coordinates, other_hard.coordinates, exec));
    CHECK(same_bits(values_of(hard.mean, exec), values_of(other_hard.mean, exec)));
    CHECK(same_bits(values_of(hard.points, exec), values_of(other_hard.points, exec)));
    auto const other_dynamic = dynamic_voxelize(points, options, VoxelFeatures::mean, exec);
    CHECK(same_bits(values_of(dynamic.features, exec), values_of(other_dynamic.features, exec)));
    CHECK(download(dynamic.inverse, exec) == download(other_dynamic.inverse, exec));
    auto const other_quantized = sparse_quantize(points, QuantizeOptions<3>(0.7F), exec);
    CHECK(same_bits(values_of(quantized.features, exec), values_of(other_quantized.features, exec)));
    CHECK(download(quantized.inverse, exec) == download(other_quantized.inverse, exec));
  }
  CHECK(hard_voxelize(columns_at(turned.data(), n, columns), options, exec).num_voxels() ==
        hard.num_voxels());
}

TEST_CASE("batch of points: invalid views are refused, with what to do")
{
  Execution<Host> const exec{};
  std::vector<float> const values(64);
  auto const error = [&](auto const& make) { return test::error_of([&] { static_cast<void>(make()); }); };
  CHECK(error([&] { return rows_at<float>(values.data(), 3, 3, 18); }) ==
        "rows_at: rows of 18 bytes are no whole number of elements of 4 bytes; copy the points");
  CHECK(error([&] { return rows_at<float>(values.data(), 3, 4, 12); }) ==
        "rows_at: rows of 12 bytes do not hold 4 elements of 4 bytes");
  CHECK(test::has(
      error([&] { return rows_at<float>(reinterpret_cast<char const*>(values.data()) + 2, 3, 3, 16); }),
      "is not aligned to its 4 bytes; copy the points"));
  CHECK(error([&] { return rows_at<float>(values.data(), 3, 3, -16); }).find("rows of -16 bytes") !=
        std::string::npos);
  CHECK(error([&] { return columns_at(values.data(), 10, 3, 9); }) ==
        "columns_at: columns of 10 rows do not fit 9 elements");
  auto const quantize_error = [&](StridedView<float const> const& positions) {
    return error(
        [&] { return sparse_quantize(PointsView<float>{positions}, QuantizeOptions<3>(1.0F), exec); });
  };
  CHECK(quantize_error(rows_at<float>(values.data(), 4, 3, 64)).empty());
  CHECK(quantize_error({values.data(), 4, 3, 0}).empty());  // one point again and again
  CHECK(quantize_error({}) == "sparse_quantize: positions have 0 columns, not 3");
  CHECK(quantize_error({nullptr, 4, 3}) ==
        "sparse_quantize: positions of 4 rows and 3 columns at a null pointer");
  CHECK(quantize_error({nullptr, 0, 3}).empty());
  CHECK(test::has(quantize_error({values.data(), -1, 3}), "positions of -1 rows and 3 columns"));
  CHECK(test::has(quantize_error({values.data(), 4, 3, INT64_MAX}), "cannot be in memory"));
  CHECK(test::has(quantize_error({values.data(), INT64_MAX / 2, 3}), "cannot be in memory"));
  CHECK(error([&] {
          return interleaved_points({values.data(), 4, 2});
        }) == "interleaved_points: points have 2 columns; the first 3 are the position");
}

TEST_CASE("batch of points: a far batch entry is refused before memory is taken for those before it")
{
  Execution<Host> const exec{};
  std::vector<float> const values{1, 2, 3};
  MatrixView<float const> const one{values.data(), 1, 3};
  auto const error = [&](int entry, int batches) {
    PointsView<float> points{one};
    points.batch_entry = entry;
    points.num_batches = batches;
    auto const options = QuantizeOptions<3>(1.0F).origin(GridOrigin::lowest_point);
    auto const quantized = test::error_of([&] { static_cast<void>(sparse_quantize(points, options, exec)); });
    auto const hard = test::error_of([&] { static_cast<void>(hard_voxelize(points, grid_of(1), exec)); });
    CHECK(quantized.empty() == hard.empty());
    return quantized;
  };
  CHECK(error(1 << 30, 0) ==
        "sparse_quantize: batch entries up to 1073741824 for 1 rows; entries up to 131071 are supported here "
        "(131,072 of them, or four for each row)");
  CHECK(test::has(error(0, INT_MAX), "batch entries up to 2147483646"));
  CHECK(error(INT_MAX, 0) == "sparse_quantize: batch entry 2147483647");
  CHECK(error(-1, 0) == "sparse_quantize: batch entry -1");
  CHECK(test::has(error(131072, 0), "batch entries up to 131072"));
  CHECK(error(131071, 0).empty());
}
