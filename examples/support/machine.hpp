// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "program.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace program {

enum class DeviceChoice : std::uint8_t { automatic, cpu, cuda };

/// Which device and precision.
template <class Precision>
struct Machine {
  bool on_device = false;
  Precision precision = Precision::fp32;
};

/// From what was asked for and what there is: fp16 on the GPU and fp32 on the CPU, unless told. `absence()`
/// says why there is no GPU; empty if there is one.
/// @throws Failure  there is not what was asked for
template <class Precision, class Absence>
[[nodiscard]] Machine<Precision> choose_machine(DeviceChoice device, std::optional<Precision> precision,
                                                Absence const& absence_of_device)
{
  Machine<Precision> machine;
  std::string const absence = device == DeviceChoice::cpu ? "not asked for" : absence_of_device();
  machine.on_device = device != DeviceChoice::cpu && absence.empty();
  if (device == DeviceChoice::cuda && !machine.on_device) { throw Failure{"--device cuda: " + absence}; }
  machine.precision = precision.value_or(machine.on_device ? Precision::fp16 : Precision::fp32);
  if (!machine.on_device && machine.precision != Precision::fp32) {
    throw Failure{std::string{"--precision "} + name_of(machine.precision) +
                  " needs a GPU, the CPU runs fp32" +
                  (device == DeviceChoice::automatic ? "; " + absence : "")};
  }
  return machine;
}

}  // namespace program
