// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/json.hpp>
#include <tessera/nn/tuning.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

inline constexpr std::int64_t tuning_format = 1;

/// Seconds as microseconds with three decimals, whatever the locale.
[[nodiscard]] inline std::string json_microseconds(double seconds)
{
  char text[64];
  bool const held = seconds >= 0 && seconds < 1e9;  // JSON has no infinity, and no time is that long
  auto const end =
      std::to_chars(text, text + sizeof(text), held ? seconds * 1e6 : 0.0, std::chars_format::fixed, 3);
  return std::string(text, end.ptr);
}

[[nodiscard]] inline std::string json_choice(nn::ConvChoice const& choice)
{
  return concat("{\"dataflow\": \"", name_of(choice.dataflow),
                "\", \"sort\": ", choice.sort ? "true" : "false", ", \"splits\": ", choice.splits,
                ", \"kernel\": \"", name_of(choice.kernel), "\"}");
}

[[nodiscard]] inline std::string json_names(std::vector<std::string> const& names)
{
  std::string result{"["};
  for (auto const& name : names) { result += (result.size() > 1 ? ", " : "") + json_quoted(name); }
  return result + ']';
}

/// A group in five lines.
[[nodiscard]] inline std::string json_group(nn::TunedGroup const& tuned)
{
  auto const& group = tuned.group;
  return concat("        {\"kind\": \"", name_of(group.kind), "\", \"in_channels\": ", group.in_channels,
                ", \"out_channels\": ", group.out_channels, ", \"kernel_size\": ", list(group.kernel_size),
                group.offsets.empty() ? "" : concat(", \"offsets\": ", list(group.offsets)),
                ", \"stride\": ", list(group.stride), ", \"dilation\": ", list(group.dilation),
                ", \"tensor_stride\": ", list(group.tensor_stride), ", \"math\": \"", name_of(group.math),
                "\", \"operation\": \"", name_of(group.operation),
                "\",\n         \"choice\": ", json_choice(tuned.choice),
                ",\n         \"before\": ", json_choice(tuned.before),
                ",\n         \"microseconds\": ", json_microseconds(tuned.seconds),
                ", \"before_microseconds\": ", json_microseconds(tuned.seconds_before),
                ", \"map_microseconds\": ", json_microseconds(tuned.map_seconds),
                ", \"before_map_microseconds\": ", json_microseconds(tuned.map_seconds_before),
                ",\n         \"layers\": ", json_names(tuned.layers), '}');
}

[[nodiscard]] inline std::string json_tuning(nn::Tuning const& tuning)
{
  auto text =
      concat("    {\"device\": ", json_quoted(tuning.device),
             ", \"compute_capability\": ", tuning.compute_capability,
             ", \"version\": ", json_quoted(tuning.version), ", \"scalar\": ", json_quoted(tuning.scalar),
             ",\n      \"microseconds\": ", json_microseconds(tuning.seconds),
             ", \"before_microseconds\": ", json_microseconds(tuning.seconds_before),
             ",\n      \"not_run\": ", json_names(tuning.not_run), ",\n      \"groups\": [");
  char const* separator = "\n";
  for (auto const& group : tuning.groups) {
    text += separator + json_group(group);
    separator = ",\n";
  }
  return text + "]}";
}

/// Reads members of JSON objects; sentences name the place in the file.
class TuningReader {
 public:
  TuningReader(FileContext const& file, std::string where) : file_{file}, where_{std::move(where)} {}

  template <class T>
  [[nodiscard]] T const& require(Json const& object, char const* key, char const* what) const
  {
    auto const* const member = object.find(key);
    auto const* const value = member == nullptr ? nullptr : member->get<T>();
    file_.expects(value != nullptr, where_, " needs \"", key, "\", ", what);
    return *value;
  }
  [[nodiscard]] std::string const& text(Json const& object, char const* key) const
  {
    return require<std::string>(object, key, "a text");
  }
  [[nodiscard]] int integer(Json const& object, char const* key, int least, int most) const
  {
    return within(require<std::int64_t>(object, key, "an integer"), key, least, most);
  }
  [[nodiscard]] double seconds(Json const& object, char const* key) const
  {
    auto const* const member = object.find(key);
    auto const* const whole = member == nullptr ? nullptr : member->get<std::int64_t>();
    auto const value =
        whole != nullptr ? static_cast<double>(*whole) : require<double>(object, key, "a number");
    file_.expects(value >= 0, where_, ": \"", key, "\" is ", value, "; times are not negative");
    return value * 1e-6;
  }
  [[nodiscard]] std::vector<int> integers(Json const& object, char const* key) const
  {
    auto const& values = require<Json::Array>(object, key, "a list of integers");
    file_.expects(!values.empty() && values.size() <= 6, where_, ": \"", key, "\" has ", values.size(),
                  " numbers; 1 to 6, one per axis");
    std::vector<int> result;
    for (auto const& value : values) {
      auto const* const number = value.get<std::int64_t>();
      file_.expects(number != nullptr, where_, ": \"", key, "\" is a list of something else than integers");
      result.push_back(within(*number, key, 1, 1 << 30));
    }
    return result;
  }
  /// [volume, axes] of a kernel that is no box, which files of boxes do not have.
  [[nodiscard]] std::vector<int> offsets(Json const& object, std::size_t axes) const
  {
    auto const& values = require<Json::Array>(object, "offsets", "a list of integers");
    file_.expects(!values.empty() && values.size() % axes == 0, where_, ": \"offsets\" has ", values.size(),
                  " numbers, which are no rows of ", axes);
    std::vector<int> result;
    for (auto const& value : values) {
      auto const* const number = value.get<std::int64_t>();
      file_.expects(number != nullptr, where_, ": \"offsets\" is a list of something else than integers");
      result.push_back(within(*number, "offsets", -(1 << 30), 1 << 30));
    }
    return result;
  }
  [[nodiscard]] std::vector<std::string> texts(Json const& object, char const* key) const
  {
    std::vector<std::string> result;
    for (auto const& value : require<Json::Array>(object, key, "a list of texts")) {
      auto const* const name = value.get<std::string>();
      file_.expects(name != nullptr, where_, ": \"", key, "\" is a list of something else than texts");
      result.push_back(*name);
    }
    return result;
  }
  /// The one of `all` that is called as the member says.
  template <class Enum>
  [[nodiscard]] Enum named(Json const& object, char const* key, std::initializer_list<Enum> all) const
  {
    auto const& name = text(object, key);
    std::vector<std::string> names;
    for (auto const value : all) {
      names.emplace_back(name_of(value));
      if (name == names.back()) { return value; }
    }
    file_.fail(where_, ": there is no ", key, ' ', in_quotes(name), "; there are: ", list(names));
  }

  [[nodiscard]] nn::ConvChoice choice(Json const& group, char const* key) const
  {
    TuningReader const inner{file_, concat(where_, ", ", key)};
    auto const* const object = group.find(key);
    file_.expects(object != nullptr, where_, " needs \"", key, "\", an object");
    nn::ConvChoice result;
    result.dataflow = inner.named(
        *object, "dataflow", {Dataflow::implicit_gemm, Dataflow::gather_scatter, Dataflow::fetch_on_demand});
    result.sort = inner.require<bool>(*object, "sort", "true or false");
    result.splits = inner.integer(*object, "splits", 1, 1 << 20);
    for (auto const* const kernel_key : {"kernel", "tiles"}) {  // older files call it tiles, or have none
      if (object->find(kernel_key) == nullptr) { continue; }
      result.kernel = inner.named(*object, kernel_key,
                                  {GemmKernel::automatic, GemmKernel::block, GemmKernel::warp,
                                   GemmKernel::warpgroup, GemmKernel::warpgroup_pair});
      break;
    }
    return result;
  }

  [[nodiscard]] nn::TunedGroup group(Json const& json) const
  {
    using Kind = ConvolutionKind;
    nn::TunedGroup result;
    auto& group = result.group;
    group.kind = named(json, "kind",
                       {Kind::submanifold, Kind::strided, Kind::transposed, Kind::generative, Kind::inverse,
                        Kind::expanding});
    group.in_channels = integer(json, "in_channels", 1, 1 << 30);
    group.out_channels = integer(json, "out_channels", 1, 1 << 30);
    group.kernel_size = integers(json, "kernel_size");
    if (json.find("offsets") != nullptr) { group.offsets = offsets(json, group.kernel_size.size()); }
    group.stride = integers(json, "stride");
    group.dilation = integers(json, "dilation");
    group.tensor_stride = integers(json, "tensor_stride");
    group.math = named(json, "math", {MathMode::exact, MathMode::tf32});
    if (json.find("operation") != nullptr) {  // older files have forward passes alone
      group.operation = named(json, "operation", {Operation::forward, Operation::backward_data});
    }
    auto const axes = group.kernel_size.size();
    file_.expects(
        group.stride.size() == axes && group.dilation.size() == axes && group.tensor_stride.size() == axes,
        where_, ": kernel size, stride, dilation and tensor stride are not of one number of axes");
    result.choice = choice(json, "choice");
    result.before = choice(json, "before");
    result.seconds = seconds(json, "microseconds");
    result.seconds_before = seconds(json, "before_microseconds");
    result.map_seconds = seconds(json, "map_microseconds");
    result.map_seconds_before = seconds(json, "before_map_microseconds");
    result.layers = texts(json, "layers");
    return result;
  }

 private:
  [[nodiscard]] int within(std::int64_t value, char const* key, int least, int most) const
  {
    file_.expects(value >= least && value <= most, where_, ": \"", key, "\" is ", value, "; it must be ",
                  least, " to ", most);
    return static_cast<int>(value);
  }

  FileContext const& file_;
  std::string where_;
};

[[nodiscard]] inline nn::Tuning tuning_of(Json const& json, std::string const& where, FileContext const& file)
{
  TuningReader const reader{file, where};
  nn::Tuning result;
  result.device = reader.text(json, "device");
  result.compute_capability = reader.integer(json, "compute_capability", 0, 1 << 20);
  result.version = reader.text(json, "version");
  result.scalar = reader.text(json, "scalar");
  result.seconds = reader.seconds(json, "microseconds");
  result.seconds_before = reader.seconds(json, "before_microseconds");
  result.not_run = reader.texts(json, "not_run");
  std::size_t number = 0;
  for (auto const& group : reader.require<Json::Array>(json, "groups", "a list of groups")) {
    result.groups.push_back(TuningReader{file, concat(where, ", group ", ++number)}.group(group));
  }
  return result;
}

/// Refuses by its beginning what is no JSON object.
inline void check_tuning_beginning(std::string_view text, FileContext const& file)
{
  auto const first = text.find_first_not_of(" \t\r\n");
  file.expects(first == text.npos || text[first] == '{',
               "is no tuning: it does not begin as a JSON object does");
}

[[nodiscard]] inline std::vector<nn::Tuning> tunings_of(std::string_view text, FileContext const& file)
{
  check_tuning_beginning(text, file);
  auto const json = parse_json(text, file);
  auto const* const format = json.find("tessera_tuning");
  auto const* const number = format == nullptr ? nullptr : format->get<std::int64_t>();
  file.expects(number != nullptr, "is no tuning: the member \"tessera_tuning\" is missing");
  file.expects(*number == tuning_format, "is a tuning of format ", *number, "; this version reads format ",
               tuning_format);
  std::vector<nn::Tuning> result;
  for (auto const& entry :
       TuningReader{file, "the file"}.require<Json::Array>(json, "tunings", "a list of tunings")) {
    result.push_back(tuning_of(entry, concat("tuning ", result.size() + 1), file));
  }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
