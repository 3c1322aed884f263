// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Kernels [volume, in, out], whose shapes do not tell their sizes, on their way from TorchSparse and
// MinkowskiEngine into modules; and files that say their layout.

#include "../support/files.hpp"
#include "../support/state_dicts.hpp"

#include <tessera/io/convert.hpp>
#include <tessera/io/load.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace tessera;
using io::WeightLayout;
using test::Made;
using test::Parameters;

namespace {

using Offset = std::vector<int>;

/// All offsets of a kernel, the last axis fastest, or the first.
std::vector<Offset> offsets_of(std::vector<int> const& size, bool first_fastest)
{
  std::vector<Offset> all{{}};
  for (std::size_t i = 0; i < size.size(); ++i) {
    auto const axis = first_fastest ? size.size() - 1 - i : i;
    std::vector<Offset> longer;
    for (auto const& offset : all) {
      for (int at = 0; at < size[axis]; ++at) {
        longer.push_back(offset);
        auto& added = longer.back();
        added.insert(first_fastest ? added.begin() : added.end(), at);
      }
    }
    all = longer;
  }
  return all;
}

/// A number that stands for an offset.
float code(Offset const& offset)
{
  float value = 1;
  for (auto const at : offset) { value = value * 32 + static_cast<float>(at); }
  return value;
}

std::vector<float> codes(std::vector<Offset> const& offsets)
{
  std::vector<float> values;
  std::transform(offsets.begin(), offsets.end(), std::back_inserter(values), code);
  return values;
}

/// A kernel as that library's layer of this size has it in its state_dict: each element the code of its
/// offset.
Made checkpoint_of(WeightLayout layout, std::vector<int> const& size)
{
  std::int64_t volume = 1;
  for (auto const extent : size) { volume *= extent; }
  bool const first_fastest = layout == WeightLayout::minkowski || volume % 2 == 1;
  Made made;
  made.add("a.kernel", {volume, 1, 1}, codes(offsets_of(size, first_fastest)));
  made.norm(layout == WeightLayout::minkowski ? "b.bn" : "b", 1);  // tells the two apart
  return made;
}

std::vector<std::vector<int>> const sizes{
    {4},       {9},       {15},      {16},      {27},         {4, 4},       {2, 8},       {8, 2},
    {3, 3},    {3, 9},    {9, 9},    {5, 5},    {8, 8},       {2, 3},       {3, 2},       {1, 9},
    {2, 2, 2}, {3, 3, 3}, {3, 3, 1}, {1, 3, 3}, {3, 1, 3},    {3, 1, 1},    {1, 1, 3},    {4, 4, 4},
    {3, 5, 1}, {2, 3, 2}, {9, 3, 3}, {2, 4, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}, {4, 2, 2, 1}, {2, 1, 3, 2}};

std::string text_of(std::vector<int> const& size)
{
  return detail::list(size);
}

std::string refusal(Made const& made, std::vector<int> const& size, ConvertOptions const& options = {})
{
  Execution<Host> const exec;
  Parameters net{exec};
  net.kernel("a.kernel", size);
  return test::error_of([&] { io::load(net, io::convert_checkpoint(made.state, "f", options), exec); });
}

}  // namespace

TEST_CASE(
    "kernel sizes: a kernel of which only the volume is known has its own offsets in a module of its size")
{
  Execution<Host> const exec;
  test::TempDir const folder;
  for (auto const layout : {WeightLayout::torchsparse, WeightLayout::minkowski}) {
    for (auto const& size : sizes) {
      std::string const what = std::string{name_of(layout)} + text_of(size);
      CAPTURE(what);
      auto const made = checkpoint_of(layout, size);
      auto const want = codes(offsets_of(size, false));
      auto const check = [&](io::ConvertedCheckpoint const& converted) {
        Parameters net{exec};
        net.kernel("a.kernel", size);
        io::load(net, converted, exec);
        CHECK(net.values() == want);
      };
      auto const plain = io::convert_checkpoint(made.state, "f");
      check(plain);
      check(io::convert_checkpoint(plain.tensors));  // converted once more
      auto const told = ConvertOptions().kernel_size("a.kernel", size);
      check(io::convert_checkpoint(made.state, "f", told));
      check(io::convert_checkpoint(plain.tensors, told));
      CHECK(io::convert_checkpoint(made.state, "f", told).tensors.to_float("a.kernel") == want);

      // Through files, and with reversed axes there and back.
      io::save_checkpoint(plain, folder / "plain.safetensors");
      auto const reversed =
          io::convert_checkpoint(folder / "plain.safetensors", ConvertOptions().swap_axes());
      io::save_checkpoint(reversed, folder / "reversed.safetensors");
      check(io::convert_checkpoint(folder / "reversed.safetensors", ConvertOptions().swap_axes()));

      // The module of reversed axes has at (z, y, x) what was at (x, y, z).
      Parameters net{exec};
      std::vector<int> const other(size.rbegin(), size.rend());
      net.kernel("a.kernel", other);
      io::load(net, folder / "reversed.safetensors", io::Tessera{}, exec);
      auto offsets = offsets_of(other, false);
      for (auto& offset : offsets) { std::reverse(offset.begin(), offset.end()); }
      CHECK(net.values() == codes(offsets));
    }
  }
}

TEST_CASE("kernel sizes: what the volume does not tell is marked in the file and in the report")
{
  auto const mark = [](WeightLayout layout, std::vector<int> const& size) {
    auto const converted = io::convert_checkpoint(checkpoint_of(layout, size).state, "f");
    auto const& metadata = converted.tensors.metadata();
    auto const found = metadata.find("tessera.kernel_size.a.kernel");
    bool const kept = found != metadata.end() && found->second == "unknown, first axis fastest";
    CHECK(converted.report.front().warning == kept);
    return found == metadata.end() ? std::string{} : found->second;
  };
  // Offsets are numbered alike whatever the size: nothing to say.
  CHECK(mark(WeightLayout::minkowski, {3}).empty());
  CHECK(mark(WeightLayout::minkowski, {7, 1, 1}).empty());
  CHECK(mark(WeightLayout::torchsparse, {4, 4}).empty());
  CHECK(mark(WeightLayout::torchsparse, {2, 3}).empty());
  // One usual reading: 3x3 is 3x3x1 as well, so far as the order goes.
  CHECK(mark(WeightLayout::minkowski, {3, 3, 1}) == "[3, 3], from the volume");
  CHECK(mark(WeightLayout::minkowski, {2, 2, 2}) == "[2, 2, 2], from the volume");
  CHECK(mark(WeightLayout::torchsparse, {3, 9}) == "[3, 3, 3], from the volume");
  // Several, or none.
  for (auto const& size : std::vector<std::vector<int>>{{4, 4},
                                                        {2, 2, 2, 2},
                                                        {8, 8},
                                                        {4, 4, 4},
                                                        {9, 9},
                                                        {3, 3, 3, 3},
                                                        {9, 9, 9},
                                                        {27, 27},
                                                        {3, 5, 1},
                                                        {2, 3}}) {
    CAPTURE(text_of(size));
    CHECK(mark(WeightLayout::minkowski, size) == "unknown, first axis fastest");
  }
  CHECK(mark(WeightLayout::torchsparse, {9, 9}) == "unknown, first axis fastest");
}

TEST_CASE("kernel sizes: a kernel that is known to have another size is refused")
{
  auto const made = checkpoint_of(WeightLayout::minkowski, {2, 8});
  auto const told = [](std::vector<int> const& size) {
    return ConvertOptions().kernel_size("a.kernel", size);
  };
  CHECK(refusal(made, {2, 8}, told({2, 8})).empty());
  CHECK(refusal(made, {2, 1, 8}, told({2, 8})).empty());
  for (auto const& other : std::vector<std::vector<int>>{{8, 2}, {4, 4}, {16}, {2, 2, 2, 2}}) {
    CAPTURE(text_of(other));
    CHECK(test::has(refusal(made, other, told({2, 8})),
                    "is a kernel of size [2, 8] in the file, but the module needs " + text_of(other)));
  }
  CHECK(test::has(refusal(made, {3, 3}, told({2, 8})),
                  "[16, 1, 1] in the file, but the module needs [9, 1, 1]"));
  CHECK(test::has(refusal(made, {3, 3}), "[16, 1, 1] in the file, but the module needs [9, 1, 1]"));
}

TEST_CASE(
    "kernel sizes: an even volume that either library may have written is refused until its layout is given")
{
  for (auto const& size : std::vector<std::vector<int>>{{2, 2, 2}, {4, 4}, {2, 3}, {3, 2, 1}}) {
    CAPTURE(text_of(size));
    auto made = checkpoint_of(WeightLayout::minkowski, size);
    made.state.tensors.resize(1);  // without the norm that tells
    auto const sentence = refusal(made, size);
    CHECK(test::has(sentence, "nothing in the checkpoint tells which of them wrote it"));
    CHECK(test::has(sentence, "torchsparse or minkowski"));
    CHECK(io::convert_checkpoint(made.state, "f").report.front().warning);
    CHECK(test::has(refusal(made, size, ConvertOptions().kernel_size("a.kernel", size)),
                    "nothing in the checkpoint"));
    CHECK(test::has(refusal(made, size, ConvertOptions().swap_axes()), "nothing in the checkpoint"));

    Execution<Host> const exec;
    for (auto const layout : {WeightLayout::torchsparse, WeightLayout::minkowski}) {
      auto const written = checkpoint_of(layout, size);
      Made bare;
      bare.add("a.kernel", written.state.tensors[0].second.shape, *written.values[0]);
      Parameters net{exec};
      net.kernel("a.kernel", size);
      io::load(net, io::convert_checkpoint(bare.state, "f", ConvertOptions().layout(layout)), exec);
      CHECK(net.values() == codes(offsets_of(size, false)));
    }
  }
  // Odd volumes and single rows of voxels both write alike.
  for (auto const& size : std::vector<std::vector<int>>{{3, 3, 3}, {3, 5}, {4}, {1, 6, 1}}) {
    CAPTURE(text_of(size));
    auto made = checkpoint_of(WeightLayout::minkowski, size);
    made.state.tensors.resize(1);
    CHECK(refusal(made, size).empty());
  }
  // A bias with one axis is TorchSparse's.
  auto made = checkpoint_of(WeightLayout::torchsparse, {2, 2, 2});
  made.state.tensors.resize(1);
  made.add("a.bias", {1});
  CHECK(refusal(made, {2, 2, 2}).empty());
}

TEST_CASE("kernel sizes: a mark that cannot be is refused")
{
  Execution<Host> const exec;
  auto const values = codes(offsets_of({2, 2, 2}, false));
  for (std::string const mark :
       {"", "cube", "[2, 2, 2", "[2, 2, 0]", "[2, 2, 2] more", "[-2]", "unknown, from the volume",
        "[1048577]", "[1,1,1,1,1,1,1]", "[1048576, 1048576, 1048576]", "[2 2]x"}) {
    CAPTURE(mark);
    Safetensors const file{
        safetensors_bytes({{"a.kernel", raw_tensor(values, {8, 1, 1})}},
                          {{"tessera.layout", "tessera"}, {"tessera.kernel_size.a.kernel", mark}}),
        "f"};
    Parameters net{exec};
    net.kernel("a.kernel", {2, 2, 2});
    CHECK(
        test::has(test::error_of([&] { io::load(net, file, io::Tessera{}, exec); }), "which cannot be read"));
    CHECK(test::has(test::error_of([&] { static_cast<void>(io::convert_checkpoint(file)); }),
                    "which cannot be read"));
  }
}

TEST_CASE("layout of a file: load() reads a file in the layout that it says, whatever it is asked for")
{
  Execution<Host> const exec;
  test::TempDir const folder;
  Parameters saved{exec};
  saved.kernel("a.kernel", {3, 5, 1}).kernel("b.kernel", {2, 2, 2}).kernel("c.kernel", {4, 4});
  Made made;
  made.add("a.kernel", {15, 1, 1}).add("b.kernel", {8, 1, 1}).add("c.kernel", {16, 1, 1});
  io::load(saved, io::convert_checkpoint(made.state, "f", ConvertOptions().layout(WeightLayout::tessera)),
           exec);
  auto const check = [&](std::string const& path, std::string const& layout) {
    CAPTURE(layout);
    for (auto const asked : {WeightLayout::tessera, WeightLayout::torchsparse, WeightLayout::minkowski,
                             WeightLayout::krsc, WeightLayout::rskc, WeightLayout::rsck}) {
      Parameters net{exec};
      net.kernel("a.kernel", {3, 5, 1}).kernel("b.kernel", {2, 2, 2}).kernel("c.kernel", {4, 4});
      auto const report = io::with_layout(asked, [&](auto type) { return io::load(net, path, type, exec); });
      CHECK(report.layout == layout);
      for (std::size_t i = 0; i < 3; ++i) { CHECK(net.values(i) == saved.values(i)); }
    }
  };
  auto const path = folder / "saved.safetensors";
  for (auto const layout : {WeightLayout::tessera, WeightLayout::torchsparse, WeightLayout::minkowski,
                            WeightLayout::krsc, WeightLayout::rskc, WeightLayout::rsck}) {
    io::with_layout(layout, [&](auto type) { io::save(saved, path, type, exec); });
    check(path, name_of(layout));
    // What it says it is converted from, too, but no kernel is called weight here.
    bool const named = layout == WeightLayout::tessera || layout == WeightLayout::torchsparse ||
                       layout == WeightLayout::minkowski;
    if (!named) { continue; }
    io::save_checkpoint(io::convert_checkpoint(path), folder / "converted.safetensors");
    check(folder / "converted.safetensors", "tessera");
  }
  io::save(saved, path, io::KrscUnder<Compatibility::none>{}, exec);
  check(path, "krsc_as_shaped");
}

TEST_CASE("layout of a file: another one than it says is refused where it cannot be read by what it says")
{
  struct Own : io::Tessera {};
  Execution<Host> const exec;
  test::TempDir const folder;
  auto const path = folder / "f.safetensors";
  Parameters net{exec};
  net.kernel("a.kernel", {2, 2, 2});
  io::save(net, path, io::Minkowski{}, exec);
  CHECK(test::has(test::error_of([&] { io::load(net, path, Own{}, exec); }),
                  "says that its layout is 'minkowski', another than the one asked for"));
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(
                        io::convert_checkpoint(path, ConvertOptions().layout(WeightLayout::torchsparse)));
                  }),
                  "says that its layout is minkowski, not torchsparse"));
  io::save(net, path, Own{}, exec);  // says nothing
  CHECK(Safetensors{path}.metadata().empty());
  io::load(net, path, Own{}, exec);
  auto const values = net.values();
  write_safetensors(path, {{"a.kernel", raw_tensor(values, {8, 1, 1})}}, {{"tessera.layout", "hwio\x1b"}});
  CHECK(test::has(test::error_of([&] { io::load(net, path, io::Tessera{}, exec); }),
                  "says that its layout is 'hwio\\x1b', which is not known"));
  CHECK(test::has(test::error_of([&] { static_cast<void>(io::convert_checkpoint(path)); }),
                  "which is not known"));
}

TEST_CASE("layout of a file: a kernel of one voxel that means what its shape says is saved and converted so")
{
  Execution<Host> const exec;
  test::TempDir const folder;
  auto const path = folder / "f.safetensors";
  auto const make = [&](float first) {
    auto net = std::make_unique<Parameters>(exec);
    net->add("a.weight", {2, 3}, nn::ParameterRole::conv_weight, {1, 1, 1});
    auto* const data = net->writable_parameters()[0].as<float, Host>().write();
    for (int i = 0; i < 6; ++i) { data[i] = first + static_cast<float>(i); }
    return net;
  };
  auto const saved = make(0);
  auto const check = [&](auto layout) {
    io::save(*saved, path, layout, exec);
    for (bool const converts : {false, true}) {
      auto const net = make(10);
      if (converts) {
        auto const converted = io::convert_checkpoint(path);
        CHECK_FALSE(converted.report.front().warning);
        io::load(*net, converted, exec);
      } else {
        io::load(*net, path, io::Krsc{}, exec);
      }
      CHECK(net->values() == saved->values());
    }
  };
  check(io::Krsc{});
  check(io::KrscUnder<Compatibility::none>{});
  check(io::KrscUnder<Compatibility::spconv1>{});
  check(io::Rskc{});
  check(io::Rsck{});
}

TEST_CASE("convert: a file is what its content says, not its name")
{
  test::TempDir const folder;
  auto const copy = [&](std::string const& from, std::string const& to) {
    std::filesystem::copy_file(test::fixture(from), folder / to);
    return io::convert_checkpoint(folder / to).tensors.names();
  };
  auto const names = copy("torch_detector.pth", "a.safetensors");
  CHECK(copy("torch_detector.pth", "a.ckpt") == names);
  io::save_checkpoint(io::convert_checkpoint(folder / "a.ckpt"), folder / "b.pth");
  CHECK(io::convert_checkpoint(folder / "b.pth").tensors.names() == names);
  CHECK(copy("torch_stream.pth", "stream") == copy("torch_zip.pth", "zip"));
}
