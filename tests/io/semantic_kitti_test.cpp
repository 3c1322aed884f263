// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "../support/files.hpp"

#include <tessera/data/loader.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/io/semantic_kitti.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace tessera;
namespace fs = std::filesystem;

namespace {

template <class T>
void write_values(fs::path const& path, std::vector<T> const& values)
{
  fs::create_directories(path.parent_path());
  std::vector<char> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) { std::memcpy(bytes.data(), values.data(), bytes.size()); }
  test::write_bytes(path.string(), bytes);
}

/// A scan of `points` points, whose intensity is `mark`; with labels where there are some.
void write_scan(fs::path const& sequence, std::string const& name, float mark,
                std::vector<std::uint32_t> const& labels, std::size_t points)
{
  std::vector<float> rows;
  for (std::size_t i = 0; i < points; ++i) { rows.insert(rows.end(), {static_cast<float>(i), 1, 2, mark}); }
  write_values(sequence / "velodyne" / (name + ".bin"), rows);
  if (!labels.empty()) { write_values(sequence / "labels" / (name + ".label"), labels); }
}

}  // namespace

TEST_CASE("SemanticKITTI: every number of a label file is the class that the published map has")
{
  // learning_map of semantic-kitti.yaml
  std::map<std::uint32_t, int> const learning_map{
      {0, 0},   {1, 0},   {10, 1},  {11, 2},  {13, 5},  {15, 3},  {16, 5},  {18, 4},  {20, 5},
      {30, 6},  {31, 7},  {32, 8},  {40, 9},  {44, 10}, {48, 11}, {49, 12}, {50, 13}, {51, 14},
      {52, 0},  {60, 9},  {70, 15}, {71, 16}, {72, 17}, {80, 18}, {81, 19}, {99, 0},  {252, 1},
      {253, 7}, {254, 6}, {255, 8}, {256, 5}, {257, 5}, {258, 4}, {259, 5}};
  for (std::uint32_t id = 0; id <= 0xffff; ++id) {
    auto const found = learning_map.find(id);
    int const expected = found == learning_map.end() ? no_semantic_kitti_class : found->second - 1;
    if (semantic_kitti_class(id) != expected) { FAIL_CHECK("label " << id); }
  }
  for (std::size_t c = 0; c < semantic_kitti_classes.size(); ++c) {
    CHECK(semantic_kitti_class(semantic_kitti_classes[c].id) == static_cast<int>(c));
  }
  CHECK(std::string{semantic_kitti_classes[0].name} == "car");
  CHECK(std::string{semantic_kitti_classes[8].name} == "road");
  CHECK(std::string{semantic_kitti_classes[18].name} == "traffic-sign");
}

TEST_CASE("SemanticKITTI: splits are the published ones, each sequence in one of them")
{
  std::vector<int> all;
  for (auto const split : {SemanticKittiSplit::train, SemanticKittiSplit::valid, SemanticKittiSplit::test}) {
    for (int const sequence : sequences_of(split)) { all.push_back(sequence); }
  }
  std::sort(all.begin(), all.end());
  REQUIRE(all.size() == 22);
  for (int i = 0; i < 22; ++i) { CHECK(all[static_cast<std::size_t>(i)] == i); }
  CHECK(sequences_of(SemanticKittiSplit::valid) == std::vector<int>{8});
}

TEST_CASE("SemanticKITTI: scans are in order, with classes and instances of their points")
{
  test::TempDir const folder;
  fs::path const root{folder / "dataset"};
  auto const sequences = root / "sequences";
  write_scan(sequences / "00", "000001", 0.25F, {40, 252 | 7U << 16U, 0}, 3);
  write_scan(sequences / "00", "000000", 0.5F, {81, 99}, 2);
  write_scan(sequences / "10", "000000", 0.75F, {60}, 1);
  write_scan(sequences / "08", "000000", 1.0F, {10}, 1);
  write_scan(sequences / "11", "000000", 0.125F, {}, 4);
  write_values(sequences / "00" / "velodyne" / "notes.txt", std::vector<char>{'x'});

  SemanticKitti const train{root.string(), SemanticKittiSplit::train};
  REQUIRE(train.size() == 3);
  CHECK(test::has(train.path(0), "00/velodyne/000000.bin"));
  auto const first = train.load(0);
  CHECK(first.features == std::vector<float>{0.5F, 0.5F});
  CHECK(first.feature_names == std::vector<std::string>{"intensity"});
  CHECK(first.labels == std::vector<std::int32_t>{18, -1});
  CHECK(train.load(1).labels == std::vector<std::int32_t>{8, 0, -1});
  CHECK(train.load(2).labels == std::vector<std::int32_t>{8});
  auto const labels = read_semantic_kitti_labels((sequences / "00" / "labels" / "000001.label").string());
  CHECK(labels.instances == std::vector<std::uint16_t>{0, 7, 0});

  CHECK(SemanticKitti(root.string(), SemanticKittiSplit::valid).load(0).labels ==
        std::vector<std::int32_t>{0});
  SemanticKitti const test_scans{root.string(), SemanticKittiSplit::test};
  CHECK(test_scans.load(0).size() == 4);
  CHECK(!test_scans.load(0).has_labels());
  CHECK(SemanticKitti::num_classes() == 19);

  auto loader = make_loader(train, ScanOrder(train.size()).shuffle(), {2, 2, 1});
  std::size_t points = 0;
  while (auto const scan = loader.next()) { points += scan->labels.size(); }
  CHECK(points == 6);
}

TEST_CASE("SemanticKITTI: damaged and missing files are named")
{
  test::TempDir const folder;
  fs::path const root{folder / "dataset"};
  CHECK(test::has(test::error_of([&] {
                    SemanticKitti{root.string(), SemanticKittiSplit::train};
                  }),
                  "no scan of the sequences [0, 1, 2"));
  auto const sequence = root / "sequences" / "08";
  write_scan(sequence, "000000", 1, {10, 10}, 3);
  write_scan(sequence, "000001", 1, {10, 9}, 2);
  write_scan(sequence, "000002", 1, {}, 2);
  write_scan(sequence, "000003", 1, {10}, 1);
  write_values(sequence / "labels" / "000003.label", std::vector<char>{1, 2, 3});
  SemanticKitti const scans{root.string(), std::vector<int>{8, 9}};
  auto const error_of = [&](std::int64_t i) {
    return test::error_of([&] { static_cast<void>(scans.load(i)); });
  };
  CHECK(test::has(error_of(0), "000000.label: holds 2 labels, but the scan has 3 points"));
  CHECK(test::has(error_of(1), "000001.label: point 1 has the label 9, which is none of SemanticKITTI's"));
  CHECK(test::has(error_of(2), "000002.label: cannot be opened"));
  CHECK(test::has(error_of(3), "000003.label: holds 3 bytes"));
  CHECK(error_of(4) == "SemanticKitti: scan 4 of 4");
  CHECK(error_of(-1) == "SemanticKitti: scan -1 of 4");
}

#ifdef __unix__
TEST_CASE("SemanticKITTI: a pipe among the scans or labels is refused by name, not waited for")
{
  test::TempDir const folder;
  fs::path const root{folder / "dataset"};
  auto const sequence = root / "sequences" / "08";
  write_scan(sequence, "000000", 1, {10}, 1);
  write_scan(sequence, "000001", 1, {10}, 1);
  auto const points = (sequence / "velodyne" / "000000.bin").string();
  auto const labels = (sequence / "labels" / "000001.label").string();
  SemanticKitti const scans{root.string(), SemanticKittiSplit::valid};
  // what reading says where `path` is a pipe; who opens it waits until its other end closes, not for good
  auto const error_of = [](std::string const& path, auto const& read) {
    fs::remove(path);
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    int const end = ::open(path.c_str(), O_RDWR);
    REQUIRE(end >= 0);
    std::thread closer{[&] {
      std::this_thread::sleep_for(std::chrono::milliseconds{200});
      ::close(end);
    }};
    auto const error = test::error_of(read);
    closer.join();
    return error;
  };
  CHECK(error_of(points, [&] { static_cast<void>(scans.load(0)); }) ==
        "SemanticKitti: " + points + ": is not a regular file");
  CHECK(error_of(labels, [&] { static_cast<void>(scans.load(1)); }) ==
        "SemanticKitti: " + labels + ": is not a regular file");
  PointReadOptions options;
  options.format = PointFormat::kitti;
  options.pipes = false;
  CHECK(error_of(points, [&] { static_cast<void>(read_point_cloud(points, options)); }) ==
        "read_point_cloud: " + points + ": is not a regular file");
}
#endif
