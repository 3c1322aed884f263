// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// What names tell: wrappers of training, which norm follows which convolution, and what is said where they do
// not fit.

#include "../support/files.hpp"
#include "../support/pickles.hpp"
#include "../support/state_dicts.hpp"

#include <tessera/io/convert.hpp>
#include <tessera/io/load.hpp>
#include <tessera/io/npy.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

using namespace tessera;
using io::WeightLayout;
using test::Made;
using test::Parameters;

namespace {

std::vector<std::string> names_of(Made const& made, ConvertOptions const& options = {})
{
  return io::convert_checkpoint(made.state, "f", options).tensors.names();
}

/// A convolution and its norm behind `prefix`.
Made network(std::string const& prefix)
{
  Made made;
  made.add(prefix + "conv.0.weight", {4, 3, 3, 3, 2}).norm(prefix + "conv.1", 4);
  return made;
}

/// The line of the report about the tensor `name`.
io::ConvertedTensor line_of(io::ConvertedCheckpoint const& checkpoint, std::string const& name)
{
  for (auto const& line : checkpoint.report) {
    if (line.from == name) { return line; }
  }
  return {};
}

/// A residual block's layers in the order of `layers`: what has a `c` in it is a convolution of 4 channels,
/// what has an `n` a norm.
Made block(std::vector<std::string> const& layers)
{
  Made made;
  for (auto const& layer : layers) {
    bool const conv = layer.find("conv") != std::string::npos;
    conv ? made.add("b." + layer + ".weight", {4, 3, 3, 3, 4}) : made.norm("b." + layer, 4);
  }
  return made;
}

/// The convolutions whose norm is folded, and those of whose norm a line says that it is not.
struct Folds {
  std::vector<std::string> folded;
  std::vector<std::string> told;
};
Folds folds_of(Made const& made)
{
  Folds result;
  auto const converted = io::convert_checkpoint(
      made.state, "f", ConvertOptions().fold_batch_norm(1e-3).layout(WeightLayout::krsc));
  for (auto const& line : converted.report) {
    if (line.layout.empty()) { continue; }
    auto const name = line.from.substr(2, line.from.size() - 9);  // b.NAME.weight
    if (test::has(line.reason, "folded with epsilon")) {
      CHECK(converted.tensors.contains("b." + name + ".bias"));
      result.folded.push_back(name);
    } else {
      CHECK_FALSE(converted.tensors.contains("b." + name + ".bias"));
      if (line.warning && test::has(line.reason, "no norm folded: ")) { result.told.push_back(name); }
    }
  }
  return result;
}
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("names: wrappers of training are taken away, whichever and however many")
{
  auto const plain = names_of(network(""));
  for (std::string const wrapper :
       {"module.", "model.", "net.", "network.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.",
        "model.module._orig_mod.", "_fsdp_wrapped_module.", "model._fsdp_wrapped_module.net.", "net.net."}) {
    CAPTURE(wrapper);
    auto const converted = io::convert_checkpoint(network(wrapper).state, "f");
    CHECK(converted.tensors.names() == plain);
    CHECK(converted.prefix == wrapper);
    CHECK(converted.report.front().from == wrapper + "conv.0.weight");
    for (std::string const known : {"backbone_3d.", "pts_middle_encoder."}) {
      auto const behind = io::convert_checkpoint(network(wrapper + known).state, "f");
      CHECK(behind.tensors.names() == plain);
      CHECK(behind.prefix == wrapper + known);
    }
    // A loss or a counter beside the network keeps its name, and the network loses the wrapper all the same.
    auto made = network(wrapper);
    made.add("criterion.weight", {3}).add("n_averaged", {});
    auto more = plain;
    more.insert(more.end(), {"criterion.weight", "n_averaged"});
    CHECK(names_of(made) == more);
    // The prefix can be given as the file has it, or without the wrapper.
    CHECK(names_of(network(wrapper), ConvertOptions().prefix(wrapper + "conv.")).front() == "0.weight");
    CHECK(names_of(network(wrapper + "head."), ConvertOptions().prefix(wrapper + "head.")) == plain);
  }
  // PyTorch's own wrappers go wherever they are; options may name tensors with them or without.
  auto inner = network("encoder._orig_mod.");
  inner.add("head.weight", {2, 3});
  CHECK(names_of(inner).front() == "encoder.conv.0.weight");
  Made kernel;
  kernel.add("module._orig_mod.a.kernel", {16, 1, 1}).norm("module._orig_mod.b", 1);
  for (std::string const name : {"a.kernel", "module._orig_mod.a.kernel"}) {
    auto const told = io::convert_checkpoint(kernel.state, "f", ConvertOptions().kernel_size(name, {2, 8}));
    CHECK(told.tensors.metadata().at("tessera.kernel_size.a.kernel") == "[2, 8]");
  }
  // Versions of modules are named as the modules are.
  Made versions;
  versions.add("module.a.weight", {3, 3, 3, 8, 8});
  versions.state.versions["module.a"] = 2;
  CHECK(line_of(io::convert_checkpoint(versions.state, "f"), "module.a.weight").layout == "rskc");
}

TEST_CASE("names: what need not be a wrapper stays, and two networks are not mixed")
{
  auto two = network("model.");
  two.add("head.weight", {3, 4});
  CHECK(names_of(two).front() == "model.conv.0.weight");
  auto averaged = network("model.");
  for (auto const& [name, tensor] : network("ema.").state.tensors) { averaged.add(name, tensor.shape); }
  CHECK(names_of(averaged).front() == "model.conv.0.weight");
  auto both = network("model.backbone_3d.");
  for (auto const& [name, tensor] : network("module.backbone_3d.").state.tensors) {
    both.add(name, tensor.shape);
  }
  auto const sentence = test::error_of([&] { static_cast<void>(names_of(both)); });
  CHECK(test::has(sentence, "has 'backbone_3d.' behind 'model.' and behind 'module.'; give the prefix"));
  CHECK(names_of(both, ConvertOptions().prefix("model.backbone_3d.")) == names_of(network("")));
  // Two tensors would get one name.
  Made clash;
  clash.add("net.a.weight", {4, 3, 3, 3, 2}).add("a.weight", {4});
  CHECK(names_of(clash) == Names{"net.a.weight", "a.weight"});
  // As asked for: only what is nothing else than a wrapper.
  CHECK(names_of(network("module.net."), ConvertOptions().prefix("")).front() == "net.conv.0.weight");
  // A file that was converted before keeps its names.
  auto made = network("backbone.net.");
  auto const once = io::convert_checkpoint(made.state, "f");
  CHECK(once.tensors.names().front() == "net.conv.0.weight");
  CHECK(io::convert_checkpoint(once.tensors).tensors.names() == once.tensors.names());
}

TEST_CASE("names: a known prefix is found behind any one beginning that all weights share")
{
  for (std::string const before : {"ema_model.", "swa_model.module.", "student.", "models.", "self."}) {
    CAPTURE(before);
    auto made = network(before + "middle_encoder.");
    made.add(before + "head.weight", {3, 4}).add("loss", {1});
    CHECK(names_of(made) == names_of(network("")));
    CHECK(io::convert_checkpoint(made.state, "f").prefix == before + "middle_encoder.");
  }
  // Two networks in one file are a choice: nothing is taken away.
  auto both = network("student.middle_encoder.");
  for (auto const& [name, tensor] : network("teacher.middle_encoder.").state.tensors) {
    both.add(name, tensor.shape);
  }
  CHECK(names_of(both).front() == "student.middle_encoder.conv.0.weight");
  CHECK(names_of(both, ConvertOptions().prefix("teacher.middle_encoder.")) == names_of(network("")));
  // A part of a network that is only called so.
  auto part = network("image.backbone.");
  part.add("points.weight", {3, 4});
  CHECK(names_of(part).front() == "image.backbone.conv.0.weight");
}

TEST_CASE("names: a module is loaded whether it has the names of the wrapper or of the network in it")
{
  Execution<Host> const exec;
  test::TempDir const folder;
  auto const path = folder / "f.safetensors";
  auto const load = [&](auto const& from, std::string const& own) {
    Parameters net{exec};
    net.add(own + "conv.0.weight", {27, 2, 4}, nn::ParameterRole::conv_weight, {3, 3, 3});
    net.add(own + "conv.1.bias", {4});
    auto const report = io::load(net, from, io::Tessera{}, exec);
    CHECK(net.values(1) == std::vector<float>{0, 1, 2, 3});
    return report.loaded[1];
  };
  // Converted: the module may have any end of what names lost.
  for (std::string const own : {"", "net.", "model.net.", "module.model.net."}) {
    CAPTURE(own);
    io::save_checkpoint(io::convert_checkpoint(network("module.model.net.").state, "f"), path);
    CHECK(load(path, own) == "conv.1.bias");
  }
  io::save_checkpoint(io::convert_checkpoint(io::convert_checkpoint(path).tensors), path);
  CHECK(load(path, "model.net.") == "conv.1.bias");
  // Not converted: wrappers in the file are found.
  for (std::string const wrapper : {"module.", "model.net.", "_orig_mod."}) {
    Made made;
    made.add(wrapper + "conv.0.weight", {27, 2, 4})
        .add(wrapper + "conv.1.bias", {4})
        .add("loss.weight", {2, 2});
    write_safetensors(path, made.state.tensors);
    CHECK(load(path, "") == wrapper + "conv.1.bias");
  }
}

TEST_CASE("names: what is missing is said with what the file has, the nearest name and the prefix that fits")
{
  Execution<Host> const exec;
  Parameters net{exec};
  net.add("encoder.0.weight", {4}).add("encoder.0.bias", {4}).add("head.bias", {2});
  auto const sentence = [&](Made const& made) {
    Safetensors const file{safetensors_bytes(made.state.tensors), "f"};
    return test::error_of([&] { io::load(net, file, io::Tessera{}, exec); });
  };
  Made other;
  other.add("decoder.0.weight", {4}).add("decoder.0.bias", {4}).add("x", {1});
  CHECK(sentence(other) ==
        "load: f lacks 3 of the module's 3 tensors: encoder.0.weight, encoder.0.bias, head.bias; it has 3: "
        "decoder.0.weight, decoder.0.bias, x; nearest to \"encoder.0.weight\" is \"decoder.0.weight\"; "
        "nearest to "
        "\"encoder.0.bias\" is \"decoder.0.bias\"");
  CHECK(test::has(sentence(Made{}), "; it has no tensor at all"));
  Made teacher;
  for (std::string const who : {"student.", "teacher."}) {
    teacher.add(who + "encoder.0.weight", {4}).add(who + "encoder.0.bias", {4});
  }
  teacher.add("teacher.head.bias", {2});
  CHECK(test::has(sentence(teacher),
                  "; behind the prefix 'teacher.' it has 3 of them: LoadOptions().prefix(\"teacher.\")"));
  Made twice;  // both complete: neither is taken
  for (std::string const who : {"model.", "module."}) {
    twice.add(who + "encoder.0.weight", {4}).add(who + "encoder.0.bias", {4}).add(who + "head.bias", {2});
  }
  CHECK(test::has(sentence(twice), "lacks 3 of the module's 3 tensors"));
  Made inner;
  inner.add("0.weight", {4}).add("0.bias", {4});
  CHECK(test::has(sentence(inner), "the module's names begin with 'encoder.', those of the file do not"));
  // Names are shown as names, whatever is in them, and not at any length.
  Made hostile;
  hostile.add("\x1b[31m" + std::string(5000, 'n'), {4}).add(std::string(5000, 'e') + ".0.weight", {4});
  auto const shown = sentence(hostile);
  CHECK(shown.size() < 1000);
  CHECK(std::none_of(shown.begin(), shown.end(), [](char c) { return c >= 0 && c < ' '; }));
}

TEST_CASE("names: the network that fits best can be told by the number of tensors that match")
{
  Execution<Host> const exec;
  auto const checkpoint = io::convert_checkpoint(network("module.").state, "f");
  Parameters right{exec};
  right.add("conv.0.weight", {27, 2, 4}, nn::ParameterRole::conv_weight, {3, 3, 3}).add("conv.1.bias", {4});
  Parameters wide{exec};
  wide.add("conv.0.weight", {27, 2, 8}, nn::ParameterRole::conv_weight, {3, 3, 3}).add("conv.1.bias", {4});
  Parameters wrong{exec};
  wrong.add("stem.0.weight", {27, 2, 4}, nn::ParameterRole::conv_weight, {3, 3, 3});
  CHECK(io::num_matching(right, checkpoint.tensors) == 2);
  CHECK(io::num_matching(wide, checkpoint.tensors) == 1);
  CHECK(io::num_matching(wrong, checkpoint.tensors) == 0);
}

TEST_CASE("norms: one is folded only where it follows its convolution, and otherwise that is told")
{
  // The blocks of ResNet, and every convolution of a Sequential.
  CHECK(folds_of(block({"conv1", "bn1", "conv2", "bn2"})).folded == Names{"conv1", "conv2"});
  CHECK(folds_of(block({"conv", "bn"})).folded == Names{"conv"});
  CHECK(folds_of(block({"conv1", "norm1", "conv2"})).folded == Names{"conv1"});
  CHECK(folds_of(block({"conv1_2", "bn1_2"})).folded == Names{"conv1_2"});
  struct Case {
    Names layers;
    Names told;
  };
  // conv, activation, norm with numbers of their own; norms before their convolutions; a number that starts
  // elsewhere; all convolutions, then all norms; an activation with a parameter between them; names in order
  // of the alphabet.
  for (auto const& [layers, told] :
       std::vector<Case>{{{"conv1", "bn0", "conv1_2", "bn0_2", "conv2", "bn1", "conv3", "bn2"},
                          {"conv1", "conv1_2", "conv2", "conv3"}},
                         {{"bn1", "conv1", "bn2", "conv2"}, {"conv1", "conv2"}},
                         {{"conv0", "bn1", "conv1", "bn2"}, {"conv0", "conv1"}},
                         {{"conv0", "conv1", "bn1", "bn2"}, {"conv1"}},
                         {{"conv1", "conv2", "bn1", "bn2"}, {"conv1", "conv2"}},
                         {{"conv1", "bn1", "conv2", "bn3"}, {"conv1", "conv2"}},
                         {{"bn1", "bn2", "conv1", "conv2"}, {"conv1", "conv2"}},
                         {{"conv_a", "bn_b"}, {"conv_a"}}}) {
    auto const what = detail::list(layers);
    CAPTURE(what);
    auto const folds = folds_of(block(layers));
    CHECK(folds.folded.empty());
    CHECK(folds.told == told);
  }
  auto const cylinder = io::convert_checkpoint(block({"conv1", "bn0", "conv2", "bn1"}).state, "f",
                                               ConvertOptions().fold_batch_norm(1e-3));
  CHECK(test::has(cylinder.report.front().reason, "no norm folded: 'b.bn1' does not follow in the file"));
  auto activated = block({"conv1"});
  activated.add("b.act.weight", {1}).norm("b.bn1", 4);
  CHECK(folds_of(activated).folded.empty());
  CHECK(folds_of(activated).told == Names{"conv1"});
  Made sorted;  // as a writer that sorts has them
  sorted.add("b.conv1.weight", {4, 3, 3, 3, 4});
  for (auto const* const part : {".bias", ".running_mean", ".running_var", ".weight"}) {
    sorted.add(std::string{"b.norm1"} + part, {4});
  }
  CHECK(folds_of(sorted).folded.empty());
  CHECK(folds_of(sorted).told == Names{"conv1"});
}

TEST_CASE("norms: the numbers of a Sequential are its order")
{
  Made made;  // norm, convolution, activation, norm; convolution, norm
  made.norm("b.0", 4).add("b.1.weight", {4, 3, 3, 3, 4}).norm("b.3", 4).add("b.4.weight", {4, 3, 3, 3, 4});
  made.norm("b.5", 4);
  auto const folds = folds_of(made);
  CHECK(folds.folded == Names{"4"});
  auto const converted = io::convert_checkpoint(made.state, "f", ConvertOptions().fold_batch_norm(1e-3));
  CHECK_FALSE(line_of(converted, "b.4.weight").warning);
  CHECK(test::has(line_of(converted, "b.1.weight").reason, "no norm behind it"));
  CHECK(converted.tensors.contains("b.3.running_mean"));
  CHECK_FALSE(converted.tensors.contains("b.5.running_mean"));
  // What names tell alone is told.
  auto const named =
      io::convert_checkpoint(block({"conv1", "bn1"}).state, "f", ConvertOptions().fold_batch_norm(1e-3));
  CHECK(named.report.front().warning);
  CHECK(test::has(named.report.front().reason, "wrong if an activation is between them"));
}

TEST_CASE("norms: channels are told by the norm that follows, not by one of the same number elsewhere")
{
  // 2 and 6 channels in: the number of bn1 would make conv1 a kernel of rskc.
  Made made;
  made.add("b.conv1.weight", {3, 3, 3, 2, 6})
      .norm("b.bn0", 6)
      .add("b.conv2.weight", {3, 3, 3, 6, 2})
      .norm("b.bn1", 2);
  auto const converted = io::convert_checkpoint(made.state, "f");
  CHECK(line_of(converted, "b.conv1.weight").layout == "rsck");
  CHECK(line_of(converted, "b.conv2.weight").layout == "rsck");
}
