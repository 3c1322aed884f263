// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/recorder.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {

/// Values that an operation reads and does not own: a parameter, or a plain pointer. A parameter must stay
/// where it is as long as a record of the operation is used, and may move its values; those of a plain pointer
/// must stay too.
template <class T>
class ParameterRef {
 public:
  ParameterRef() = default;
  /// Plain values, in the operation's space, or null; with an identity where gradients are asked for by it.
  ParameterRef(T const* values, VariableId parameter = 0)  // NOLINT(google-explicit-constructor)
      : id{parameter}, values_{values}
  {}
  /// Those of a parameter: its identity, what is raised when it is written, and where it keeps their address.
  ParameterRef(VariableId parameter, std::atomic<std::uint64_t> const& writes,
               std::atomic<void const*> const& address)
      : id{parameter},
        version{&writes},
        read_version{writes.load(std::memory_order_acquire)},
        address_{&address}
  {}

  /// The values where they are now, or null.
  [[nodiscard]] T const* data() const noexcept
  {
    if (address_ == nullptr) { return values_; }
    return static_cast<T const*>(address_->load(std::memory_order_acquire));
  }
  /// Whether these are values that no parameter owns.
  [[nodiscard]] bool is_plain_pointer() const noexcept { return values_ != nullptr; }
  /// Whether the parameter was written since this was made; false of a plain pointer.
  [[nodiscard]] bool is_written_since() const noexcept
  {
    return version != nullptr && version->load(std::memory_order_acquire) != read_version;
  }

  VariableId id = 0;                                    ///< of the parameter; 0 of a plain pointer
  std::atomic<std::uint64_t> const* version = nullptr;  ///< its version; null of a plain pointer
  std::uint64_t read_version = 0;                       ///< what that was when this was made

 private:
  T const* values_ = nullptr;                          // of a plain pointer
  std::atomic<void const*> const* address_ = nullptr;  // of a parameter
};

namespace detail {

template <class T>
struct TypeIdentity {
  using type = T;
};
/// A parameter's values as an argument that other arguments give the type of, so that pointers convert.
template <class T>
using ParameterArgument = ParameterRef<typename TypeIdentity<T>::type>;

[[nodiscard]] inline VariableId next_variable_id() noexcept
{
  static std::atomic<VariableId> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

/// A buffer that tensors and records share, with its identity and a count of the writes after it was filled,
/// which all variables on one memory have in common.
template <class T, class Space>
class VariableStorage {
 public:
  VariableStorage() = default;
  explicit VariableStorage(Buffer<T, Space>&& values) : shared_{std::make_shared<Shared>(std::move(values))}
  {}

  /// The same memory as another variable, with an identity of its own.
  [[nodiscard]] VariableStorage alias() const
  {
    if (!shared_) { return {}; }
    if (size() == 0) { return VariableStorage{Buffer<T, Space>{}}; }
    VariableStorage result{Buffer<T, Space>::adopt(data(), size(), shared_)};
    result.shared_->version = shared_->version;  // which the adopted buffer keeps alive
    return result;
  }

  [[nodiscard]] T* data() const noexcept { return shared_ ? shared_->values.data() : nullptr; }
  [[nodiscard]] std::int64_t size() const noexcept { return shared_ ? shared_->values.size() : 0; }
  [[nodiscard]] VariableId id() const noexcept { return shared_ ? shared_->id : 0; }
  [[nodiscard]] std::uint64_t version() const noexcept
  {
    return shared_ ? shared_->version->load(std::memory_order_acquire) : 0;
  }
  void mark_written() const noexcept
  {
    if (shared_) { shared_->version->fetch_add(1, std::memory_order_acq_rel); }
  }

 private:
  struct Shared {
    explicit Shared(Buffer<T, Space>&& from) : values{std::move(from)} {}
    Shared(Shared const&) = delete;
    Shared& operator=(Shared const&) = delete;
    ~Shared() = default;

    Buffer<T, Space> values;
    VariableId id = next_variable_id();
    std::atomic<std::uint64_t> writes{0};
    std::atomic<std::uint64_t>* version = &writes;
  };

  std::shared_ptr<Shared> shared_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
