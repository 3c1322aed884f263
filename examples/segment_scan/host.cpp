// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "segment_points.hpp"

namespace segment_scan {
namespace {

ts::Execution<ts::Host> execution(Options const& options)
{
  return options.threads > 0 ? ts::Execution<ts::Host>{options.threads} : ts::Execution<ts::Host>{};
}

}  // namespace

std::string host_name(Options const& options)
{
  int const threads = execution(options).num_threads();
  return "CPU, " + std::to_string(threads) + (threads == 1 ? " thread" : " threads");
}

Segmentation segment_on_host(Task const& task)
{
  return segment_any<ts::Host, float>(task, execution(*task.options));
}

}  // namespace segment_scan
