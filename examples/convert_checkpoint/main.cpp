// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Brings a checkpoint of mmdetection3d, OpenPCDet, det3d, BEVFusion, SPVNAS or MinkowskiEngine into Tessera's
// layout, as safetensors; `convert_checkpoint --help` says how it is used.

#include "../support/program.hpp"

#include <tessera/io/convert.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace ts = tessera;
using program::CommandLine;
using program::UsageError;

struct Options {
  bool help = false;
  std::string input;
  std::string output;
  std::string report;
  bool folds = false;
  double epsilon = 1e-3;
  std::set<std::string> strided;
  ts::ConvertOptions convert;
};

constexpr char const* help_begin =
    "usage: convert_checkpoint IN OUT.safetensors [options]\n\n"
    "Reads a PyTorch checkpoint (.pth, .pt, .ckpt, zip or stream) or a safetensors file, finds the kernels "
    "of\n"
    "sparse convolutions in it, tells their layout, and writes all tensors in Tessera's layout:\n"
    "[volume, in, out], offsets row-major. Nothing in the checkpoint is run. Prints what was decided for\n"
    "each tensor and why; lines that deserve a look begin with '!'.\n";

constexpr char const* help_end =
    "\nExamples:\n"
    "  convert_checkpoint centerpoint.pth centerpoint.safetensors\n"
    "  convert_checkpoint second.pth second.safetensors --spconv-major 1 --report second.txt\n"
    "  convert_checkpoint detector.pth all.safetensors --prefix \"\"\n"
    "  convert_checkpoint minkunet.pt minkunet.safetensors --layout torchsparse\n"
    "\nExit status: 0 converted, 1 the file cannot be read, told or written, 2 the command line cannot be "
    "meant.\n";

ts::io::WeightLayout parse_layout(std::string const& text)
{
  using ts::io::WeightLayout;
  std::string known = "auto";
  for (auto const layout :
       {WeightLayout::krsc, WeightLayout::rskc, WeightLayout::rsck, WeightLayout::flexgemm,
        WeightLayout::torchsparse, WeightLayout::minkowski, WeightLayout::tessera}) {
    if (text == name_of(layout)) { return layout; }
    known += std::string{"|"} + name_of(layout);
  }
  throw UsageError{"--layout: '" + text + "' is none of " + known};
}

/// NAME=3x5x1
void parse_kernel_size(std::string const& text, ts::ConvertOptions& to)
{
  auto const equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError{"--kernel-size: '" + text + "' is not NAME=AxBxC"};
  }
  std::vector<int> size;
  std::string_view rest{text};
  rest.remove_prefix(equals + 1);
  for (;;) {
    auto const cross = rest.find('x');
    size.push_back(program::parse_number("--kernel-size", rest.substr(0, cross), 1, 1024));
    if (cross == std::string_view::npos) { break; }
    if (size.size() == 4) { throw UsageError{"--kernel-size: '" + text + "' has more than 4 axes"}; }
    rest.remove_prefix(cross + 1);
  }
  to.kernel_size(text.substr(0, equals), size);
}

Options parse_options(std::vector<std::string> const& arguments, std::string& help_text)
{
  Options options;
  CommandLine line;
  line.group("What is converted");
  line.add(
      "--key", "NAME",
      "the member of the checkpoint that is the state_dict, e.g. ema or model.ema (default: state_dict, "
      "model_state, model_state_dict, model, network, net or module, one in another if need be, or the file "
      "itself)",
      [&](std::string const& text) { options.convert.key(text); });
  line.add(
      "--prefix", "TEXT",
      "converts the tensors whose names begin so, and takes it from the names; \"\" converts all (default: "
      "the "
      "first that is there of pts_middle_encoder., middle_encoder., encoders.lidar.backbone., backbone_3d., "
      "backbone.; else all). Wrappers of training (module., model., net., network., _orig_mod.) that all "
      "weights "
      "have are taken away first, with \"\" module. and _orig_mod. alone",
      [&](std::string const& text) { options.convert.prefix(text); });

  line.group("How kernels are read");
  line.add("--layout", "auto|krsc|rskc|rsck|flexgemm|torchsparse|minkowski|tessera",
           "auto (default): told from shapes, norms, biases and names. krsc: spconv 2.2 and later; rskc: "
           "spconv 2.0 "
           "and 2.1; rsck: spconv 1, mmcv, BEVFusion; flexgemm: FlexGEMM, TRELLIS.2; tessera: as it is "
           "written here",
           [&](std::string const& text) {
             if (text == "auto") {
               options.convert.layout(std::nullopt);
             } else {
               options.convert.layout(parse_layout(text));
             }
           });
  line.add(
      "--spconv-major", "1|2",
      "the spconv that trained the weights. Needed where shapes tell nothing, and for kernels of one voxel "
      "in "
      "the layout of spconv 2: spconv 2 reads them as [in, out] in memory (default), 1 as their shape says",
      [&](std::string const& text) {
        options.convert.spconv_major(program::parse_number("--spconv-major", text, 1, 2));
      });
  line.add("--strided", "NAME",
           "the weight NAME is of one voxel and has a stride other than 1, so spconv reads it as its shape "
           "says; may be "
           "given several times",
           [&](std::string const& text) { options.strided.insert(text); });
  line.add("--kernel-size", "NAME=AxBxC",
           "the kernel size of a TorchSparse or MinkowskiEngine kernel, of which the file has the volume "
           "alone (without "
           "it offsets that need it are put in order when a network loads the file), or of a sparse kernel "
           "that was "
           "taken for a dense one; may be given several times",
           [&](std::string const& text) { parse_kernel_size(text, options.convert); });

  line.group("What else is done to them");
  line.add("--swap-axes", "", "reverses the axes of every kernel: from z, y, x to x, y, z and back",
           [&](std::string const&) { options.convert.swap_axes(); });
  line.add(
      "--fold-batch-norm", "",
      "multiplies the norm behind each sparse convolution into its weight and bias, and leaves the norm out: "
      "1 "
      "behind 0 of a Sequential, and bn2 behind conv2 where the file has them next to each other, which is "
      "marked, because an activation may be between them. The report says what was not folded, and why",
      [&](std::string const&) { options.folds = true; });
  line.add(
      "--batch-norm-eps", "EPSILON",
      "the norms' epsilon, which no checkpoint holds (default: 0.001, as the detectors' encoders; PyTorch's "
      "own default is 0.00001)",
      [&](std::string const& text) {
        options.epsilon = program::parse_number<double>("--batch-norm-eps", text, 0.0, 1.0);
      });
  line.add("--kernel-name", "NAME", "renames kernels: the last part of their names becomes NAME, e.g. kernel",
           [&](std::string const& text) {
             if (text.empty()) { throw UsageError{"--kernel-name needs a value"}; }
             options.convert.kernel_name(text);
           });

  line.group("Results");
  line.add("--report", "FILE", "writes the report to FILE instead of printing it",
           [&](std::string const& text) {
             if (text.empty()) { throw UsageError{"--report needs a value"}; }
             options.report = text;
           });
  line.add("--help", "", "this text", [&](std::string const&) { options.help = true; });

  auto const positional = line.parse(arguments);
  if (options.help) {
    help_text = help_begin + line.help() + help_end;
    return options;
  }
  if (positional.size() != 2 || positional[0].empty() || positional[1].empty()) {
    throw UsageError{"a checkpoint and the file to write are needed, in this order; --help says more"};
  }
  options.input = positional[0];
  options.output = positional[1];
  options.convert.strided_pointwise(options.strided);
  if (options.folds) { options.convert.fold_batch_norm(options.epsilon); }
  return options;
}

void run(Options const& options)
{
  // [convert]
  auto const converted = ts::io::convert_checkpoint(options.input, options.convert);
  // [convert]
  for (auto const& name : options.strided) {
    bool const known = std::any_of(converted.report.begin(), converted.report.end(), [&](auto const& line) {
      auto const end = line.from.size() - std::min(line.from.size(), name.size());
      return line.from.substr(end) == name && !line.layout.empty();
    });
    if (!known) { throw ts::invalid_argument{"--strided: there is no kernel '" + name + "'"}; }
  }
  // [save]
  ts::io::save_checkpoint(converted, options.output);
  // [save]
  auto const text = converted.text();
  if (options.report.empty()) {
    std::fputs(text.c_str(), stdout);
  } else {
    std::ofstream file{options.report, std::ios::binary};
    file << text << std::flush;
    if (!file) { throw ts::invalid_argument{"convert_checkpoint: " + options.report + " cannot be written"}; }
  }
  int kernels = 0;
  int warnings = 0;
  for (auto const& line : converted.report) {
    kernels += line.layout.empty() ? 0 : 1;
    warnings += line.warning ? 1 : 0;
  }
  std::printf("%s: %zu tensors, %d of them kernels of sparse convolutions", options.output.c_str(),
              converted.tensors.names().size(), kernels);
  std::printf(warnings == 0 ? "\n" : ", %d deserve a look\n", warnings);
}

}  // namespace

int main(int argc, char** argv)
{
  return program::run_program("convert_checkpoint", argc, argv, parse_options, run);
}
