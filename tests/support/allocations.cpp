// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <limits>
#include <malloc.h>

namespace {

constexpr std::int64_t never = -1;

std::atomic<std::int64_t> allocations{0};
std::atomic<std::int64_t> bytes{0};
std::atomic<std::int64_t> peak{0};
std::atomic<std::int64_t> failing{never};
std::atomic<bool> has_failed{false};

/// @param alignment  0: that of malloc
void* allocate(std::size_t size, std::size_t alignment) noexcept
{
  if (allocations.fetch_add(1, std::memory_order_relaxed) == failing.load(std::memory_order_relaxed)) {
    has_failed = true;
    return nullptr;
  }
  if (size == 0) { size = 1; }
  if (size > std::numeric_limits<std::size_t>::max() - alignment) { return nullptr; }
  void* const pointer = alignment == 0
                            ? std::malloc(size)
                            : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (pointer == nullptr) { return nullptr; }
  auto const usable = static_cast<std::int64_t>(::malloc_usable_size(pointer));
  auto const now = bytes.fetch_add(usable, std::memory_order_relaxed) + usable;
  auto highest = peak.load(std::memory_order_relaxed);
  while (now > highest && !peak.compare_exchange_weak(highest, now, std::memory_order_relaxed)) {}
  return pointer;
}

void release(void* pointer) noexcept
{
  if (pointer == nullptr) { return; }
  bytes.fetch_sub(static_cast<std::int64_t>(::malloc_usable_size(pointer)), std::memory_order_relaxed);
  std::free(pointer);
}

void* allocate_or_throw(std::size_t size, std::size_t alignment)
{
  void* const pointer = allocate(size, alignment);
  if (pointer == nullptr) { throw std::bad_alloc{}; }
  return pointer;
}

}  // namespace

void* operator new(std::size_t size)
{
  return allocate_or_throw(size, 0);
}
void* operator new[](std::size_t size)
{
  return allocate_or_throw(size, 0);
}
void* operator new(std::size_t size, std::align_val_t alignment)
{
  return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment)
{
  return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, std::nothrow_t const& /*tag*/) noexcept
{
  return allocate(size, 0);
}
void* operator new[](std::size_t size, std::nothrow_t const& /*tag*/) noexcept
{
  return allocate(size, 0);
}
void* operator new(std::size_t size, std::align_val_t alignment, std::nothrow_t const& /*tag*/) noexcept
{
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment, std::nothrow_t const& /*tag*/) noexcept
{
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* pointer) noexcept
{
  release(pointer);
}
void operator delete[](void* pointer) noexcept
{
  release(pointer);
}
void operator delete(void* pointer, std::size_t /*size*/) noexcept
{
  release(pointer);
}
void operator delete[](void* pointer, std::size_t /*size*/) noexcept
{
  release(pointer);
}
void operator delete(void* pointer, std::align_val_t /*alignment*/) noexcept
{
  release(pointer);
}
void operator delete[](void* pointer, std::align_val_t /*alignment*/) noexcept
{
  release(pointer);
}
void operator delete(void* pointer, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept
{
  release(pointer);
}
void operator delete[](void* pointer, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept
{
  release(pointer);
}
void operator delete(void* pointer, std::nothrow_t const& /*tag*/) noexcept
{
  release(pointer);
}
void operator delete[](void* pointer, std::nothrow_t const& /*tag*/) noexcept
{
  release(pointer);
}

test::AllocationWatch::AllocationWatch() : allocations_{::allocations}, bytes_{bytes}
{
  peak = bytes_;
}

std::int64_t test::AllocationWatch::allocations() const
{
  return ::allocations - allocations_;
}

std::int64_t test::AllocationWatch::bytes_in_use() const
{
  return bytes - bytes_;
}

std::int64_t test::AllocationWatch::peak_bytes() const
{
  return peak - bytes_;
}

test::FailingAllocation::FailingAllocation(std::int64_t n)
{
  has_failed = false;
  failing = allocations + n;
}

test::FailingAllocation::~FailingAllocation()
{
  failing = never;
}

bool test::FailingAllocation::happened() const
{
  return has_failed;
}
