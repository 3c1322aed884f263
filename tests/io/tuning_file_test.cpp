// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/nn/detail/tune_backend.cuh>
#endif
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/tuning_json.hpp>
#include <tessera/io/tuning_file.hpp>

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

using namespace tessera;

namespace {

nn::TunedGroup group(ConvolutionKind kind, int channels)
{
  nn::TunedGroup result;
  result.group.kind = kind;
  result.group.in_channels = channels;
  result.group.out_channels = 2 * channels;
  result.group.kernel_size = {3, 1, 2};
  if (channels % 2 == 0) { result.group.offsets = {0, 0, 0, -3, 2, 0}; }
  result.group.stride = {2, 1, 1};
  result.group.dilation = {1, 2, 1};
  result.group.tensor_stride = {4, 4, 8};
  result.group.math = channels % 2 == 0 ? MathMode::tf32 : MathMode::exact;
  result.group.operation = channels % 3 == 1 ? Operation::backward_data : Operation::forward;
  result.choice = {channels % 3 == 0 ? Dataflow::gather_scatter : Dataflow::implicit_gemm, channels % 2 == 0,
                   3, static_cast<GemmKernel>(channels % 5)};
  result.before = {Dataflow::fetch_on_demand, true, channels};
  result.seconds = 12.5e-6;
  result.seconds_before = 1.25;
  result.map_seconds = 0;
  result.map_seconds_before = 3e-9;
  result.layers = {"stage1.0.net.0", "a \"quoted\" name", "\xc3\xbc"};
  return result;
}

nn::Tuning tuning(std::string const& device, std::string const& scalar = "float32")
{
  nn::Tuning result;
  result.device = device;
  result.compute_capability = device == "host" ? 0 : 90;
  result.version = detail::library_version();
  result.scalar = scalar;
  int channels = 1;
  for (auto const kind :
       {ConvolutionKind::submanifold, ConvolutionKind::strided, ConvolutionKind::transposed,
        ConvolutionKind::generative, ConvolutionKind::inverse, ConvolutionKind::expanding}) {
    result.groups.push_back(group(kind, channels++));
  }
  result.not_run = {"idle"};
  result.seconds = 2.5e-3;
  result.seconds_before = 5e-3;
  return result;
}

void check_equal(nn::Tuning const& a, nn::Tuning const& b)
{
  CHECK(a.device == b.device);
  CHECK(a.compute_capability == b.compute_capability);
  CHECK(a.version == b.version);
  CHECK(a.scalar == b.scalar);
  CHECK(a.not_run == b.not_run);
  CHECK(a.seconds == doctest::Approx(b.seconds));
  CHECK(a.seconds_before == doctest::Approx(b.seconds_before));
  REQUIRE(a.groups.size() == b.groups.size());
  for (std::size_t i = 0; i < a.groups.size(); ++i) {
    CAPTURE(i);
    CHECK(a.groups[i].group == b.groups[i].group);
    CHECK(a.groups[i].layers == b.groups[i].layers);
    CHECK(a.groups[i].choice.dataflow == b.groups[i].choice.dataflow);
    CHECK(a.groups[i].choice.sort == b.groups[i].choice.sort);
    CHECK(a.groups[i].choice.splits == b.groups[i].choice.splits);
    CHECK(a.groups[i].choice.kernel == b.groups[i].choice.kernel);
    CHECK(a.groups[i].before.splits == b.groups[i].before.splits);
    CHECK(a.groups[i].before.dataflow == b.groups[i].before.dataflow);
    CHECK(a.groups[i].seconds == doctest::Approx(b.groups[i].seconds));
    CHECK(a.groups[i].seconds_before == doctest::Approx(b.groups[i].seconds_before));
    CHECK(a.groups[i].map_seconds == doctest::Approx(b.groups[i].map_seconds));
    CHECK(a.groups[i].map_seconds_before == doctest::Approx(b.groups[i].map_seconds_before));
  }
}

std::string text_of(std::string const& path)
{
  auto const bytes = test::read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

/// `text` with `from` replaced by `to`, which it has.
std::string replaced(std::string text, std::string const& from, std::string const& to)
{
  auto const at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("tuning file: what was saved is read, for several devices and scalars in one file")
{
  test::TempDir const folder;
  auto const path = folder / "tuning.json";
  io::save_tuning(path, tuning("host"));
  io::save_tuning(path, tuning("A GPU"));
  io::save_tuning(path, tuning("A GPU", "float16"));
  auto older = tuning("A GPU", "float16");
  older.version = "0.0.1";
  io::save_tuning(path, older);
  CHECK(folder.num_files() == 1);
  auto all = io::read_tunings(path);
  REQUIRE(all.size() == 4);
  check_equal(all[0], tuning("host"));
  check_equal(all[1], tuning("A GPU"));
  check_equal(all[2], tuning("A GPU", "float16"));
  check_equal(all[3], older);

  auto changed = tuning("A GPU");
  changed.groups.pop_back();
  changed.groups[0].choice.splits = 4;
  io::save_tuning(path, changed);
  all = io::read_tunings(path);
  REQUIRE(all.size() == 4);
  check_equal(all[0], tuning("host"));
  check_equal(all[1], changed);
  check_equal(all[2], tuning("A GPU", "float16"));
}

TEST_CASE_TEMPLATE(
    "tuning file: the one for this device, scalar and version is loaded, or those there are named", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::TempDir const folder;
  auto const path = folder / "tuning.json";
  io::save_tuning(path, tuning("Another GPU"));
  auto const version = detail::library_version();
  auto const name = detail::TuneBackend<Space>::name(exec);
  auto const capability = detail::TuneBackend<Space>::compute_capability(exec);
  auto const error = test::error_of([&] { static_cast<void>(io::load_tuning<float>(path, exec)); });
  CHECK(error == detail::concat("load_tuning: ", path, ": has no tuning for '", name, "' (", capability,
                                "), 'float32', version '", version,
                                "'; it has: ['Another GPU' (90), 'float32', version '", version, "']"));
  auto own = tuning(name);
  own.compute_capability = capability;
  io::save_tuning(path, own);
  check_equal(io::load_tuning<float>(path, exec), own);
  CHECK(test::has(test::error_of([&] { static_cast<void>(io::load_tuning<double>(path, exec)); }),
                  "), 'float64', version"));
  auto older = own;
  older.version = "0.0.1";
  auto const other = folder / "older.json";
  io::save_tuning(other, older);
  CHECK(test::has(test::error_of([&] { static_cast<void>(io::load_tuning<float>(other, exec)); }),
                  "version '0.0.1']"));
}

TEST_CASE("tuning file: a damaged file is refused wherever it ends")
{
  test::TempDir const folder;
  auto const path = folder / "tuning.json";
  io::save_tuning(path, tuning("host"));
  auto text = text_of(path);
  while (text.back() != '}') { text.pop_back(); }
  auto const shorter = folder / "shorter.json";
  for (std::size_t size = 0; size < text.size(); size += size < 300 ? 1 : 13) {
    CAPTURE(size);
    test::write_bytes(shorter, text.substr(0, size));
    CHECK(test::has(test::error_of([&] { static_cast<void>(io::read_tunings(shorter)); }),
                    "shorter.json: not valid JSON at byte"));
  }
}

TEST_CASE("tuning file: a changed byte is refused or read, and nothing else")
{
  test::TempDir const folder;
  auto const path = folder / "tuning.json";
  io::save_tuning(path, tuning("host"));
  auto const text = text_of(path);
  constexpr std::uint32_t seed = 5;
  CAPTURE(seed);
  std::mt19937 random{seed};
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    auto changed = text;
    changed[random() % text.size()] = static_cast<char>(random());
    detail::FileContext const file{"read_tunings", "changed"};
    refused += test::error_of([&] { static_cast<void>(detail::tunings_of(changed, file)); }).empty() ? 0 : 1;
  }
  CHECK(refused > 500);
  CHECK(refused < 3000);
}

TEST_CASE("tuning file: what a value may not be is said with its place")
{
  test::TempDir const folder;
  auto const path = folder / "tuning.json";
  io::save_tuning(path, tuning("host"));
  auto const text = text_of(path);
  auto const refused = [&](std::string const& from, std::string const& to) {
    test::write_bytes(path, replaced(text, from, to));
    auto const error = test::error_of([&] { static_cast<void>(io::read_tunings(path)); });
    auto const begin = detail::concat("read_tunings: ", path, ": ");
    CHECK(error.rfind(begin, 0) == 0);
    return error.substr(std::min(error.size(), begin.size()));
  };
  CHECK(refused("tessera_tuning", "tuning") == "is no tuning: the member \"tessera_tuning\" is missing");
  CHECK(refused("\"tessera_tuning\": 1", "\"tessera_tuning\": 2") ==
        "is a tuning of format 2; this version reads format 1");
  CHECK(refused("\"tunings\"", "\"others\"") == "the file needs \"tunings\", a list of tunings");
  CHECK(refused("\"device\": \"host\"", "\"device\": 3") == "tuning 1 needs \"device\", a text");
  CHECK(refused("\"groups\": [", "\"groups\": 1, \"more\": [") ==
        "tuning 1 needs \"groups\", a list of groups");
  CHECK(
      refused("\"submanifold\"", "\"flat\"") ==
      "tuning 1, group 1: there is no kind 'flat'; there are: [submanifold, strided, transposed, generative, "
      "inverse, expanding]");
  CHECK(refused("\"operation\": \"backward_data\"", "\"operation\": \"backward_weight\"") ==
        "tuning 1, group 1: there is no operation 'backward_weight'; there are: [forward, backward_data]");
  CHECK(refused("\"in_channels\": 2", "\"in_channels\": 0") ==
        "tuning 1, group 2: \"in_channels\" is 0; it must be 1 to 1073741824");
  CHECK(refused("\"in_channels\": 2", "\"in_channels\": 99999999999") ==
        "tuning 1, group 2: \"in_channels\" is 99999999999; it must be 1 to 1073741824");
  CHECK(refused("[3, 1, 2]", "[3, 1]") ==
        "tuning 1, group 1: kernel size, stride, dilation and tensor stride are not of one number of axes");
  CHECK(refused("[3, 1, 2]", "[]") ==
        "tuning 1, group 1: \"kernel_size\" has 0 numbers; 1 to 6, one per axis");
  CHECK(refused("[3, 1, 2]", "[3, 1.5, 2]") ==
        "tuning 1, group 1: \"kernel_size\" is a list of something else than integers");
  CHECK(refused("\"splits\": 3", "\"splits\": -1") ==
        "tuning 1, group 1, choice: \"splits\" is -1; it must be 1 to 1048576");
  CHECK(
      refused("\"kernel\": \"warp\"", "\"kernel\": \"warps\"") ==
      "tuning 1, group 2, choice: there is no kernel 'warps'; there are: [automatic, block, warp, warpgroup, "
      "warpgroup_pair]");
  CHECK(refused("\"kernel\": \"warp\"", "\"kernel\": true") ==
        "tuning 1, group 2, choice needs \"kernel\", a text");
  CHECK(refused("\"choice\": {", "\"choice\": 7, \"more\": {") ==
        "tuning 1, group 1, choice needs \"dataflow\", a text");
  CHECK(refused("\"choice\": {", "\"more\": {") == "tuning 1, group 1 needs \"choice\", an object");
  CHECK(refused("\"sort\": false", "\"sort\": 0") ==
        "tuning 1, group 1, choice needs \"sort\", true or false");
  CHECK(refused("\"microseconds\": 12.500", "\"microseconds\": -1") ==
        "tuning 1, group 1: \"microseconds\" is -1; times are not negative");
  CHECK(refused("\"layers\": [\"", "\"layers\": [1, \"") ==
        "tuning 1, group 1: \"layers\" is a list of something else than texts");
}

TEST_CASE("tuning file: kernels are words, called tiles in older files, and automatic where a file has none")
{
  test::TempDir const folder;
  auto const path = folder / "tuning.json";
  io::save_tuning(path, tuning("host"));
  auto text = text_of(path);
  for (std::string const name : {"automatic", "block", "warp", "warpgroup", "warpgroup_pair"}) {
    CAPTURE(name);
    CHECK(test::has(text, "\"kernel\": \"" + name + "\"}"));
  }
  auto const expected = tuning("host");
  std::string const key = ", \"kernel\": ";
  auto older = text;
  for (auto at = older.find(key); at != std::string::npos; at = older.find(key, at)) {
    older.replace(at, key.size(), ", \"tiles\": ");
  }
  test::write_bytes(path, older);
  auto const same = io::read_tunings(path);
  for (std::size_t i = 0; i < expected.groups.size(); ++i) {
    CHECK(same.at(0).groups.at(i).choice == expected.groups[i].choice);
  }
  for (auto at = text.find(key); at != std::string::npos; at = text.find(key, at)) {
    text.erase(at, text.find('}', at) - at);
  }
  test::write_bytes(path, text);
  auto const found = io::read_tunings(path);
  REQUIRE(found.size() == 1);
  REQUIRE(found[0].groups.size() == expected.groups.size());
  for (std::size_t i = 0; i < expected.groups.size(); ++i) {
    CHECK(found[0].groups[i].choice.kernel == GemmKernel::automatic);
    CHECK(found[0].groups[i].choice.splits == expected.groups[i].choice.splits);
  }
}

TEST_CASE("tuning file: a file that is something else is not written over")
{
  test::TempDir const folder;
  auto const path = folder / "notes.json";
  for (std::string const text : {"[1, 2, 3]", "my notes", "", "{\"tessera_tuning\": 9, \"tunings\": []}"}) {
    CAPTURE(text);
    test::write_bytes(path, text);
    CHECK(test::has(test::error_of([&] { io::save_tuning(path, tuning("host")); }), "save_tuning: "));
    CHECK(text_of(path) == text);
  }
  CHECK(test::has(test::error_of([&] { static_cast<void>(io::read_tunings(folder / "none.json")); }),
                  "cannot be opened"));
  CHECK_FALSE(test::error_of([&] { io::save_tuning(folder / "none/tuning.json", tuning("host")); }).empty());
  CHECK(folder.num_files() == 1);
}

TEST_CASE("tuning file: groups of files without an operation are of forward passes")
{
  test::TempDir const folder;
  auto const path = folder / "tuning.json";
  io::save_tuning(path, tuning("host"));
  auto text = text_of(path);
  for (char const* const operation : {"forward", "backward_data"}) {
    auto const member = std::string{", \"operation\": \""} + operation + '"';
    for (auto at = text.find(member); at != std::string::npos; at = text.find(member)) {
      text.erase(at, member.size());
    }
  }
  test::write_bytes(path, text);
  auto const tunings = io::read_tunings(path);
  REQUIRE(tunings.size() == 1);
  for (auto const& group : tunings[0].groups) { CHECK(group.group.operation == Operation::forward); }
}
