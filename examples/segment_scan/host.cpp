// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "segment_points.hpp"

namespace segment_scan {

Segmentation segment_on_host(Task const& task)
{
  return segment_any<ts::Host, float>(task, program::host_execution(task.options->threads));
}

}  // namespace segment_scan
