// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/parallel.hpp>
#include <tessera/train/communicator.hpp>
#include <tessera/train/detail/mpi_requests.hpp>
#include <tessera/train/detail/ranks_have.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <mpi.h>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Host collectives over MPI's messages between two ranks: MPI says neither in which order its own reductions
/// add nor which rank they wait for.
class MpiCollectives final : public train::Collectives<Host> {
 public:
  /// Collective over `comm`, which is duplicated: messages of others do not mix with these.
  MpiCollectives(MPI_Comm comm, std::chrono::milliseconds limit) : limit_{limit}
  {
    int initialized = 0;
    MPI_Initialized(&initialized);
    expects(initialized != 0, "mpi_communicator: MPI is not initialized; run_with_mpi() does that");
    expects(limit.count() > 0, "mpi_communicator: a time limit of ", limit.count(), " ms");
    MPI_Comm_dup(comm, &comm_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  MpiCollectives(MpiCollectives const&) = delete;
  MpiCollectives& operator=(MpiCollectives const&) = delete;
  ~MpiCollectives() override
  {
    int finalized = 0;
    MPI_Finalized(&finalized);
    // Collective: not after a failure, nor on the way out of one that the other ranks do not have.
    if (finalized == 0 && failure_.empty() && std::uncaught_exceptions() == 0) { MPI_Comm_free(&comm_); }
  }

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }

  void all_reduce_sum(void* data, std::int64_t n, DType type, Execution<Host> const& exec) override
  {
    check();
    switch (type) {
      case DType::float32: return sum_pieces(static_cast<float*>(data), n, exec);
      case DType::float64: return sum_pieces(static_cast<double*>(data), n, exec);
      case DType::int32: return sum_pieces(static_cast<std::int32_t*>(data), n, exec);
      case DType::int64: return sum_pieces(static_cast<std::int64_t*>(data), n, exec);
      default: detail::fail("all_reduce_sum: elements of type ", name_of(type));
    }
  }

  void broadcast(void* data, std::size_t bytes, int root, Execution<Host> const& /*exec*/) override
  {
    check();
    auto* const to = static_cast<char*>(data);
    for (std::size_t first = 0; first < bytes; first += piece_bytes) {
      auto const piece = std::min(piece_bytes, bytes - first);
      MpiRequests requests{comm_};
      if (rank_ != root) {
        requests.receive(to + first, piece, root);
      } else {
        for_each_peer([&](int peer) { requests.send(to + first, piece, peer); });
      }
      finish(requests, "broadcast");
    }
  }

  void all_gather(void const* mine, void* all, std::size_t bytes, Execution<Host> const& /*exec*/) override
  {
    check();
    auto const* const from = static_cast<char const*>(mine);
    auto* const to = static_cast<char*>(all);
    std::memcpy(to + static_cast<std::size_t>(rank_) * bytes, from, bytes);
    for (std::size_t first = 0; first < bytes; first += piece_bytes) {
      auto const piece = std::min(piece_bytes, bytes - first);
      MpiRequests requests{comm_};
      for_each_peer([&](int peer) {
        requests.receive(to + static_cast<std::size_t>(peer) * bytes + first, piece, peer);
      });
      for_each_peer([&](int peer) { requests.send(from + first, piece, peer); });
      finish(requests, "all_gather");
    }
  }

  void barrier(Execution<Host> const& exec) override
  {
    char const mine = 0;
    std::vector<char> all(static_cast<std::size_t>(size_));
    all_gather(&mine, all.data(), 1, exec);
  }

  void check() override
  {
    if (!failure_.empty()) { throw train::communication_error{failure_, missing_}; }
  }

 private:
  static constexpr std::size_t piece_bytes = std::size_t{1} << 28;  // MPI counts in int
  static constexpr std::int64_t piece_elements = 1 << 21;           // so that the workspace stays small
  static constexpr std::size_t short_bytes = 16384;                 // one round is then faster than two

  /// Neighbours first, so that ranks do not all send to the same one.
  template <class Body>
  void for_each_peer(Body const& body) const
  {
    for (int step = 1; step < size_; ++step) { body((rank_ + step) % size_); }
  }

  template <class T>
  void sum_pieces(T* data, std::int64_t n, Execution<Host> const& exec)
  {
    if (static_cast<std::size_t>(n) * sizeof(T) <= short_bytes) { return sum_short(data, n, exec); }
    for (std::int64_t first = 0; first < n; first += piece_elements) {
      sum_piece(data + first, std::min(piece_elements, n - first), exec);
    }
  }

  template <class T>
  void sum_short(T* data, std::int64_t n, Execution<Host> const& exec)
  {
    Buffer<T, Host> all{n * size_, exec};
    all_gather(data, all.data(), static_cast<std::size_t>(n) * sizeof(T), exec);
    sum_in_order(all.data(), n, data, exec);
  }

  /// Each rank sums one slice and gives it to the others.
  template <class T>
  void sum_piece(T* data, std::int64_t n, Execution<Host> const& exec)
  {
    auto const begin = [&](int rank) { return n * rank / size_; };
    auto const length = [&](int rank) { return begin(rank + 1) - begin(rank); };
    auto const bytes = [&](int rank) { return static_cast<std::size_t>(length(rank)) * sizeof(T); };
    auto const own = length(rank_);
    Buffer<T, Host> slices{own * size_, exec};
    {
      MpiRequests requests{comm_};
      for_each_peer([&](int peer) { requests.receive(slices.data() + peer * own, bytes(rank_), peer); });
      for_each_peer([&](int peer) { requests.send(data + begin(peer), bytes(peer), peer); });
      if (own > 0) { std::memcpy(slices.data() + rank_ * own, data + begin(rank_), bytes(rank_)); }
      finish(requests, "all_reduce_sum");
    }
    sum_in_order(slices.data(), own, data + begin(rank_), exec);
    MpiRequests requests{comm_};
    for_each_peer([&](int peer) { requests.receive(data + begin(peer), bytes(peer), peer); });
    for_each_peer([&](int peer) { requests.send(data + begin(rank_), bytes(rank_), peer); });
    finish(requests, "all_reduce_sum");
  }

  /// to[i] = ((slices[0, i] + slices[1, i]) + slices[2, i]) + ...; integers wrap around.
  template <class T>
  void sum_in_order(T const* slices, std::int64_t n, T* to, Execution<Host> const& exec) const
  {
    for_each(
        n,
        [=, size = size_](std::int64_t i) {
          T sum = slices[i];
          for (int rank = 1; rank < size; ++rank) { sum = wrapping_sum(sum, slices[rank * n + i]); }
          to[i] = sum;
        },
        exec);
  }

  void finish(MpiRequests& requests, char const* who)
  {
    std::string reason;
    auto missing = requests.wait(limit_, reason);
    if (missing.empty() && reason.empty()) { return; }
    auto const names = missing.empty() ? std::string{"MPI has failed"} : ranks_have(missing);
    failure_ = concat(who, ": rank ", rank_, " of ", size_, ": ", names);
    if (!reason.empty()) {
      failure_ += concat(missing.empty() ? "" : " failed", ": ", reason);
    } else {
      failure_ += concat(" not answered for ", static_cast<double>(limit_.count()) / 1000,
                         " s; it has ended, hangs, or needs a longer time limit");
    }
    missing_ = std::move(missing);
    check();
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  std::chrono::milliseconds limit_;
  int rank_ = 0;
  int size_ = 1;
  std::string failure_;
  std::vector<int> missing_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
