// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "../support/spaces.hpp"
#include "load_cases.hpp"

#ifdef __CUDACC__
#include <tessera/core/execution.cuh>
#include <tessera/core/scalar.cuh>
#endif
#include <tessera/io/convert.hpp>
#include <tessera/io/load.hpp>
#include <tessera/nn/initialize.hpp>

#include <cmath>
#include <limits>
#include <tuple>

using namespace tessera;
using namespace load_cases;

TEST_CASE("weight layouts: TorchSparse numbers the offsets of odd kernels from the first axis on")
{
  Execution<Host> const exec;
  Net<float, Host> const net{1, exec};
  auto const parameters = net.parameters();
  for (auto const& p : parameters) {
    if (p.role != nn::ParameterRole::conv_weight) { continue; }
    CAPTURE(p.name);
    auto const own = io::Tessera::place(p);
    auto const theirs = io::TorchSparse::place(p);
    CHECK(own.shape == p.shape);
    CHECK(theirs.shape == p.shape);
    auto const matrix = p.shape[p.shape.size() - 2] * p.shape.back();
    std::size_t k = 0;
    for (int x = 0; x < p.kernel_size[0]; ++x) {
      for (int y = 0; y < p.kernel_size[1]; ++y) {
        for (int z = 0; z < p.kernel_size[2]; ++z, ++k) {
          auto const volume = p.kernel_size[0] * p.kernel_size[1] * p.kernel_size[2];
          auto const last_fastest = z + p.kernel_size[2] * (y + p.kernel_size[1] * x);
          auto const first_fastest = x + p.kernel_size[0] * (y + p.kernel_size[1] * z);
          CHECK(own.first.at(k) == last_fastest * matrix);
          CHECK(theirs.first.at(k) == (volume % 2 == 1 ? first_fastest : last_fastest) * matrix);
        }
      }
    }
    CHECK(own.first.size() == k);
    CHECK(theirs.first.size() == k);
  }
}

TEST_CASE_TEMPLATE("load: values arrive where the layout puts them", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::TempDir const folder;
  auto const path = folder / "counting.safetensors";
  Net<float, Space> net{1, exec};
  counting(net).write(path);

  auto const report = io::load(net, path, io::Tessera{}, exec, LoadOptions().strict());
  CHECK(report.loaded.size() == net.parameters().size());
  CHECK(report.unused.empty());
  auto const straight = download(std::as_const(net.odd).data(), net.odd.size(), exec);
  for (std::size_t i = 0; i < straight.size(); ++i) { CHECK(straight[i] == static_cast<float>(i)); }

  io::load(net, path, io::TorchSparse{}, exec);
  auto const permuted = download(std::as_const(net.odd).data(), net.odd.size(), exec);
  std::size_t i = 0;
  for (int x = 0; x < 3; ++x) {
    for (int y = 0; y < 5; ++y) {
      for (int channel = 0; channel < 6; ++channel, ++i) {
        CHECK(permuted[i] == static_cast<float>((x + 3 * y) * 6 + channel));
      }
    }
  }
  auto const even = download(std::as_const(net.even).data(), net.even.size(), exec);
  for (std::size_t j = 0; j < even.size(); ++j) { CHECK(even[j] == static_cast<float>(j)); }

  // [4, 5] here, [5, 4] in the file
  auto const matrix = download(std::as_const(net.weight).data(), net.weight.size(), exec);
  for (std::size_t in = 0; in < 4; ++in) {
    for (std::size_t out = 0; out < 5; ++out) {
      CHECK(matrix[in * 5 + out] == static_cast<float>(out * 4 + in));
    }
  }
}

TEST_CASE_TEMPLATE("load and save: a round trip gives the same bits in every layout", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::TempDir const folder;
  auto const check = [&](auto scalar, auto const& layout) {
    using Scalar = decltype(scalar);
    auto const path = folder / "saved.safetensors";
    Net<Scalar, Space> const saved{1, exec};
    Net<Scalar, Space> loaded{77, exec};
    REQUIRE(contents(saved, exec) != contents(loaded, exec));
    io::save(saved, path, layout, exec);
    io::load(loaded, path, layout, exec, LoadOptions().strict());
    CHECK(contents(saved, exec) == contents(loaded, exec));
  };
  check(float{}, io::Tessera{});
  check(float{}, io::TorchSparse{});
  check(double{}, io::TorchSparse{});
#ifdef __CUDACC__
  check(__half{}, io::TorchSparse{});
  check(__nv_bfloat16{}, io::TorchSparse{});
#endif
}

TEST_CASE_TEMPLATE("save: values are written in the type that is asked for, and texts beside them", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::TempDir const folder;
  auto const path = folder / "half.safetensors";
  Row<float, Space> layer{exec};
  auto const set = [&](std::vector<float> const& values) {
    detail::Transfer<Space>::from_host(layer.weight.write(), values.data(), 3 * sizeof(float), exec);
  };
  set({1.0F / 3, -2.5F, 65504});
  io::save(
      layer, path, io::Tessera{}, exec,
      SaveOptions().dtype(DType::float16).metadata({{"tessera.network.data", "mine"}, {"format", "pt"}}));
  Safetensors const file{path};
  CHECK(file.tensor("weight").dtype == DType::float16);
  CHECK(file.to_float("weight") == std::vector<float>{0x1.554p-2F, -2.5F, 65504});
  CHECK(file.metadata().at("tessera.network.data") == "mine");
  CHECK(file.metadata().at("format") == "pt");
  CHECK(file.metadata().at("tessera.layout") == "tessera");

  // What describes the network stays with its weights where they are converted; other texts do not.
  auto const converted = io::convert_checkpoint(path);
  CHECK(converted.tensors.metadata().at("tessera.network.data") == "mine");
  CHECK(converted.tensors.metadata().count("format") == 0);

  auto const infinity = std::numeric_limits<float>::infinity();
  set({1, infinity, -infinity});
  io::save(layer, path, io::Tessera{}, exec, SaveOptions().dtype(DType::float16));
  CHECK(Safetensors{path}.to_float("weight") == std::vector<float>{1, infinity, -infinity});
  set({1, 70000, 0});
  CHECK_THROWS_WITH_AS(io::save(layer, path, io::Tessera{}, exec, SaveOptions().dtype(DType::float16)),
                       "save: a value of \"weight\" is 70000, too large for float16", invalid_argument);
  CHECK_THROWS_AS(SaveOptions().dtype(DType::int32), invalid_argument);
}

TEST_CASE("load: floating-point types become the parameter's, rounded")
{
  Execution<Host> const exec;
  test::TempDir const folder;
  auto const path = folder / "types.safetensors";
  Row<double, Host> wide{exec};
  Row<float, Host> narrow{exec};

  Tensors doubles;
  doubles.add<double>("weight", {1.0 / 3, 1e300, -2.5}, {1, 3});
  doubles.write(path);
  io::load(wide, path, io::Tessera{}, exec);
  CHECK(wide.weight.data()[0] == 1.0 / 3);
  CHECK(wide.weight.data()[1] == 1e300);
  io::load(narrow, path, io::Tessera{}, exec);
  CHECK(narrow.weight.data()[0] == 1.0F / 3);
  CHECK(narrow.weight.data()[1] == std::numeric_limits<float>::infinity());
  CHECK(narrow.weight.data()[2] == -2.5F);

  std::vector<std::uint16_t> const halves{0x3c00, 0xc100, 0x0001};  // 1, -2.5, 2^-24
  std::vector<std::uint16_t> const brains{0x3f80, 0xc020, 0x0001};  // 1, -2.5, 2^-133
  for (auto const& [dtype, bits, smallest] :
       {std::tuple{DType::float16, halves, 0x1p-24}, std::tuple{DType::bfloat16, brains, 0x1p-133}}) {
    auto const* const bytes = reinterpret_cast<std::uint8_t const*>(bits.data());
    write_safetensors(path, {{"weight", RawTensor{dtype, {1, 3}, bytes, 6}}});
    io::load(wide, path, io::Tessera{}, exec);
    io::load(narrow, path, io::Tessera{}, exec);
    for (auto const& values : {std::vector<double>(wide.weight.data(), wide.weight.data() + 3),
                               std::vector<double>(narrow.weight.data(), narrow.weight.data() + 3)}) {
      CHECK(values == std::vector<double>{1, -2.5, smallest});
    }
  }
}

TEST_CASE("load: float64 becomes float16 and bfloat16 in one rounding")
{
  // Through a float, what is a little above the middle of two halves would be rounded to the middle, then to
  // the even one of them.
  struct Case {
    double value;
    std::uint16_t as_float16;
    std::uint16_t as_bfloat16;
  };
  Case const cases[] = {
      {1 + 0x1p-11 + 0x1p-40, 0x3c01, 0x3f80},
      {1 + 0x1p-11 - 0x1p-40, 0x3c00, 0x3f80},
      {-1 - 0x1p-11 - 0x1p-40, 0xbc01, 0xbf80},
      {1 + 0x3p-11 - 0x1p-40, 0x3c01, 0x3f80},
      {1 + 0x1p-8 + 0x1p-40, 0x3c04, 0x3f81},
      {1 + 0x3p-8 - 0x1p-40, 0x3c0c, 0x3f81},
      {0x1p-25 + 0x1p-60, 0x0001, 0x3300},
      {0x1p-25, 0x0000, 0x3300},
      {65520 - 0x1p-30, 0x7bff, 0x4780},
      {1e300, 0x7c00, 0x7f80},
      {-1e300, 0xfc00, 0xff80},
      {0x1.ffp127 - 0x1p80, 0x7c00, 0x7f7f},
      {0x1.ffp127, 0x7c00, 0x7f80},
      {1e-300, 0x0000, 0x0000},
      {-0.0, 0x8000, 0x8000},
      {std::numeric_limits<double>::infinity(), 0x7c00, 0x7f80},
      {1.0 / 3, 0x3555, 0x3eab},
  };
  for (auto const& one : cases) {
    CAPTURE(one.value);
    RawTensor tensor;
    tensor.dtype = DType::float64;
    tensor.bytes = reinterpret_cast<std::uint8_t const*>(&one.value);
    tensor.num_bytes = sizeof(one.value);
    std::uint16_t bits[2] = {};
    detail::convert_element(tensor, 0, DType::float16, reinterpret_cast<std::uint8_t*>(bits), 0);
    detail::convert_element(tensor, 0, DType::bfloat16, reinterpret_cast<std::uint8_t*>(bits), 1);
    CHECK(bits[0] == one.as_float16);
    CHECK(bits[1] == one.as_bfloat16);
  }
  CHECK(std::isnan(detail::round_to_odd(std::numeric_limits<double>::quiet_NaN())));
}

#ifdef __CUDACC__
TEST_CASE_TEMPLATE("load: float32 becomes float16 to nearest", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::TempDir const folder;
  auto const path = folder / "types.safetensors";
  Tensors floats;
  std::vector<float> const values{1.0F / 3, 2049, 1e6F};
  floats.add("weight", values, {1, 3});
  floats.write(path);
  Row<__half, Space> layer{exec};
  io::load(layer, path, io::Tessera{}, exec);
  auto const found = download(std::as_const(layer.weight).data(), 3, exec);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(static_cast<float>(found[i]) == static_cast<float>(__float2half(values[i])));
  }
}
#endif

TEST_CASE("load: tensors without a parameter are reported, PyTorch's counters are not")
{
  Execution<Host> const exec;
  test::TempDir const folder;
  auto const path = folder / "more.safetensors";
  Net<float, Host> net{1, exec};
  auto tensors = counting(net, "model.");
  tensors.add<float>("model.point_transforms.0.0.weight", {1, 2}, {2});
  tensors.add<std::int64_t>("model.block.1.num_batches_tracked", {7}, {});
  tensors.add<float>("optimizer.state", {1}, {1});
  tensors.write(path);

  auto const options = LoadOptions().prefix("model.");
  auto const report = io::load(net, path, io::TorchSparse{}, exec, options);
  CHECK(report.loaded.front() == "model.odd.kernel");
  CHECK(report.unused == std::vector<std::string>{"model.point_transforms.0.0.weight"});
  auto const sentence =
      test::error_of([&] { io::load(net, path, io::TorchSparse{}, exec, LoadOptions(options).strict()); });
  CHECK(test::has(sentence, "1 tensors that the module has no parameter for"));
  CHECK(test::has(sentence, "model.point_transforms.0.0.weight"));
}

TEST_CASE_TEMPLATE("load: whatever is wrong is named, and nothing in the module changes", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::TempDir const folder;
  auto const path = folder / "bad.safetensors";
  Net<float, Space> net{1, exec};
  auto const before = contents(net, exec);
  auto const check = [&](auto const& damage, std::vector<std::string> const& parts) {
    auto tensors = counting(net);
    damage(tensors);
    tensors.write(path);
    auto const sentence = test::error_of([&] { io::load(net, path, io::TorchSparse{}, exec); });
    CAPTURE(sentence);
    for (auto const& part : parts) {
      CAPTURE(part);
      CHECK(test::has(sentence, part));
    }
    CHECK(contents(net, exec) == before);
  };
  check(
      [](Tensors& t) {
        t.views.pop_back();
        t.bytes.pop_back();
      },
      {"lacks 1 of the module's", "block.1.running_mean"});
  check(
      [](Tensors& t) {
        t.views.clear();
        t.bytes.clear();
      },
      {"odd.kernel", "even.kernel", "more"});
  check(
      [](Tensors& t) {
        t.views.back().second.shape = {5, 1};
      },
      {"\"block.1.running_mean\"", "[5, 1]", "[5]"});
  check(
      [](Tensors& t) {
        t.views.front().second.shape = {30, 3, 1};
      },
      {"\"odd.kernel\"", "[30, 3, 1]", "[15, 2, 3]"});
  check([](Tensors& t) { t.views.back().second.dtype = DType::int32; },
        {"\"block.1.running_mean\"", "int32"});
  check(
      [](Tensors& t) {
        t.views.back().second.dtype = DType::float8_e4m3;
        t.views.back().second.num_bytes /= sizeof(float);
      },
      {"\"block.1.running_mean\"", "float8_e4m3", "float16, bfloat16, float32 or float64"});

  CHECK_FALSE(
      test::error_of([&] { io::load(net, folder / "absent.safetensors", io::TorchSparse{}, exec); }).empty());
  CHECK_FALSE(test::error_of([&] { io::save(net, folder / "no/such/folder", io::Tessera{}, exec); }).empty());
  CHECK(contents(net, exec) == before);
}

#ifdef __CUDACC__
TEST_CASE("load: the host's execution is refused for a module on the device")
{
  if (test::skipped<Device>()) { return; }
  Execution<Host> const host;
  Execution<Device> const device{};
  test::TempDir const folder;
  auto const path = folder / "net.safetensors";
  Net<float, Device> net{1, device};
  CHECK(test::has(test::error_of([&] { io::save(net, path, io::Tessera{}, host); }), "lies on the device"));
  io::save(net, path, io::Tessera{}, device);
  CHECK(test::has(test::error_of([&] { io::load(net, path, io::Tessera{}, host); }), "lies on the device"));
}
#endif
