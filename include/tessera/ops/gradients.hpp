// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution_backward.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <typeindex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// to[i] = to[i] + from[i], computed in `accumulator_t` and rounded once.
template <class T>
struct AddGradient {
  T const* from;
  T* to;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    using Sum = accumulator_t<T>;
    to[i] = static_cast<T>(static_cast<Sum>(to[i]) + static_cast<Sum>(from[i]));
  }
};

/// Where the gradient of a parameter goes, and the weight gradient of its scalar where there is one.
template <class Space>
struct GradientTarget {
  std::function<void*(Execution<Space> const&)> sums;  // its gradient [size], made where there is none
  std::type_index sum_type;
  std::int64_t size;
  void (*weight_gradient)();  // an ops::WeightGradientFunction, or null
  std::type_index scalar_type;
};

}  // namespace detail

namespace ops {

/// convolution_backward_weight() of one scalar. Who asks for the gradient of a parameter hands it over, so that
/// programs that only infer do not compile its kernels.
template <class Scalar, class Space>
using WeightGradientFunction = void (*)(MatrixView<Scalar const> const& x,
                                        MatrixView<Scalar const> const& grad_output, KernelMap<Space>& map,
                                        accumulator_t<Scalar>* grad_weight, GradientMode mode,
                                        Execution<Space> const& exec);

/// The gradients that there are while operations are differentiated from the last to the first: those of the
/// outputs are read, those of inputs and parameters added to.
///
/// The gradient of a variable is a matrix in the scalar and of the shape of its features; that of a
/// DenseTensor is [1, size] in the order of its layout. Rows past those in use hold anything. The gradient of
/// a parameter of `T` is in accumulator_t<T>.
template <class Space>
class Gradients {
 public:
  /// Whether anybody needs the gradient of a variable or a parameter; of 0 nobody does.
  [[nodiscard]] bool wants(VariableId id) const { return wanted_.count(id) > 0 || parameters_.count(id) > 0; }
  /// Whether a gradient has reached a variable.
  [[nodiscard]] bool has(VariableId id) const { return gradients_.count(id) > 0; }

  /// The gradient that has reached a variable.
  /// @throws invalid_argument  none has, or it is of another type
  template <class T>
  [[nodiscard]] MatrixView<T const> of(VariableId id) const
  {
    return find<T>(id)->view();
  }

  /// Adds to the gradient of a variable; does nothing where nobody wants it.
  /// @throws invalid_argument  the gradient there is of another shape or type
  /// Cost: nothing for the first, which is taken as it is; one pass for each more.
  /// Stream: enqueues at most one kernel, does not wait.
  /// Determinism: sums in the order of the calls.
  template <class T>
  void add(VariableId id, Matrix<T, Space>&& gradient, Execution<Space> const& exec)
  {
    if (!wants(id)) { return; }
    add_shared<T>(id, std::make_shared<Matrix<T, Space>>(std::move(gradient)), exec);
  }
  /// Adds one gradient to each of several variables, which share it where it is their first.
  template <class T>
  void add(std::initializer_list<VariableId> ids, Matrix<T, Space>&& gradient, Execution<Space> const& exec)
  {
    auto const shared = std::make_shared<Matrix<T, Space>>(std::move(gradient));
    for (auto const id : ids) {
      if (wants(id)) { add_shared<T>(id, shared, exec); }
    }
  }
  /// Adds the gradient of `from` to that of `to`, without a copy where it is the first.
  template <class T>
  void pass(VariableId from, VariableId to, Execution<Space> const& exec)
  {
    if (wants(to)) { add_shared<T>(to, find<T>(from), exec); }
  }

  /// The gradient of a parameter, [size], to which the caller adds; null where nobody wants it.
  /// @tparam Sum  accumulator_t of the parameter's type
  /// @throws invalid_argument  the parameter is of another size or type
  /// Stream: may enqueue a fill, does not wait.
  template <class Sum>
  [[nodiscard]] Sum* parameter(VariableId id, std::int64_t size, Execution<Space> const& exec)
  {
    auto const found = parameters_.find(id);
    if (found == parameters_.end()) { return nullptr; }
    auto& target = found->second;
    detail::expects(target.sum_type == std::type_index{typeid(Sum)}, "gradients: parameter ", id,
                    " is of another type than the operation that read it says");
    detail::expects(target.size == size, "gradients: parameter ", id, " has ", target.size,
                    " values, the operation that read it says ", size);
    reached_.insert(id);
    return static_cast<Sum*>(target.sums(exec));
  }
  /// How the weight gradient of a wanted parameter is computed.
  /// @throws invalid_argument  nobody wants it, or the parameter is of another type
  template <class Scalar>
  [[nodiscard]] WeightGradientFunction<Scalar, Space> weight_gradient(VariableId id) const
  {
    auto const found = parameters_.find(id);
    detail::expects(
        found != parameters_.end() && found->second.weight_gradient != nullptr &&
            found->second.scalar_type == std::type_index{typeid(Scalar)},
        "gradients: parameter ", id,
        " is the weight of a convolution or linear layer, but is not watched as one of its scalar");
    return reinterpret_cast<WeightGradientFunction<Scalar, Space>>(found->second.weight_gradient);
  }

 protected:
  struct Entry {
    std::shared_ptr<void> matrix;
    std::type_index type;
  };

  // NOLINTBEGIN(readability-identifier-naming): functions have the plain names
  std::unordered_set<VariableId> wanted_;
  std::unordered_map<VariableId, Entry> gradients_;
  std::unordered_map<VariableId, detail::GradientTarget<Space>> parameters_;
  std::unordered_set<VariableId> reached_;  // parameters
                                            // NOLINTEND(readability-identifier-naming)

 private:
  template <class T>
  [[nodiscard]] std::shared_ptr<Matrix<T, Space>> find(VariableId id) const
  {
    auto const found = gradients_.find(id);
    detail::expects(found != gradients_.end(), "gradients: none has reached variable ", id);
    detail::expects(found->second.type == std::type_index{typeid(T)}, "gradients: that of variable ", id,
                    " is of another type");
    return std::static_pointer_cast<Matrix<T, Space>>(found->second.matrix);
  }

  template <class T>
  void add_shared(VariableId id, std::shared_ptr<Matrix<T, Space>> gradient, Execution<Space> const& exec)
  {
    if (!has(id)) {
      gradients_.emplace(id, Entry{std::move(gradient), std::type_index{typeid(T)}});
      return;
    }
    auto sum = find<T>(id);
    detail::expects(sum->rows() == gradient->rows() && sum->columns() == gradient->columns(),
                    "gradients: ", gradient->rows(), " x ", gradient->columns(), " are added to ",
                    sum->rows(), " x ", sum->columns(), " of variable ", id);
    constexpr long owners = 2;  // the entry and `sum`: no other variable has this gradient
    if (sum.use_count() > owners) {
      sum = std::make_shared<Matrix<T, Space>>(copy(sum->data(), sum->size(), exec), sum->rows(),
                                               sum->columns());
      gradients_.find(id)->second.matrix = sum;
    }
    for_each(sum->size(), detail::AddGradient<T>{gradient->data(), sum->data()}, exec);
  }
};

}  // namespace ops
}  // namespace v0
}  // namespace tessera
