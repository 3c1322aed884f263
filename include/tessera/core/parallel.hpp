// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/lanes.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/host_device.hpp>

#include <cstdint>
#include <type_traits>

namespace tessera {
inline namespace v0 {

/// Runs `body(i)` for i in [0, count), in any order and in parallel: on the execution's threads, or one GPU
/// thread each in a grid-stride loop.
///
/// `Body` is a struct with a `TESSERA_HOST_DEVICE void operator()(std::int64_t) const`, so that a step is one
/// source for both spaces; on the host a lambda is as good, on the device it would ask every user to compile
/// with `--extended-lambda`. It is copied to the device, and what its pointers refer to must be in the space.
///
/// | name  | shape | memory | holds                                             |
/// |-------|-------|--------|---------------------------------------------------|
/// | count |       | host   | how many; 0 or less: none                         |
/// | body  |       | host   | what is done; bodies of different i may not race  |
///
/// @throws cuda_error  the launch failed; what a body throws on the host, the first of them
/// Cost: `count` calls.
/// Stream: on the device enqueues one kernel, none for count 0, and does not wait; needs core/launch.cuh.
/// Determinism: that of `body`.
template <class Body, class Space, std::enable_if_t<std::is_same_v<Space, Device>, int> = 0>
void for_each(std::int64_t count, Body const& body, Execution<Space> const& exec);
// Declared here so that headers of both spaces find it whichever is included first, and with a deduced space,
// because a host-only build cannot complete Execution<Device> to see that it does not fit.

/// The same on the host.
template <class Body>
void for_each(std::int64_t count, Body const& body, Execution<Host> const& exec)
{
  exec.parallel_for(count, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) { body(i); }
  });
}

namespace detail {

/// The same on the device for items whose `lanes` parts are visited side by side; see the form below.
template <class Body, class Space, std::enable_if_t<std::is_same_v<Space, Device>, int> = 0>
void for_each_ballot(std::int64_t count, int lanes, Body const& body, Execution<Space> const& exec);

/// For i in [0, count): `body.finish(i, bits)`, where bit j of `bits` is `body.visit(i, state j)` for the
/// lanes j in [0, lanes), at most 32. The state of a lane, `body.prepare(j)`, is the same for all items.
///
/// On the device lanes are threads of one warp, so that neighbouring lanes should touch neighbouring words.
template <class Body>
void for_each_ballot(std::int64_t count, int lanes, Body const& body, Execution<Host> const& exec)
{
  exec.parallel_for(count, 512, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      std::uint32_t bits = 0;
      for (int lane = 0; lane < lanes; ++lane) {
        if (body.visit(i, body.prepare(lane))) { bits |= std::uint32_t{1} << lane; }
      }
      body.finish(i, bits);
    }
  });
}

/// The same on the device for items that several threads gather; see the form below.
template <class Body, class Space, std::enable_if_t<std::is_same_v<Space, Device>, int> = 0>
void for_each_reduction(std::int64_t count, Body const& body, Execution<Space> const& exec);

/// For i in [0, count): `body.finish(i, value)`, where `value` is that of `body.part(i, p)` for the `Body::parts`
/// p, a power of two: neighbours are joined by `Body::combine(a, b)`, then neighbours of those, until one is left.
///
/// On the device the parts of an item are threads of one block, and neighbouring threads have neighbouring items,
/// which should touch neighbouring words.
template <class Body>
void for_each_reduction(std::int64_t count, Body const& body, Execution<Host> const& exec)
{
  exec.parallel_for(count, 64, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      typename Body::Value values[Body::parts];
      for (int p = 0; p < Body::parts; ++p) { values[p] = body.part(i, p); }
      for (int step = 1; step < Body::parts; step *= 2) {
        for (int p = 0; p < Body::parts; p += 2 * step) {
          values[p] = Body::combine(values[p], values[p + step]);
        }
      }
      body.finish(i, values[0]);
    }
  });
}

/// Puts one value where a kernel will change it; travels as a kernel argument, so that nothing waits for a
/// copy.
template <class T>
struct StoreValue {
  T* to;  // [1]
  T value;

  TESSERA_HOST_DEVICE void operator()(std::int64_t) const { *to = value; }
};

/// Atomic compare-and-swap; returns what was there. Relaxed: results are read after the loop has ended.
template <class T>
TESSERA_HOST_DEVICE T atomic_compare_exchange(T* address, T expected, T desired)
{
#if defined(__CUDA_ARCH__)
  return atomicCAS(address, expected, desired);
#else
  __atomic_compare_exchange_n(address, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
#endif
}

/// Loads a value that other threads change atomically.
template <class T>
[[nodiscard]] TESSERA_HOST_DEVICE T atomic_load(T const* address)
{
#if defined(__CUDA_ARCH__)
  return *static_cast<T const volatile*>(address);
#else
  return __atomic_load_n(address, __ATOMIC_RELAXED);
#endif
}

/// Atomic minimum; integers only, so the result does not depend on the order.
template <class T>
TESSERA_HOST_DEVICE void atomic_minimum(T* address, T value)
{
#if defined(__CUDA_ARCH__)
  atomicMin(address, value);
#else
  T seen = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (value < seen &&
         !__atomic_compare_exchange_n(address, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
#endif
}

/// Atomic maximum; integers only.
template <class T>
TESSERA_HOST_DEVICE void atomic_maximum(T* address, T value)
{
#if defined(__CUDA_ARCH__)
  atomicMax(address, value);
#else
  T seen = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (value > seen &&
         !__atomic_compare_exchange_n(address, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
#endif
}

/// Atomic bitwise or.
template <class T>
TESSERA_HOST_DEVICE void atomic_or(T* address, T bits)
{
#if defined(__CUDA_ARCH__)
  atomicOr(address, bits);
#else
  __atomic_fetch_or(address, bits, __ATOMIC_RELAXED);
#endif
}

/// Atomic addition; returns what was there.
template <class T>
TESSERA_HOST_DEVICE T atomic_add(T* address, T value)
{
#if defined(__CUDA_ARCH__)
  return atomicAdd(address, value);
#else
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
#endif
}

/// Number of bits that are 1.
[[nodiscard]] TESSERA_HOST_DEVICE inline int popcount(std::uint32_t bits)
{
#if defined(__CUDA_ARCH__)
  return __popc(bits);
#else
  return __builtin_popcount(bits);
#endif
}

/// `*counter += count`; returns what was there, so that the caller has `count` places to itself. The threads
/// of `together`, which must all call this, add at once: one address takes one addition at a time.
TESSERA_HOST_DEVICE inline std::int32_t aggregated_fetch_add(std::int32_t* counter, std::int32_t count,
                                                             [[maybe_unused]] unsigned together)
{
#if defined(__CUDA_ARCH__)
  __syncwarp(together);
  int const own = lane_id();
  std::int32_t before = 0;
  std::int32_t sum = 0;
  for (unsigned rest = together; rest != 0; rest &= rest - 1) {
    int const lane = first_lane(rest);
    auto const theirs = __shfl_sync(together, count, lane);
    before += lane < own ? theirs : 0;
    sum += theirs;
  }
  int const first = first_lane(together);
  std::int32_t begin = 0;
  if (own == first && sum > 0) { begin = atomicAdd(counter, sum); }
  return __shfl_sync(together, begin, first) + before;
#else
  return atomic_add(counter, count);
#endif
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
