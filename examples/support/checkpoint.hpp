// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "points.hpp"
#include "program.hpp"

#include <tessera/io/convert.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace program {

/// Networks of the programs among the examples, as their checkpoints name their parts.
enum class NetworkKind : std::uint8_t {
  minkunet,             ///< SPVNAS's MinkUNet
  mmdet3d_spconv,       ///< mmdetection3d's MinkUNet on spconv
  mmdet3d_torchsparse,  ///< the same on TorchSparse
  part_a2,              ///< Part-A2's SparseUNet
  encoder,              ///< SECOND's, CenterPoint's and BEVFusion's sparse encoder
};

/// How a kind is recognised: by a parameter that it has and those after it do not.
struct KnownNetwork {
  NetworkKind kind;
  std::string_view parameter;
  char const* name;
  char const* runs;  // the program
};
inline constexpr std::array<KnownNetwork, 5> known_networks{{
    {NetworkKind::minkunet, "stem.0.kernel", "SPVNAS's MinkUNet", "segment_scan"},
    {NetworkKind::mmdet3d_spconv, "conv_input.0.0.weight", "mmdetection3d's MinkUNet", "segment_scan"},
    {NetworkKind::mmdet3d_torchsparse, "conv_input.0.net.0.kernel", "mmdetection3d's MinkUNet on TorchSparse",
     "segment_scan"},
    {NetworkKind::part_a2, "merge_layer1.0.weight", "Part-A2's U-Net", "encode_bev"},
    {NetworkKind::encoder, "conv_input.0.weight", "a detector's sparse encoder", "encode_bev"},
}};

[[nodiscard]] inline KnownNetwork const& known_network(NetworkKind kind)
{
  return known_networks[static_cast<std::size_t>(kind)];
}

/// What a checkpoint holds, in Tessera's layout and with the network's own names.
struct Checkpoint {
  tessera::io::ConvertedCheckpoint converted;
  NetworkKind kind;
  std::string prefix;  // what the names in the file have before the network's

  [[nodiscard]] tessera::Safetensors const& tensors() const { return converted.tensors; }
};

/// The kinds of network in `tensors`, each with what its names begin with.
[[nodiscard]] inline std::vector<std::pair<NetworkKind, std::string>> networks_in(
    tessera::Safetensors const& tensors)
{
  std::vector<std::pair<NetworkKind, std::string>> found;
  auto const is_known = [&](std::string const& prefix) {
    for (auto const& other : found) {
      if (other.second == prefix) { return true; }  // of a kind that comes before
    }
    return false;
  };
  for (auto const& known : known_networks) {
    for (auto const& name : tensors.names()) {
      auto const size = known.parameter.size();
      if (name.size() < size || name.compare(name.size() - size, size, known.parameter) != 0) { continue; }
      auto const prefix = name.substr(0, name.size() - size);
      bool const whole = prefix.empty() || prefix.back() == '.';
      if (whole && !is_known(prefix)) { found.emplace_back(known.kind, prefix); }
    }
  }
  return found;
}

/// Reads any checkpoint that convert_checkpoint reads and says which network is in it. Names are searched for
/// the network's where they begin with something else; `options` may say what, and then nothing is searched.
/// @throws Failure  there is none of these networks in it, or several
[[nodiscard]] inline Checkpoint read_checkpoint(std::string const& path,
                                                tessera::ConvertOptions const& options)
{
  namespace io = tessera::io;
  auto converted = io::convert_checkpoint(path, options);
  auto found = networks_in(converted.tensors);
  if (found.size() > 1) {
    std::string list;
    for (auto const& [kind, prefix] : found) {
      list += (list.empty() ? "" : ", ") + std::string{known_network(kind).name} + " ('" + prefix + "')";
    }
    throw Failure{path + " holds several networks: " + list + "; say which by --prefix"};
  }
  if (found.empty()) {
    auto const names = converted.tensors.names();
    throw Failure{path +
                  " is no checkpoint of a network that can be run here: it has none of the kernels of "
                  "MinkUNet ('stem.0.kernel', 'conv_input.0.0.weight') and of detectors' encoders "
                  "('conv_input.0.weight')" +
                  (names.empty() ? "" : "; its first tensor is '" + names.front() + "'")};
  }
  auto const& [kind, prefix] = found.front();
  std::string whole_prefix = converted.prefix + prefix;
  if (!prefix.empty()) {
    converted = io::convert_checkpoint(path, tessera::ConvertOptions(options).prefix(whole_prefix));
  }
  return {std::move(converted), kind, std::move(whole_prefix)};
}

/// What the command line says of weights.
struct CheckpointOptions {
  std::string checkpoint;             // empty: random weights
  std::optional<std::string> prefix;  // not given: searched for
  int spconv_major = 0;
  std::uint64_t seed = 1;  // of random weights
};

/// The checkpoint that the options name.
/// @throws Failure  as above
[[nodiscard]] inline Checkpoint read_checkpoint(CheckpointOptions const& options)
{
  tessera::ConvertOptions how;
  how.spconv_major(options.spconv_major);
  if (options.prefix) { how.prefix(*options.prefix); }
  return read_checkpoint(options.checkpoint, how);
}

/// Tensors of which the conversion says that they deserve a look.
[[nodiscard]] inline int num_warnings(Checkpoint const& checkpoint)
{
  int warnings = 0;
  for (auto const& line : checkpoint.converted.report) { warnings += line.warning ? 1 : 0; }
  return warnings;
}

/// The last but `from_last` extent of a kernel; nothing where the checkpoint has none of that name.
/// @throws Failure  it is not from 1 to `most`: a shape may claim anything for the price of a few bytes
[[nodiscard]] inline std::optional<int> extent_of(Checkpoint const& checkpoint, std::string const& path,
                                                  std::string const& name, std::size_t rank,
                                                  std::size_t from_last, int most, char const* what)
{
  auto const& tensors = checkpoint.tensors();
  if (!tensors.contains(name) || tensors.shape(name).size() != rank) { return std::nullopt; }
  auto const& shape = tensors.shape(name);
  auto const extent = shape[shape.size() - 1 - from_last];
  if (extent >= 1 && extent <= most) { return static_cast<int>(extent); }
  throw Failure{path + ": '" + checkpoint.prefix + name + "' is for " + std::to_string(extent) + " " + what +
                "; 1 to " + std::to_string(most) + " are possible"};
}

/// The options that say what is in a checkpoint.
inline void add_checkpoint_options(CommandLine& line, CheckpointOptions& options,
                                   std::string const& checkpoint_help, std::string const& prefix_help)
{
  line.add("--checkpoint", "FILE", checkpoint_help, [&options](std::string const& text) {
    if (text.empty()) { throw UsageError{"--checkpoint needs a value"}; }
    options.checkpoint = text;
  });
  line.add("--prefix", "TEXT", prefix_help, [&options](std::string const& text) { options.prefix = text; });
  line.add("--spconv-major", "1|2", "the spconv of the checkpoint, where it cannot be told",
           [&options](std::string const& text) {
             options.spconv_major = parse_number("--spconv-major", text, 1, 2);
           });
}

/// @throws UsageError  options about a checkpoint that is not given
inline void check_checkpoint_options(CheckpointOptions const& options)
{
  if (!options.checkpoint.empty() || (!options.prefix && options.spconv_major == 0)) { return; }
  throw UsageError{std::string{options.prefix ? "--prefix" : "--spconv-major"} + " belongs to --checkpoint"};
}

/// The line of the report that says where the weights are from.
/// @param what  the network, or nothing
inline void print_weights(CheckpointOptions const& options, Checkpoint const* checkpoint,
                          std::string const& what, char const* results)
{
  if (checkpoint == nullptr) {
    std::printf("weights   random, seed %llu: the %s nothing\n",
                static_cast<unsigned long long>(options.seed), results);
    return;
  }
  auto const& prefix = checkpoint->prefix;
  auto const text = options.checkpoint + (what.empty() ? "" : ", ") + what +
                    (prefix.empty() ? "" : ", names behind '" + prefix + "'");
  std::printf("weights   %s\n", printable(text).c_str());
}

/// The note that the conversion of a checkpoint deserves, if any.
inline void print_conversion_note(Checkpoint const& checkpoint)
{
  int const warnings = num_warnings(checkpoint);
  if (warnings == 0) { return; }
  print_note(counted(warnings, "tensor deserves", "tensors deserve") +
             " a look, which convert_checkpoint prints; --spconv-major may matter");
}

/// Throws Failure unless the checkpoint has about as many values as the network needs, before there is one.
inline void expect_values(Checkpoint const& checkpoint, std::string const& path, double needed,
                          std::string const& network)
{
  double values = 0;
  for (auto const& name : checkpoint.tensors().names()) {
    values += static_cast<double>(checkpoint.tensors().tensor(name).size());
  }
  if (2 * values >= needed) { return; }
  char text[160];
  std::snprintf(text, sizeof(text), ": %.0f values are not those of %s, about %.0f", values, network.c_str(),
                needed);
  throw Failure{path + text};
}

}  // namespace program
