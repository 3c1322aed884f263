// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/files.hpp"
#include "../support/state_dicts.hpp"
#include "convert_cases.hpp"

#include <tessera/io/convert.hpp>
#include <tessera/io/detail/norm_pairs.hpp>
#include <tessera/io/load.hpp>
#include <tessera/nn/initialize.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

using namespace tessera;
using namespace convert_cases;
using io::WeightLayout;
using test::Made;

TEST_CASE("convert: a network exported to each layout comes back bit by bit, and so does the foreign file")
{
  Execution<Host> const exec;
  test::TempDir const dir;
  for (auto const layout : foreign) {
    std::string const name = name_of(layout);
    CAPTURE(name);
    std::string const last = named_kernel(layout) ? "kernel" : "weight";
    Encoder const net{1, last, exec};
    auto const path = dir / (name + ".safetensors");
    io::with_layout(layout, [&](auto type) { io::save(net, path, type, exec); });

    auto options = ConvertOptions();
    if (layout == WeightLayout::minkowski) { options.layout(layout); }  // nothing in the file tells it
    auto const converted = io::convert_checkpoint(path, options);
    for (auto const& line : converted.report) {
      if (!line.layout.empty()) { CHECK(line.layout == name); }
    }
    Encoder back{2, last, exec};
    REQUIRE(contents(back) != contents(net));
    io::load(back, converted.tensors, io::Tessera{}, exec, LoadOptions().strict());
    CHECK(contents(back) == contents(net));

    // foreign -> ours -> foreign
    auto const again = dir / (name + "_again.safetensors");
    io::with_layout(layout, [&](auto type) { io::save(back, again, type, exec); });
    Safetensors const first{path};
    Safetensors const second{again};
    CHECK(first.names() == second.names());
    for (auto const& tensor : first.names()) { CHECK(same(first.tensor(tensor), second.tensor(tensor))); }

    // Written and converted once more it stays as it is.
    auto const ours = dir / (name + "_ours.safetensors");
    io::save_checkpoint(converted, ours);
    auto const twice = io::convert_checkpoint(ours);
    CHECK(twice.tensors.names() == converted.tensors.names());
    for (auto const& tensor : converted.tensors.names()) {
      CHECK(same(twice.tensors.tensor(tensor), converted.tensors.tensor(tensor)));
    }
  }
}

TEST_CASE("convert: the layout is told by kernel sizes, by channels of norms and biases, and by the others")
{
  Made krsc;
  krsc.add("a.0", {16, 3, 3, 3, 4}, "a.1", 16)
      .add("b.weight", {8, 2, 2, 2, 8})
      .add("c.weight", {6, 3, 1, 1, 6});
  for (auto const* const name : {"a.0.weight", "b.weight", "c.weight"}) {
    CHECK(layouts(krsc).at(name).first == "krsc");
  }
  CHECK(layouts(krsc).at("b.weight").second == "the only usual kernel size");
  CHECK(layouts(krsc).at("a.1.running_mean").first.empty());

  Made rsck;
  rsck.add("a.0", {3, 3, 3, 5, 8}, "a.1", 8).add("s.conv1", {3, 3, 3, 8, 8}, "s.bn1", 8);
  CHECK(layouts(rsck).at("a.0.weight").first == "rsck");
  CHECK(layouts(rsck).at("a.0.weight").second == "8 channels out as in a.1.running_mean");
  CHECK(layouts(rsck).at("s.conv1.weight").first == "rsck");
  CHECK(layouts(rsck).at("s.conv1.weight").second == "as 1 other kernel of the file");

  Made rskc;
  rskc.add("a.weight", {3, 3, 3, 8, 5}).add("a.bias", {8}).add("b.weight", {1, 1, 3, 4, 4});
  CHECK(layouts(rskc).at("a.weight").first == "rskc");
  CHECK(layouts(rskc).at("b.weight").first == "rskc");

  // spconv 2.0 may hold both kinds in one file.
  rskc.add("c.0", {8, 3, 3, 3, 8}, "c.1", 8);
  CHECK(layouts(rskc).at("b.weight").first == "rskc");
  CHECK(layouts(rskc).at("c.0.weight").first == "krsc");

  // Three channels everywhere look like a kernel size.
  Made threes;
  threes.add("a.weight", {3, 3, 3, 3, 3}).add("b.0", {3, 3, 3, 7, 3}, "b.1", 3);
  CHECK(layouts(threes).at("a.weight").first == "rsck");
}

TEST_CASE("convert: what cannot be told is asked for, and options or the module's version tell it")
{
  Made square;
  square.add("a.0", {3, 3, 3, 8, 8}, "a.1", 8).add("b.weight", {3, 1, 1, 8, 8});
  CHECK(error(square) ==
        "the layout of 2 kernels cannot be told from the shapes, e.g. 'a.0.weight' of shape [3, 3, 3, 8, 8] "
        "may be "
        "rskc or rsck; give the layout or spconv's major version");
  CHECK(layouts(square, ConvertOptions().spconv_major(1)).at("a.0.weight").first == "rsck");
  CHECK(layouts(square, ConvertOptions().spconv_major(2)).at("b.weight").first == "rskc");
  CHECK(layouts(square, ConvertOptions().layout(WeightLayout::rsck)).at("b.weight").first == "rsck");
  square.state.versions["a.0"] = 2;
  CHECK(layouts(square).at("a.0.weight") ==
        std::pair<std::string, std::string>{"rskc", "module version 2, so spconv 2"});
  CHECK(layouts(square).at("b.weight").first == "rskc");

  CHECK(error(square, ConvertOptions().spconv_major(3)) == "spconv's major version is 1 or 2, not 3");
  Made odd;
  odd.add("a.weight", {12, 11, 3, 5, 7});
  CHECK(error(odd) == "tensor 'a.weight' of shape [12, 11, 3, 5, 7] is no kernel of any layout");
  CHECK(layouts(odd, ConvertOptions().layout(WeightLayout::krsc)).at("a.weight").first == "krsc");
  odd.add("a.bias", {7});
  CHECK(error(odd, ConvertOptions().layout(WeightLayout::krsc)) ==
        "tensor 'a.weight' of shape [12, 11, 3, 5, 7] is no kernel in the layout krsc with 7 channels out as "
        "a.bias "
        "has");
}

TEST_CASE("convert: dense layers are copied, sparse ones of two dimensions are not")
{
  Made made;
  made.add("head.0", {64, 32, 3, 3}, "head.1", 64).add("deblock.0", {32, 64, 2, 2}, "deblock.1", 64);
  made.add("linear.weight", {3, 4}).add("point.weight", {16, 8, 1}).add("embedding", {2, 3, 4, 5});
  made.add("pillar.0", {32, 3, 3, 16}, "pillar.1", 32).add("dense3d.0", {8, 4, 3, 3, 3}, "dense3d.1", 8);
  auto const found = layouts(made);
  for (auto const* const name : {"head.0.weight", "deblock.0.weight", "linear.weight", "point.weight",
                                 "embedding", "dense3d.0.weight"}) {
    CAPTURE(std::string{name});
    CHECK(found.at(name).first.empty());
    CHECK(found.at(name).second.rfind("copied", 0) == 0);
  }
  CHECK(found.at("pillar.0.weight").first == "krsc");
}

TEST_CASE("convert: what may be dense or sparse is copied with a warning, unless its kernel size is given")
{
  Made made;
  made.add("image.0", {16, 3, 3, 3}, "image.1", 16).add("pillar.0", {32, 3, 3, 16}, "pillar.1", 32);
  auto const first = [&](ConvertOptions const& options) {
    return io::convert_checkpoint(made.state, "f", options).report.front();
  };
  CHECK(first({}).layout.empty());
  CHECK(first({}).warning);
  CHECK(first({}).reason == "copied: a dense convolution; if it is a sparse one, give its kernel size");
  Made depthwise;
  depthwise.add("image.0", {16, 1, 3, 3}, "image.1", 16).add("point.0", {16, 3, 1}, "point.1", 16);
  for (auto const& line : io::convert_checkpoint(depthwise.state, "f").report) { CHECK_FALSE(line.warning); }
  auto const told = first(ConvertOptions().kernel_size("image.0.weight", {3, 3}));
  CHECK(told.layout == "krsc");
  CHECK(told.to_shape == std::vector<std::int64_t>{9, 3, 16});
  CHECK(test::has(error(made, ConvertOptions().kernel_size("image.0.weight", {5, 5})),
                  "shape [16, 3, 3, 3] is no kernel"));
}

TEST_CASE("convert: a kernel of one voxel is read as its spconv computed with it")
{
  Made made;
  made.add("a.0", {3, 1, 1, 1, 2}, "a.1", 3).add("b.weight", {4, 3, 3, 3, 2});
  auto const values = [&](ConvertOptions const& options, std::vector<std::int64_t> const& shape) {
    auto const converted = io::convert_checkpoint(made.state, "f", options);
    CHECK(converted.tensors.shape("a.0.weight") == shape);
    return converted.tensors.to_float("a.0.weight");
  };
  // The shape says W[out][in]; spconv 2 multiplies by the memory as [in][out].
  std::vector<float> const in_memory{0, 1, 2, 3, 4, 5};
  std::vector<float> const as_shaped{0, 2, 4, 1, 3, 5};
  CHECK(values({}, {2, 3}) == in_memory);
  CHECK(values(ConvertOptions().spconv_major(2), {2, 3}) == in_memory);
  CHECK(values(ConvertOptions().spconv_major(1), {2, 3}) == as_shaped);
  CHECK(values(ConvertOptions().strided_pointwise({"a.0.weight"}), {1, 2, 3}) == as_shaped);

  auto const warnings = [&](ConvertOptions const& options) {
    int count = 0;
    for (auto const& line : io::convert_checkpoint(made.state, "f", options).report) {
      count += line.warning ? 1 : 0;
    }
    return count;
  };
  CHECK(warnings({}) == 1);
  CHECK(warnings(ConvertOptions().spconv_major(2)) == 0);
  CHECK(test::has(io::convert_checkpoint(made.state, "f").text(),
                  "\n! a.0.weight krsc [3, 1, 1, 1, 2] -> [2, 3]: "));
}

TEST_CASE("convert: TorchSparse's and MinkowskiEngine's kernels are told apart by norms, biases and options")
{
  Made made;
  made.add("a.kernel", {27, 2, 2})
      .add("b.kernel", {8, 2, 2})
      .add("c.kernel", {2, 3})
      .add("d.kernel", {3, 2, 2});
  CHECK(layouts(made).at("a.kernel").first == "torchsparse");
  CHECK(layouts(made, ConvertOptions().layout(WeightLayout::minkowski)).at("b.kernel").first == "minkowski");
  made.add("norm1.bn.running_mean", {2});
  CHECK(layouts(made).at("a.kernel").first == "minkowski");
  Made biased;
  biased.add("a.kernel", {27, 2, 3}).add("a.bias", {1, 3});
  auto const converted = io::convert_checkpoint(biased.state, "f");
  CHECK(converted.report[0].layout == "minkowski");
  CHECK(converted.tensors.shape("a.bias") == std::vector<std::int64_t>{3});

  // A 2x2x2 kernel: row-major in TorchSparse, first axis fastest in MinkowskiEngine.
  auto const firsts = [&](WeightLayout layout) {
    auto const values =
        io::convert_checkpoint(made.state, "f", ConvertOptions().layout(layout)).tensors.to_float("b.kernel");
    std::vector<int> order;
    for (std::size_t k = 0; k < 8; ++k) { order.push_back(static_cast<int>(values[4 * k]) / 4); }
    return order;
  };
  CHECK(firsts(WeightLayout::torchsparse) == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(firsts(WeightLayout::minkowski) == std::vector<int>{0, 4, 2, 6, 1, 5, 3, 7});

  Made odd;
  odd.add("a.kernel", {15, 1, 1});
  auto const told =
      io::convert_checkpoint(odd.state, "f", ConvertOptions().kernel_size("a.kernel", {3, 5, 1}));
  CHECK(told.tensors.to_float("a.kernel") ==
        std::vector<float>{0, 3, 6, 9, 12, 1, 4, 7, 10, 13, 2, 5, 8, 11, 14});
  CHECK(test::has(error(odd, ConvertOptions().kernel_size("a.kernel", {3, 3, 1})),
                  "its kernel size is [3, 3, 1]"));
}

TEST_CASE("convert: swapped axes are those of a network over coordinates in the other order")
{
  Made made;
  made.add("a.weight", {1, 2, 3, 5, 1}).add("a.bias", {1});
  auto const plain = io::convert_checkpoint(made.state, "f", ConvertOptions().layout(WeightLayout::krsc));
  auto const swapped =
      io::convert_checkpoint(made.state, "f", ConvertOptions().layout(WeightLayout::krsc).swap_axes());
  auto const a = plain.tensors.to_float("a.weight");
  auto const b = swapped.tensors.to_float("a.weight");
  for (std::size_t z = 0; z < 2; ++z) {
    for (std::size_t y = 0; y < 3; ++y) {
      for (std::size_t x = 0; x < 5; ++x) { CHECK(a[(z * 3 + y) * 5 + x] == b[(x * 3 + y) * 2 + z]); }
    }
  }
}

TEST_CASE("convert: a kernel of the same volume on another axis is not loaded")
{
  // The last layer of BEVFusion's encoder, over (x, y, z), and of mmdetection3d's, over (z, y, x).
  Execution<Host> const exec;
  Made made;
  made.add("conv_out.0.weight", {16, 1, 1, 3, 16});
  auto const error_of_loading = [&](ConvertOptions const& options, std::vector<int> const& size) {
    struct Net final : nn::ModuleBase {
      Net(std::vector<int> const& kernel_size, Execution<Host> const& on) : kernel{{3, 16, 16}, on}
      {
        register_parameter("conv_out.0.weight", nn::ParameterRole::conv_weight, kernel, kernel_size);
      }
      nn::Parameter<float, Host> kernel;
    } net{size, exec};
    auto const converted = io::convert_checkpoint(made.state, "f", options);
    return test::error_of([&] { io::load(net, converted.tensors, io::Tessera{}, exec); });
  };
  CHECK(error_of_loading({}, {1, 1, 3}).empty());
  CHECK(error_of_loading({}, {3, 1, 1}) ==
        "load: tensor \"conv_out.0.weight\" is a kernel of size [1, 1, 3] in the file, but the module needs "
        "[3, 1, 1]; are its axes in another order?");
  CHECK(error_of_loading(ConvertOptions().swap_axes(), {3, 1, 1}).empty());
  CHECK_FALSE(error_of_loading(ConvertOptions().swap_axes(), {1, 1, 3}).empty());
  // Converted once more, as programs do with any file, it still says so.
  auto const once = io::convert_checkpoint(made.state, "f");
  for (bool const swap : {false, true}) {
    auto const twice = io::convert_checkpoint(once.tensors, ConvertOptions().swap_axes(swap));
    CHECK(twice.tensors.metadata().at("tessera.kernel_size.conv_out.0.weight") ==
          (swap ? "[3, 1, 1]" : "[1, 1, 3]"));
  }
  CHECK(error_of_loading({}, {1, 3}).empty());  // of other dimensions, which only the user can judge
}

TEST_CASE("convert: a name with control characters is one line of the report, and no command to a terminal")
{
  Made made;
  made.add("\x1b[31ma\n! forged.weight", {4, 3, 3, 3, 2});
  CHECK(io::convert_checkpoint(made.state, "f").text() ==
        "state_dict: the file itself; prefix: none\n"
        "  \\x1b[31ma\\x0a! forged.weight krsc [4, 3, 3, 3, 2] -> [27, 2, 4]: the only usual kernel size\n");
}

TEST_CASE("convert: names of any length have lines of bounded length in the report")
{
  std::string const name(60000, 'n');
  Made made;
  made.add(name + ".conv1.weight", {6, 3, 3, 3, 2}).norm(name + ".bn1", 6);
  made.add(name + ".kernel", {27, 2, 2}).norm(name + ".bn", 2).add("left." + name, {2});
  made.state.where = name;
  made.state.beside = {name};
  made.state.others = {name};
  for (auto const& options : {ConvertOptions(), ConvertOptions().fold_batch_norm(1e-3),
                              ConvertOptions().prefix(name + "."), ConvertOptions().prefix("left.")}) {
    auto const text = io::convert_checkpoint(made.state, "f", options).text();
    CHECK(text.size() < 6000);
    CHECK(test::has(text, "nnn..."));
  }
}

TEST_CASE("convert: known prefixes are found and taken away, others are left out or asked for")
{
  for (auto const& prefix : io::known_prefixes()) {
    CAPTURE(prefix);
    for (std::string const wrapper : {"", "module."}) {
      Made made;
      made.add(wrapper + prefix + "a.weight", {4, 3, 3, 3, 2}).add(wrapper + "head.weight", {2, 3});
      made.state.versions[wrapper + prefix + "a"] = 2;
      auto const converted = io::convert_checkpoint(made.state, "f");
      CHECK(converted.tensors.names() == std::vector<std::string>{"a.weight"});
      CHECK(converted.prefix == wrapper + prefix);
      CHECK(test::has(converted.text(), "head.weight [2, 3] left out: another prefix"));
      auto const whole = io::convert_checkpoint(made.state, "f", ConvertOptions().prefix(""));
      CHECK(whole.tensors.names() == std::vector<std::string>{prefix + "a.weight", "head.weight"});
    }
  }
  Made made;
  made.add("net.a.weight", {4, 3, 3, 3, 2})
      .add("backbone.0.weight", {8, 4, 3, 3})
      .add("middle_encoder.b.weight", {2, 2});
  CHECK(io::convert_checkpoint(made.state, "f").prefix == "middle_encoder.");
  CHECK(io::convert_checkpoint(made.state, "f", ConvertOptions().prefix("net.")).tensors.names() ==
        std::vector<std::string>{"a.weight"});
  CHECK(error(made, ConvertOptions().prefix("teacher.")) ==
        "has no tensor whose name begins with 'teacher.'; they begin with 'backbone.', 'middle_encoder.', "
        "'net.'");
  CHECK(io::convert_checkpoint(made.state, "f", ConvertOptions().prefix("net.").kernel_name("kernel"))
            .tensors.names() == std::vector<std::string>{"a.kernel"});
}

TEST_CASE("convert: every recorded checkpoint is converted, each kernel by a reason, and nothing is lost")
{
  for (auto const& path : test::data_files("golden/spconv", ".pth")) {
    CAPTURE(path);
    auto const file = io::read_torch_checkpoint(path);
    auto const state = io::find_state_dict(file);
    auto const converted = io::convert_checkpoint(path);
    CHECK_FALSE(converted.prefix.empty());
    CHECK(converted.tensors.names().size() == state.tensors.size());
    std::string layout;
    for (auto const& named : state.tensors) {
      auto const& name = named.first;
      auto const& tensor = named.second;
      CAPTURE(name);
      auto const ours = converted.tensors.tensor(name.substr(converted.prefix.size()));
      CHECK(ours.num_bytes == tensor.num_bytes);
      if (tensor.shape.size() != 5) { CHECK(same(ours, tensor)); }
    }
    for (auto const& line : converted.report) {
      CHECK_FALSE(line.reason.empty());
      if (line.layout.empty()) { continue; }
      CHECK((layout.empty() || layout == line.layout));  // one detector, one layout
      layout = line.layout;
      // The last axis is the channels out: those of the norm behind.
      auto const norm = detail::TensorTable{state.tensors}.out_channels(detail::module_of(line.from)).first;
      CHECK(line.to_shape.back() == norm);
    }
    CHECK_FALSE(layout.empty());
  }
}

TEST_CASE(
    "convert: FlexGEMM's kernels are read as their shapes say, where somebody says that they are FlexGEMM's")
{
  Made made;
  made.add("a.weight", {3, 1, 1, 1, 2}).add("b.weight", {2, 3, 1, 1, 2});
  auto const converted =
      io::convert_checkpoint(made.state, "f", ConvertOptions().layout(WeightLayout::flexgemm));
  CHECK(converted.report[0].layout == "flexgemm");
  CHECK(converted.report[0].warning == false);
  CHECK(converted.tensors.shape("a.weight") == std::vector<std::int64_t>{2, 3});
  CHECK(converted.tensors.to_float("a.weight") ==
        std::vector<float>{0, 2, 4, 1, 3, 5});  // [out, in] transposed
  CHECK(converted.tensors.shape("b.weight") == std::vector<std::int64_t>{3, 2, 2});
  CHECK(converted.tensors.to_float("b.weight") == std::vector<float>{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
}
