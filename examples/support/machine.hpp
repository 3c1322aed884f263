// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "program.hpp"

#include <tessera/core/execution.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace program {

enum class DeviceChoice : std::uint8_t { automatic, cpu, cuda };

enum class Precision : std::uint8_t { fp32, tf32, fp16, bf16 };

[[nodiscard]] inline char const* name_of(Precision precision)
{
  constexpr char const* names[] = {"fp32", "tf32", "fp16", "bf16"};
  return names[static_cast<std::size_t>(precision)];
}

/// What the command line says of the machine.
struct MachineOptions {
  DeviceChoice device = DeviceChoice::automatic;
  std::optional<Precision> precision;  // not given: fp16 on the GPU, fp32 on the CPU
  int threads = 0;                     // on the CPU; 0: all
};

/// @param precisions  how many of fp32, tf32, fp16, bf16 the program knows
inline void add_machine_options(CommandLine& line, MachineOptions& options, std::size_t precisions)
{
  line.add_choice("--device", {"auto", "cpu", "cuda"},
                  "auto (default): the GPU if there is one, else the CPU",
                  [&options](std::size_t i) { options.device = static_cast<DeviceChoice>(i); });
  std::vector<std::string> names{"fp32", "tf32", "fp16", "bf16"};
  names.resize(precisions);
  line.add_choice("--precision", names, "default: fp16 on the GPU; the CPU runs fp32 only",
                  [&options](std::size_t i) { options.precision = static_cast<Precision>(i); });
  line.add("--threads", "N", "threads on the CPU (default: all)", [&options](std::string const& text) {
    options.threads = parse_number("--threads", text, 1, 1024);
  });
}

/// @param threads  0: all
[[nodiscard]] inline tessera::Execution<tessera::Host> host_execution(int threads)
{
  using HostExecution = tessera::Execution<tessera::Host>;
  return threads > 0 ? HostExecution{threads} : HostExecution{};
}

[[nodiscard]] inline std::string host_name(int threads)
{
  int const number = host_execution(threads).num_threads();
  return "CPU, " + std::to_string(number) + (number == 1 ? " thread" : " threads");
}

/// Which device and precision.
struct Machine {
  bool on_device = false;
  Precision precision = Precision::fp32;
};

/// From what was asked for and what there is: fp16 on the GPU and fp32 on the CPU, unless told. `absence()`
/// says why there is no GPU; empty if there is one.
/// @throws Failure  there is not what was asked for
[[nodiscard]] inline Machine choose_machine(MachineOptions const& options,
                                            std::function<std::string()> const& absence_of_device)
{
  auto const device = options.device;
  Machine machine;
  std::string const absence = device == DeviceChoice::cpu ? "not asked for" : absence_of_device();
  machine.on_device = device != DeviceChoice::cpu && absence.empty();
  if (device == DeviceChoice::cuda && !machine.on_device) { throw Failure{"--device cuda: " + absence}; }
  machine.precision = options.precision.value_or(machine.on_device ? Precision::fp16 : Precision::fp32);
  if (!machine.on_device && machine.precision != Precision::fp32) {
    throw Failure{std::string{"--precision "} + name_of(machine.precision) +
                  " needs a GPU, the CPU runs fp32" +
                  (device == DeviceChoice::automatic ? "; " + absence : "")};
  }
  return machine;
}

}  // namespace program
