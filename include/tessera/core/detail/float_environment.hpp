// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <cfenv>
#endif

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// How a thread's floating-point operations round, whether they flush subnormal numbers to zero, and which of
/// them trap; not the flags of what has happened.
class FloatEnvironment {
 public:
  /// Cost: some cycles. Portable builds ask <cfenv>.
  [[nodiscard]] static FloatEnvironment of_this_thread() noexcept
  {
    FloatEnvironment result;
#if defined(__x86_64__)
    result.state_ = __builtin_ia32_stmxcsr() & 0xffc0U;  // MXCSR without its flags: DAZ, masks, rounding, FTZ
#elif defined(__aarch64__)
    asm volatile("mrs %0, fpcr" : "=r"(result.state_));
#else
    static_cast<void>(std::fegetenv(&result.state_));
#endif
    return result;
  }

  void make_current() const noexcept
  {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(state_);
#elif defined(__aarch64__)
    asm volatile("msr fpcr, %0" : : "r"(state_));
#else
    static_cast<void>(std::fesetenv(&state_));
#endif
  }

  /// Whether both are known to be the same.
  friend bool operator==([[maybe_unused]] FloatEnvironment const& a,
                         [[maybe_unused]] FloatEnvironment const& b) noexcept
  {
#if defined(__x86_64__) || defined(__aarch64__)
    return a.state_ == b.state_;
#else
    return false;
#endif
  }

 private:
#if defined(__x86_64__)
  std::uint32_t state_ = 0;
#elif defined(__aarch64__)
  std::uint64_t state_ = 0;
#else
  std::fenv_t state_{};
#endif
};

/// Gives this thread another one's floating-point environment while it lives.
class FloatEnvironmentScope {
 public:
  explicit FloatEnvironmentScope(FloatEnvironment const& wanted) noexcept
      : own_{FloatEnvironment::of_this_thread()}, is_changed_{!(own_ == wanted)}
  {
    if (is_changed_) { wanted.make_current(); }
  }
  FloatEnvironmentScope(FloatEnvironmentScope const&) = delete;
  FloatEnvironmentScope& operator=(FloatEnvironmentScope const&) = delete;
  ~FloatEnvironmentScope()
  {
    if (is_changed_) { own_.make_current(); }
  }

 private:
  FloatEnvironment own_;
  bool is_changed_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
