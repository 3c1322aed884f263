// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/buffer.hpp>
#include <tessera/core/detail/work_event.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/core/variable.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// What a parameter is for: layouts of checkpoints treat them differently.
enum class ParameterRole : std::uint8_t {
  conv_weight,  ///< of a sparse convolution, [volume, in, out] (or [in, out] for a 1x1x1 one of stride 1)
  matrix,       ///< weight of a linear layer, [in, out]; files have it [out, in], as PyTorch does
  weight,       ///< any other weight: of a norm [channels]
  bias,         ///< [channels]
  buffer,       ///< a running statistic, not trained
};

/// A parameter without its scalar type and its space: a shape, an identity, and a version that is raised by
/// every write. Whoever keeps something that was computed from the values (a packed weight, a graph) compares
/// versions to see that it is out of date. Any thread may ask for the version.
class ParameterBase {
 public:
  ParameterBase(ParameterBase const&) = delete;
  ParameterBase& operator=(ParameterBase const&) = delete;
  virtual ~ParameterBase() = default;

  /// The parameter as a variable; 0 where it has no values.
  [[nodiscard]] VariableId id() const noexcept { return id_; }
  /// How often it was written, counting its allocation; 0 where it has no values.
  [[nodiscard]] std::uint64_t version() const noexcept { return version_.load(std::memory_order_acquire); }
  /// The version where it is kept, for who compares it later; as long as the parameter.
  [[nodiscard]] std::atomic<std::uint64_t> const& version_counter() const noexcept { return version_; }
  /// Where the values are, null where there are none; the place of this is that of the parameter, so that it
  /// can be asked later.
  [[nodiscard]] std::atomic<void const*> const& address() const noexcept { return address_; }
  /// Raises the version, after a write that the library cannot see: through a pointer that write() gave
  /// earlier, by a graph that was launched again, a collective or another library.
  void mark_written() noexcept { version_.fetch_add(1, std::memory_order_acq_rel); }

  /// Keeps the parameter as it is in training: nobody computes its gradient or steps it.
  void freeze(bool on = true) noexcept { is_frozen_ = on; }
  [[nodiscard]] bool is_frozen() const noexcept { return is_frozen_; }

  [[nodiscard]] std::vector<std::int64_t> const& shape() const noexcept { return shape_; }
  /// Number of values.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] virtual DType dtype() const noexcept = 0;
  [[nodiscard]] virtual bool on_device() const noexcept = 0;

  /// The values in the parameter's space, size() of dtype(), to be read.
  [[nodiscard]] virtual void const* bytes() const noexcept = 0;
  /// The same to be written; raises the version.
  [[nodiscard]] virtual void* write_bytes() noexcept = 0;

 protected:
  ParameterBase() = default;
  explicit ParameterBase(std::vector<std::int64_t> shape)
      : id_{detail::next_variable_id()}, version_{1}, shape_{std::move(shape)}, size_{1}
  {
    for (auto const extent : shape_) {
      detail::expects(extent >= 0 && (extent == 0 || size_ <= INT64_MAX / extent),
                      "Parameter: values of shape ", detail::list(shape_), " cannot be allocated");
      size_ *= extent;
    }
  }
  /// Takes what identifies `other`, under a version that neither had.
  void take(ParameterBase& other) noexcept
  {
    auto const latest = std::max({version(), last_version_, other.version()});
    id_ = std::exchange(other.id_, 0);
    version_.store(latest == 0 ? 0 : latest + 1, std::memory_order_release);
    other.last_version_ = std::max(other.last_version_, other.version());
    other.version_.store(0, std::memory_order_release);
    other.address_.store(nullptr, std::memory_order_release);
    is_frozen_ = std::exchange(other.is_frozen_, false);
    shape_ = std::exchange(other.shape_, {});
    size_ = std::exchange(other.size_, 0);
  }

  void set_address(void const* values) noexcept { address_.store(values, std::memory_order_release); }

 private:
  VariableId id_ = 0;
  std::atomic<std::uint64_t> version_{0};
  std::atomic<void const*> address_{nullptr};
  std::uint64_t last_version_ = 0;  // before it was moved from, so that no version comes twice
  std::vector<std::int64_t> shape_;
  std::int64_t size_ = 0;
  bool is_frozen_ = false;
};

/// A parameter: values in one space with a shape, and a gradient of that shape, in accumulator_t<T>, once it is
/// asked for. Moves, never
/// copies, and is as made by default once moved from: no values, no extents. A module's parameters are
/// registered by address and stay where they are.
///
/// Work that reads the values must precede a write on the device, and what reads them next must follow it, as
/// with any memory: within one stream, or by events.
template <class T, class Space>
class Parameter final : public ParameterBase {
 public:
  Parameter() = default;
  /// Uninitialised. @throws invalid_argument  a negative extent, or too many values
  Parameter(std::vector<std::int64_t> shape, Execution<Space> const& exec)
      : ParameterBase{std::move(shape)},
        home_{std::make_shared<Execution<Space> const>(exec.without_recorder())},
        values_{size(), exec}
  {
    set_address(values_.data());
  }

  Parameter(Parameter&& other) noexcept { swap_in(other); }
  /// Counts as a write.
  Parameter& operator=(Parameter&& other) noexcept
  {
    if (this != &other) { swap_in(other); }
    return *this;
  }

  /// The values, to be read; null where there are none.
  [[nodiscard]] T const* data() const noexcept { return values_.data(); }
  /// The values, to be written by work that is enqueued before the next use of the parameter; raises the
  /// version. Null where there are none.
  [[nodiscard]] T* write() noexcept
  {
    mark_written();
    return values_.data();
  }

  /// What gradients are kept in: float for 16-bit values.
  using Sum = accumulator_t<T>;

  /// The gradient, [size()], to be read; null before grad(exec).
  [[nodiscard]] Sum const* grad() const noexcept { return grad_.data(); }
  /// The gradient to be written; made of zeros when it is first asked for.
  /// Cost: an allocation the first time, where the values were allocated.
  /// Stream: enqueues a fill the first time, does not wait.
  [[nodiscard]] Sum* grad(Execution<Space> const& exec)
  {
    if (grad_.empty() && size() > 0) {
      grad_ = detail::allocate_at<Sum>(*home_, size(), exec);
      fill_bytes(grad_, 0, exec);
    }
    return grad_.data();
  }
  /// Gives the gradient's memory back.
  void drop_grad() noexcept { grad_ = {}; }

  /// Moves the values to `values`, and has the gradient in `gradient` from now on: slices of larger buffers,
  /// so that one kernel or one collective serves many parameters. Counts as a write. What holds the address
  /// of the values must be made anew, a plan or another graph; records and lists of operations follow.
  ///
  /// | name     | shape             | memory | holds                                                         |
  /// |----------|-------------------|--------|---------------------------------------------------------------|
  /// | values   | [size()]          | Space  | anything; the values are copied over it                       |
  /// | gradient | [size()] or empty | Space  | the gradient; empty: there is none until it is asked for      |
  ///
  /// @throws invalid_argument  another number of elements; nothing has changed then
  /// Cost: one copy of the values.
  /// Stream: enqueues it, does not wait; the memory before goes back in the order of the stream that it came
  /// from.
  void adopt(Buffer<T, Space>&& values, Buffer<Sum, Space>&& gradient, Execution<Space> const& exec)
  {
    detail::expects(values.size() == size() && (gradient.empty() || gradient.size() == size()),
                    "Parameter::adopt: ", values.size(), " values and a gradient of ", gradient.size(),
                    " for a parameter of ", size());
    detail::Transfer<Space>::copy(values.data(), values_.data(), values_.bytes(), exec);
    values_ = std::move(values);
    grad_ = std::move(gradient);
    set_address(values_.data());
    mark_written();
  }

  /// Where the values were allocated; there must be some.
  [[nodiscard]] Execution<Space> const& home() const { return *home_; }

  [[nodiscard]] DType dtype() const noexcept override { return ScalarTraits<T>::dtype; }
  [[nodiscard]] bool on_device() const noexcept override { return std::is_same_v<Space, Device>; }
  [[nodiscard]] void const* bytes() const noexcept override { return data(); }
  [[nodiscard]] void* write_bytes() noexcept override { return write(); }

  /// The parameter as an operation takes it.
  operator ParameterRef<T>() const noexcept  // NOLINT(google-explicit-constructor)
  {
    return {id(), this->version_counter(), this->address()};
  }

 private:
  void swap_in(Parameter& other) noexcept
  {
    take(other);
    values_ = std::move(other.values_);
    set_address(values_.data());
    grad_ = std::move(other.grad_);
    home_ = std::move(other.home_);
  }

  std::shared_ptr<Execution<Space> const>
      home_;  // a pointer, so that host code can name a device's parameter
  Buffer<T, Space> values_;
  Buffer<Sum, Space> grad_;
};

/// What a checkpoint sees of a module's parameter, to be read.
struct ParameterView {
  std::string name;  ///< as in a PyTorch state_dict, e.g. "stage1.0.net.0.kernel"
  ParameterRole role = ParameterRole::weight;
  DType dtype = DType::float32;
  std::vector<std::int64_t> shape;
  std::vector<int> kernel_size;              ///< of a conv_weight, one number per axis; else empty
  std::int64_t size = 0;                     ///< elements
  bool on_device = false;                    ///< whether the module's space is the device
  ParameterBase const* parameter = nullptr;  ///< the parameter itself; null in a description without values

  /// Whether it is a parameter to train: neither a buffer nor frozen.
  [[nodiscard]] bool is_trained() const noexcept
  {
    return parameter != nullptr && role != ParameterRole::buffer && !parameter->is_frozen();
  }

  /// The parameter with its type.
  /// @throws invalid_argument  it has another one, or is in another space
  template <class T, class Space>
  [[nodiscard]] Parameter<T, Space> const& as() const
  {
    bool const fits = parameter != nullptr && parameter->dtype() == ScalarTraits<T>::dtype &&
                      parameter->on_device() == std::is_same_v<Space, Device>;
    detail::expects(fits, "ParameterView: \"", name, "\" holds ", name_of(dtype), " on the ",
                    on_device ? "device" : "host", ", not ", name_of(ScalarTraits<T>::dtype), " on the ",
                    std::is_same_v<Space, Device> ? "device" : "host");
    return static_cast<Parameter<T, Space> const&>(*parameter);
  }
};

/// The same, to be written too: ModuleBase::writable_parameters() gives it.
class WritableParameter : public ParameterView {
 public:
  WritableParameter(ParameterView view, ParameterBase& of) : ParameterView{std::move(view)}, writable_{&of} {}

  /// The parameter with its type, whose write() and grad() may be called.
  /// @throws invalid_argument  it has another one, or is in another space
  template <class T, class Space>
  [[nodiscard]] Parameter<T, Space>& as() const
  {
    static_cast<void>(ParameterView::as<T, Space>());
    return static_cast<Parameter<T, Space>&>(*writable_);
  }
  /// The values, to be written; see ParameterBase::write_bytes().
  [[nodiscard]] void* write_bytes() const noexcept { return writable_->write_bytes(); }
  /// See ParameterBase::freeze().
  void freeze(bool on = true) const noexcept { writable_->freeze(on); }
  void mark_written() const noexcept { writable_->mark_written(); }

 private:
  ParameterBase* writable_;
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
