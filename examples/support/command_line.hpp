// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace program {

/// A command line that is invalid.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The whole of `text` as a number in [low, high]; `what` begins the sentence if it is not one.
template <class Number>
[[nodiscard]] Number parse_number(std::string const& what, std::string_view text, Number low, Number high)
{
  Number value{};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool const whole = error == std::errc{} && end == text.data() + text.size();
  if (!whole || !(value >= low && value <= high)) {  // NaN fails too
    auto const shown = [](Number number) {
      auto digits = std::to_string(number);
      if (digits.find('.') != std::string::npos) {
        digits.erase(digits.find_last_not_of('0') + 1);
        if (digits.back() == '.') { digits.pop_back(); }
      }
      return digits;
    };
    throw UsageError{what + ": '" + std::string{text} + "' is no number from " + shown(low) + " to " +
                     shown(high)};
  }
  return value;
}

/// Options `--name value` or `--name=value`, flags `--name`, and positional arguments.
class CommandLine {
 public:
  using Set = std::function<void(std::string const&)>;

  /// Begins a group of options under a title in the help text.
  void group(std::string title) { options_.push_back({std::move(title), {}, {}, {}}); }
  /// An option; `value` names its value in the help text, an empty one makes it a flag.
  void add(std::string name, std::string value, std::string help, Set set)
  {
    options_.push_back({std::move(name), std::move(value), std::move(help), std::move(set)});
  }

  /// An option that takes one of some words, whose number `set` is given.
  void add_choice(std::string const& name, std::vector<std::string> const& words, std::string help,
                  std::function<void(std::size_t)> const& set)
  {
    std::string value;
    for (auto const& word : words) { value += (value.empty() ? "" : "|") + word; }
    add(name, value, std::move(help), [name, words, value, set](std::string const& text) {
      auto const found = std::find(words.begin(), words.end(), text);
      if (found == words.end()) { throw UsageError{name + ": '" + text + "' is none of " + value}; }
      set(static_cast<std::size_t>(found - words.begin()));
    });
  }

  /// Calls the setters in the order of the arguments. Returns the positional ones.
  /// @throws UsageError  an option does not exist, lacks its value or has one it does not take
  std::vector<std::string> parse(std::vector<std::string> const& arguments) const
  {
    std::vector<std::string> positional;
    bool only_positional = false;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      auto const& argument = arguments[i];
      if (only_positional || argument.size() < 2 || argument[0] != '-') {
        positional.push_back(argument);
        continue;
      }
      if (argument == "--") {
        only_positional = true;
        continue;
      }
      auto const equals = argument.find('=');
      auto const name = argument == "-h" ? "--help" : argument.substr(0, equals);
      auto const& option = find(name);
      if (option.value.empty()) {
        if (equals != std::string::npos) { throw UsageError{name + " takes no value"}; }
        option.set({});
      } else if (equals != std::string::npos) {
        option.set(argument.substr(equals + 1));
      } else {
        if (i + 1 == arguments.size()) { throw UsageError{name + " needs a value: " + option.value}; }
        option.set(arguments[++i]);
      }
    }
    return positional;
  }

  /// One paragraph an option.
  [[nodiscard]] std::string help() const
  {
    std::string text;
    for (auto const& option : options_) {
      if (!option.set) {
        text += "\n" + option.name + ":\n";
        continue;
      }
      std::string line = "  " + option.name + (option.value.empty() ? "" : " " + option.value);
      if (line.size() + 1 > indent) {
        text += line + "\n";
        line.clear();
      }
      line.resize(indent, ' ');
      for (std::size_t at = 0; at < option.help.size();) {  // wrapped at spaces
        auto end = option.help.size();
        if (end - at > width - indent) { end = option.help.rfind(' ', at + width - indent); }
        text += line + option.help.substr(at, end - at) + "\n";
        line.assign(indent, ' ');
        at = end + 1;
      }
    }
    return text;
  }

 private:
  struct Option {
    std::string name;  // or the title of a group, which has no setter
    std::string value;
    std::string help;
    Set set;
  };
  static constexpr std::size_t indent = 30;
  static constexpr std::size_t width = 100;

  [[nodiscard]] Option const& find(std::string const& name) const
  {
    for (auto const& option : options_) {
      if (option.set && option.name == name) { return option; }
    }
    throw UsageError{"there is no option " + name + "; --help lists them"};
  }

  std::vector<Option> options_;
};

}  // namespace program
