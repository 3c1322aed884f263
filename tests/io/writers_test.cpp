// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What is written is the same in every locale, and whole or not there when memory runs out.

#include "../support/allocations.hpp"
#include "../support/files.hpp"

#include <tessera/io/convert.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/io/trace_file.hpp>
#include <tessera/io/tuning_file.hpp>

#include <doctest/doctest.h>

#include <clocale>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <locale>
#include <sstream>
#include <string>
#include <vector>

using namespace tessera;

namespace {

/// What a program of a desktop may set: digits in groups, a comma for the point, words for truth values.
class Desktop : public std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
  std::string do_truename() const override { return "ja"; }
  std::string do_falsename() const override { return "nein"; }
};

PointCloud cloud_of(std::size_t points, bool with_origin)
{
  PointCloud cloud;
  cloud.channels = 2;
  for (std::size_t i = 0; i < points; ++i) {
    auto const value = static_cast<float>(i);
    cloud.positions.insert(cloud.positions.end(), {1234.5F + value, 0.001F * value, -1e7F});
    cloud.features.insert(cloud.features.end(), {1e6F * value, 0.5F});
    cloud.labels.push_back(static_cast<std::int32_t>(1000 * i));
  }
  if (with_origin) { cloud.origin = {4841948, 627285, 0.5}; }
  return cloud;
}

nn::Tuning tuning_of(int channels)
{
  nn::Tuning tuning;
  tuning.device = "a device";
  tuning.compute_capability = 1090;
  tuning.version = "1.2.3";
  tuning.scalar = "float32";
  tuning.seconds = 1234.5;
  tuning.not_run = {"a", "b"};
  nn::TunedGroup group;
  group.group.in_channels = channels;
  group.group.out_channels = 4 * channels;
  group.group.kernel_size = {3, 3, 3};
  group.group.stride = {1, 1, 1};
  group.group.dilation = {1, 1, 1};
  group.group.tensor_stride = {1024, 1024, 1024};
  group.seconds = 0.0012345;
  group.layers = {"stage1.net"};
  tuning.groups = {group, group};
  return tuning;
}

nn::Profile profile_of(std::int64_t rows)
{
  nn::Profile profile;
  profile.device = "a device";
  for (int i = 0; i < 5; ++i) {
    nn::ProfiledOperation operation;
    operation.name = "convolution";
    operation.layer = "stage1.net";
    operation.work.rows = rows;
    operation.work.pairs = 27 * rows;
    operation.work.in_channels = 1024;
    operation.seconds = 1.2345;
    operation.floor_seconds = 0.0012345;
    profile.operations.push_back(operation);
  }
  return profile;
}

/// A writer of files, by the name of what it writes.
struct Writer {
  char const* name;
  std::function<void(std::string const& path)> write;
};

std::vector<Writer> writers(std::size_t points)
{
  std::vector<Writer> all;
  for (auto const format :
       {PlyFormat::ascii, PlyFormat::binary_little_endian, PlyFormat::binary_big_endian}) {
    for (bool const with_origin : {false, true}) {
      auto const cloud = cloud_of(points, with_origin);
      std::vector<std::uint8_t> const colors(3 * points, 200);
      all.push_back({"ply", [=](std::string const& path) { write_ply(path, cloud, {format, colors}); }});
    }
  }
  auto const cloud = cloud_of(points, false);
  auto const floats = cloud.positions;
  auto const rows = static_cast<std::int64_t>(points);
  all.push_back({"bin", [=](std::string const& path) { write_point_bin(path, cloud); }});
  all.push_back({"npy", [=](std::string const& path) { write_npy(path, raw_tensor(floats, {rows, 3})); }});
  all.push_back({"safetensors", [=](std::string const& path) {
                   write_safetensors(path, {{"a.weight", raw_tensor(floats, {rows, 3})}},
                                     {{"count", detail::concat(rows)}});
                 }});
  all.push_back({"tuning", [](std::string const& path) { io::save_tuning(path, tuning_of(2048)); }});
  all.push_back({"trace", [=](std::string const& path) { io::save_trace(path, profile_of(rows)); }});
  return all;
}

std::string text_of(std::string const& path)
{
  auto const bytes = test::read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

/// Sets the locale of streams and that of C, as far as this machine has one with a decimal comma.
class ForeignLocale {
 public:
  ForeignLocale()
      : streams_{std::locale::global(std::locale{std::locale::classic(), new Desktop})},
        c_{std::setlocale(LC_ALL, nullptr)}
  {
    for (char const* const name : {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8"}) {
      if (std::setlocale(LC_NUMERIC, name) != nullptr) { break; }
    }
  }
  ForeignLocale(ForeignLocale const&) = delete;
  ForeignLocale& operator=(ForeignLocale const&) = delete;
  ~ForeignLocale()
  {
    std::locale::global(streams_);
    std::setlocale(LC_ALL, c_.c_str());
  }

 private:
  std::locale streams_;
  std::string c_;
};

}  // namespace

TEST_CASE("writers: the same bytes in every locale, and what was written is read in every locale")
{
  test::TempDir const dir;
  for (auto const& writer : writers(1200)) {
    CAPTURE(writer.name);
    writer.write(dir / "classic");
    ForeignLocale const foreign;
    std::ostringstream stream;
    stream << 1200;
    REQUIRE(stream.str() == "1.200");  // the locale is as bad as it should be
    writer.write(dir / "foreign");
    CHECK(text_of(dir / "foreign") == text_of(dir / "classic"));
    CHECK(text_of(dir / "classic").size() > 500);
    std::filesystem::remove(dir / "classic");
    std::filesystem::remove(dir / "foreign");
  }
}

TEST_CASE("writers: text numbers are read the same in every locale")
{
  test::TempDir const dir;
  auto const cloud = cloud_of(1200, true);
  write_ply(dir / "f.ply", cloud, {PlyFormat::ascii, {}});
  io::save_tuning(dir / "f.json", tuning_of(2048));
  auto const plain = read_ply(dir / "f.ply", cloud.origin);
  ForeignLocale const foreign;
  auto const read = read_ply(dir / "f.ply", cloud.origin);
  CHECK(read.positions == plain.positions);
  CHECK(read.positions == cloud.positions);
  CHECK(read.labels == cloud.labels);
  CHECK(io::read_tunings(dir / "f.json").at(0).groups.at(0).group.in_channels == 2048);
  io::save_tuning(dir / "f.json", tuning_of(4096));
  CHECK(io::read_tunings(dir / "f.json").size() == 1);
}

TEST_CASE("writers: the report of a converted checkpoint is the same in every locale")
{
  test::TempDir const dir;
  auto const convert = [&](std::string const& name) {
    auto const converted = io::convert_checkpoint(test::fixture("torch_detector.pth"));
    io::save_checkpoint(converted, dir / name);
    return converted.text();
  };
  auto const classic = convert("classic");
  ForeignLocale const foreign;
  CHECK(convert("foreign") == classic);
  CHECK(text_of(dir / "foreign") == text_of(dir / "classic"));
}

TEST_CASE("writers: whichever allocation fails, the old file stays or the whole new one is there")
{
  test::TempDir const dir;
  auto const path = dir / "f";
  for (auto const& writer : writers(40)) {
    CAPTURE(writer.name);
    std::filesystem::remove(path);
    writer.write(path);
    auto const wanted = text_of(path);
    bool const replaces = std::string{writer.name} == "tuning";  // it reads the old file too
    std::string const old = replaces ? std::string{"{\"tessera_tuning\": 1, \"tunings\": []}"} : "old";
    auto const restore = [&] { test::write_bytes(path, old); };
    restore();
    int committed = 0;
    auto const check = [&](std::int64_t n) {
      CAPTURE(n);
      auto const text = text_of(path);
      bool const whole = text == wanted;
      CHECK((whole || text == old));
      CHECK(dir.num_files() == 1);
      committed += whole ? 1 : 0;
      restore();
    };
    auto const trial = test::fail_every_allocation([&] { writer.write(path); }, check, check);
    CHECK(trial.failed > 3);
    CHECK(trial.leaks == 0);
    CHECK(text_of(path) == wanted);
    CHECK(committed == trial.survived);  // none of those that failed had written the file
  }
}

TEST_CASE("writers: whichever allocation fails, a reader fails or reads the whole")
{
  test::TempDir const dir;
  auto const cloud = cloud_of(40, true);
  write_ply(dir / "ascii.ply", cloud, {PlyFormat::ascii, {}});
  write_ply(dir / "binary.ply", cloud, {});
  auto plain = cloud;
  plain.origin = {};
  plain.positions = cloud_of(40, false).positions;
  for (std::size_t i = 2; i < plain.positions.size(); i += 3) { plain.positions[i] = 1.5F; }
  for (std::size_t i = 0; i < plain.features.size(); ++i) {
    plain.features[i] = i % 2 == 0 ? 9 : static_cast<float>(i / 2 % 32);
  }
  write_point_bin(dir / "sweep.pcd.bin", plain);
  write_npy(dir / "f.npy", raw_tensor(std::vector<double>(300, 627285.25), {100, 3}));
  for (std::string const name : {"ascii", "binary", "compressed"}) {
    test::write_bytes(dir / (name + ".pcd"), test::read_bytes(test::fixture("points_" + name + ".pcd")));
  }
  for (std::string const name :
       {"ascii.ply", "binary.ply", "f.npy", "ascii.pcd", "binary.pcd", "compressed.pcd"}) {
    CAPTURE(name);
    auto const path = dir / name;
    auto const wanted = read_point_cloud(path);
    PointCloud read;
    auto const same = [&](std::int64_t n) {
      CAPTURE(n);
      CHECK(read.positions == wanted.positions);
      CHECK(read.features == wanted.features);
      CHECK(read.labels == wanted.labels);
      CHECK(read.origin == wanted.origin);
      read = {};
    };
    auto const trial = test::fail_every_allocation(
        [&] {
          read = {};
          read = read_point_cloud(path);
        },
        [](std::int64_t) {}, same);
    CHECK(trial.failed > 3);
    read = {};
  }
}

TEST_CASE("writers: whichever allocation fails, a report of a conversion fails or is whole")
{
  auto const path = test::fixture("torch_detector.pth");
  auto const wanted = io::convert_checkpoint(path).text();
  std::string text;
  auto const trial = test::fail_every_allocation(
      [&] {
        text.clear();
        text = io::convert_checkpoint(path).text();
      },
      [](std::int64_t) {},
      [&](std::int64_t n) {
        CAPTURE(n);
        CHECK(text == wanted);
        text = {};
      });
  CHECK(trial.failed > 100);
}
