// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <mpi.h>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What MPI says about an error code.
[[nodiscard]] inline std::string mpi_text(int status)
{
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(status, text, &length);
  return {text, static_cast<std::size_t>(length)};
}

/// Messages to and from other ranks that have been begun. Each belongs to one peer, so that those that do not
/// arrive tell who is missing; MPI's collectives would only say that something did not end.
class MpiRequests {
 public:
  explicit MpiRequests(MPI_Comm comm, int tag = 0) : comm_{comm}, tag_{tag} {}
  MpiRequests(MpiRequests const&) = delete;
  MpiRequests& operator=(MpiRequests const&) = delete;
  ~MpiRequests() { drop(); }

  void send(void const* from, std::size_t bytes, int peer)
  {
    begin(peer, false, [&](MPI_Request* request) {
      return MPI_Isend(from, static_cast<int>(bytes), MPI_BYTE, peer, tag_, comm_, request);
    });
  }
  void receive(void* to, std::size_t bytes, int peer)
  {
    begin(peer, true, [&](MPI_Request* request) {
      return MPI_Irecv(to, static_cast<int>(bytes), MPI_BYTE, peer, tag_, comm_, request);
    });
  }

  /// Waits until all have arrived. After `limit` it gives up.
  /// @returns the peers of those that have not, ascending; what MPI said of an error is in `reason`
  [[nodiscard]] std::vector<int> wait(std::chrono::milliseconds limit, std::string& reason)
  {
    using Clock = std::chrono::steady_clock;
    auto const begin = Clock::now();
    auto idle_since = begin;
    std::vector<int> indices(requests_.size());
    std::vector<MPI_Status> statuses(requests_.size());
    while (open_ > 0 && failed_.empty()) {
      int done = 0;
      int const status = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &done,
                                      indices.data(), statuses.data());
      if (status != MPI_SUCCESS && status != MPI_ERR_IN_STATUS) {
        reason_ = mpi_text(status);
        break;
      }
      for (int i = 0; i < done && done != MPI_UNDEFINED; ++i) {
        auto const at = static_cast<std::size_t>(indices[static_cast<std::size_t>(i)]);
        int const of_message = statuses[static_cast<std::size_t>(i)].MPI_ERROR;
        --open_;
        if (status == MPI_ERR_IN_STATUS && of_message != MPI_SUCCESS) { fail(peers_[at].rank, of_message); }
      }
      auto const now = Clock::now();
      if (done > 0) { idle_since = now; }
      if (now - begin > limit) { break; }
      // A peer that comes late should find the processor free.
      if (now - idle_since > std::chrono::milliseconds{1}) {
        std::this_thread::sleep_for(std::chrono::microseconds{50});
      } else {
        std::this_thread::yield();
      }
    }
    reason = reason_;
    auto missing = failed_;
    for (std::size_t i = 0; i < requests_.size() && failed_.empty(); ++i) {
      if (requests_[i] != MPI_REQUEST_NULL) { missing.push_back(peers_[i].rank); }
    }
    std::sort(missing.begin(), missing.end());
    missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
    if (missing.empty() && reason.empty()) { clear(); }
    return missing;
  }

 private:
  struct Peer {
    int rank;
    bool receives;
  };

  template <class Begin>
  void begin(int peer, bool receives, Begin const& start)
  {
    MPI_Request request = MPI_REQUEST_NULL;
    int const status = start(&request);
    if (status != MPI_SUCCESS) {
      fail(peer, status);
      return;
    }
    requests_.push_back(request);
    peers_.push_back({peer, receives});
    ++open_;
  }

  void fail(int peer, int status)
  {
    failed_.push_back(peer);
    reason_ = mpi_text(status);
  }

  void clear()
  {
    requests_.clear();
    peers_.clear();
    open_ = 0;
  }

  /// After a failure nothing may be written into memory that its owner takes back.
  void drop() noexcept
  {
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) { continue; }
      if (peers_[i].receives) {
        MPI_Cancel(&requests_[i]);
        MPI_Wait(&requests_[i], MPI_STATUS_IGNORE);
      } else {
        MPI_Request_free(&requests_[i]);
      }
    }
  }

  MPI_Comm comm_;
  int tag_;
  std::vector<MPI_Request> requests_;
  std::vector<Peer> peers_;
  std::vector<int> failed_;
  std::string reason_;
  int open_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
