// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "operations.hpp"

#include <tessera/ops/cast.hpp>
#include <tessera/ops/copy.hpp>

using namespace tessera;
using namespace differentiated;

namespace {

template <class Space>
auto check_each(Execution<Space> const& exec)
{
  return [&exec](Problem const& problem, auto const& run) { check_differences(problem, run, exec); };
}

template <class Space>
std::vector<double> values_of(Matrix<double, Space> const& matrix, Execution<Space> const& exec)
{
  return test::on_host(matrix, exec);
}

}  // namespace

TEST_CASE_TEMPLATE("gradients of convolutions of every kind agree with finite differences", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_each_kind(check_each(exec));
}

TEST_CASE_TEMPLATE("gradients of convolutions agree with finite differences in every dataflow", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_each_dataflow(check_each(exec));
}

TEST_CASE_TEMPLATE(
    "gradients of convolutions with a second tensor, a residual and an activation agree with "
    "finite differences",
    Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_each_epilogue(check_each(exec));
}

TEST_CASE_TEMPLATE("gradients of linear layers agree with finite differences", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_each_linear(check_each(exec));
}

TEST_CASE_TEMPLATE("gradients of operations of elements agree with finite differences", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for_each_elementwise(check_each(exec));
}

TEST_CASE_TEMPLATE("gradients of rows of a matrix are those of a tensor", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const values = test::random_values(60, 1);
  auto const cotangent = upload_matrix(test::random_values(36, 2), 3, exec);
  nn::Parameter<double, Space> weight{{3, 5}, exec};
  nn::Parameter<double, Space> bias{{3}, exec};
  write(weight, test::random_values(15, 3), exec);
  write(bias, test::random_values(3, 4), exec);
  struct Found {
    std::vector<double> x, weight, bias;
  };
  auto const differentiate = [&](auto const& x) {
    weight.drop_grad();
    bias.drop_grad();
    Tape<Space> tape;
    tape.watch(x);
    tape.watch(weight);
    tape.watch(bias);
    auto const recorded = exec.with_recorder(tape);
    auto const z = linear(x, weight, bias, 3, MathMode::exact, recorded);
    auto const y = detail::activate(z, detail::SiluFunction<double>{}, recorded);
    tape.backward(y, cotangent.view(), exec);
    return Found{test::on_host(tape.gradient(x), exec), download(std::as_const(weight).grad(), 15, exec),
                 download(std::as_const(bias).grad(), 3, exec)};
  };
  auto const rows = test::small_grid<3>(12);
  SparseTensor<3, double, Space> const tensor{make_coordinate_set(rows, CoordinateSetOptions<3>{}, exec),
                                              upload_matrix(values, 5, exec)};
  auto const of_tensor = differentiate(tensor);
  auto const of_matrix = differentiate(upload_matrix(values, 5, exec));
  CHECK(of_matrix.x == of_tensor.x);
  CHECK(of_matrix.weight == of_tensor.weight);
  CHECK(of_matrix.bias == of_tensor.bias);
  CHECK(test::dot(of_matrix.bias, of_matrix.bias) > 0);
}

TEST_CASE_TEMPLATE("the gradient of a cast is cast back, that of a copy passes", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = upload_matrix(test::random_values(12, 1), 3, exec);
  Tape<Space> tape;
  tape.watch(x);
  auto const recorded = exec.with_recorder(tape);
  auto const y = cast<float>(copy(x, recorded), recorded);
  std::vector<float> const cotangent{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12.1F};
  auto const grad = upload_matrix(cotangent, 3, exec);
  tape.backward(y, grad.view(), exec);
  CHECK(values_of(tape.gradient(x), exec) == std::vector<double>(cotangent.begin(), cotangent.end()));
}

namespace {

/// y[i] = x[i]^3 * scale[i].
struct CubeTimes {
  template <class Space>
  auto operator()(Matrix<double, Space> const& x, Matrix<double, Space> const& scale,
                  Execution<Space> const& exec) const
  {
    using Times = detail::MultiplyFunction<double>;
    auto const square = detail::map_elements<double>(Times{}, exec, x.view(), x.view());
    auto const cube = detail::map_elements<double>(Times{}, exec, square.view(), x.view());
    return detail::map_elements<double>(Times{}, exec, cube.view(), scale.view());
  }
};
/// dx = 3 dy x^2 scale as dy * (y / x) * 3, dscale = dy x^3.
struct CubeTimesBackward {
  template <class Space>
  auto operator()(MatrixView<double const> const& grad, Matrix<double, Space> const& /*y*/,
                  Matrix<double, Space> const& x, Matrix<double, Space> const& scale,
                  Execution<Space> const& exec) const
  {
    using Times = detail::MultiplyFunction<double>;
    using Plus = detail::AddFunction<double>;
    auto const times = [&](auto const& a, auto const& b) {
      return detail::map_elements<double>(Times{}, exec, MatrixView<double const>{a},
                                          MatrixView<double const>{b});
    };
    auto const square = times(x, x);
    auto const once = times(times(square, scale), grad);
    auto const twice = detail::map_elements<double>(Plus{}, exec, once.view(), once.view());
    auto dx = detail::map_elements<double>(Plus{}, exec, twice.view(), once.view());
    return std::make_tuple(std::move(dx), times(times(square, x), grad));
  }
};

}  // namespace

TEST_CASE_TEMPLATE("an operation of the user's has the gradient that the user gives", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const at = test::random_values(6, 1);
  auto const scale_at = test::random_values(6, 2);
  auto const cotangent = test::random_values(6, 3);
  auto const x = upload_matrix(at, 3, exec);
  auto const scale = upload_matrix(scale_at, 3, exec);
  Tape<Space> tape;
  tape.watch(x);
  tape.watch(scale);
  auto const y =
      ops::differentiable("cube_times", exec.with_recorder(tape), CubeTimes{}, CubeTimesBackward{}, x, scale);
  auto const grad = upload_matrix(cotangent, 3, exec);
  tape.backward(y, grad.view(), exec);
  auto const dx = values_of(tape.gradient(x), exec);
  auto const dscale = values_of(tape.gradient(scale), exec);
  for (std::size_t i = 0; i < at.size(); ++i) {
    CHECK(dx[i] == doctest::Approx(3 * at[i] * at[i] * scale_at[i] * cotangent[i]));
    CHECK(dscale[i] == doctest::Approx(at[i] * at[i] * at[i] * cotangent[i]));
  }
}

TEST_CASE_TEMPLATE("gradients of tensors without rows have none", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<Coordinate<3>> const none;
  SparseTensor<3, double, Space> const x{make_coordinate_set(none, CoordinateSetOptions<3>{}, exec),
                                         Matrix<double, Space>{0, 2, exec}};
  nn::Parameter<double, Space> weight{{27, 4, 3}, exec};
  nn::Parameter<double, Space> bias{{3}, exec};
  write(weight, Values(27 * 12, 1.0), exec);
  write(bias, Values(3, 1.0), exec);
  Tape<Space> tape;
  tape.watch(x);
  tape.watch(weight);
  tape.watch(bias);
  auto const recorded = exec.with_recorder(tape);
  auto const y = relu(convolution(cat({x, x}, recorded), weight, bias, 3, Kind::submanifold, geometry(3),
                                  ConvConfig{}, recorded),
                      recorded);
  tape.backward(y, MatrixView<double const>{nullptr, 0, 3}, exec);
  CHECK(tape.gradient(x).rows() == 0);
  CHECK(tape.gradient(x).columns() == 2);
  CHECK(download(std::as_const(weight).grad(), weight.size(), exec) == Values(27 * 12, 0.0));
  CHECK(download(std::as_const(bias).grad(), bias.size(), exec) == Values(3, 0.0));
}
