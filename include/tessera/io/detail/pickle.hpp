// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/pickle_objects.hpp>
#include <tessera/io/detail/pickle_value.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Reads one Python pickle, protocols 2 to 5, into values; see PickleObjects for what becomes of objects.
///
/// A pickle is a program for a stack machine. This one has no instruction that calls anything, and none of
/// its loops depends on anything but the bytes, so what it reads costs time and memory in their number.
/// Source: PEP 3154, and the comments of CPython's pickletools.
class PickleReader {
 public:
  /// @param text  the file up to where the pickle must have ended
  PickleReader(std::string_view text, std::size_t begin, FileContext const& file)
      : text_{text}, at_{begin}, objects_{file, text.size()}
  {}

  [[nodiscard]] PickleValues read()
  {
    none_ = objects_.add({});
    for (auto* const index : {&false_, &true_}) {
      PickleNode made;
      made.kind = ValueKind::boolean;
      made.integer = index == &true_ ? 1 : 0;
      *index = objects_.add(std::move(made));
    }
    for (;;) {
      objects_.set_position(at_);
      auto const opcode = number<std::uint8_t>();
      if (opcode == '.') { break; }
      if (!value(opcode) && !container(opcode) && !object(opcode)) { housekeeping(opcode); }
    }
    auto& values = objects_.values();
    values.root = pop();
    if (!stack_.empty() || !marks_.empty()) { fail("values are left over at its end"); }
    values.end = at_;
    return std::move(values);
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(Parts const&... parts) const
  {
    objects_.fail(parts...);
  }

  [[nodiscard]] std::string_view take(std::uint64_t size)
  {
    if (size > text_.size() - at_) {
      fail(size, " bytes are needed, but the pickle ends after ", text_.size() - at_);
    }
    auto const result = text_.substr(at_, static_cast<std::size_t>(size));
    at_ += result.size();
    return result;
  }

  template <class T>
  [[nodiscard]] T number()
  {
    return load_bytes<T>(reinterpret_cast<std::uint8_t const*>(take(sizeof(T)).data()));
  }

  [[nodiscard]] std::string_view line()
  {
    auto const end = text_.find('\n', at_);
    if (end == std::string_view::npos) { fail("a name without its end"); }
    auto const result = text_.substr(at_, end - at_);
    at_ = end + 1;
    return result;
  }

  // ---- the stack: values, and marks that say where a group of them begins

  void push(PickleIndex index) { stack_.push_back(index); }

  [[nodiscard]] std::size_t floor() const noexcept { return marks_.empty() ? 0 : marks_.back(); }

  [[nodiscard]] PickleIndex top() const
  {
    if (stack_.size() <= floor()) { fail("a value is needed, but there is none"); }
    return stack_.back();
  }

  [[nodiscard]] PickleIndex pop()
  {
    auto const index = top();
    stack_.pop_back();
    return index;
  }

  /// The values behind the last mark, which goes with them.
  [[nodiscard]] std::vector<PickleIndex> pop_mark()
  {
    if (marks_.empty()) { fail("a group of values ends that never began"); }
    auto const from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleIndex> items(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return items;
  }

  void push_text(ValueKind kind, std::string_view text)
  {
    PickleNode made;
    made.kind = kind;
    made.text = text;
    push(objects_.add(std::move(made)));
  }

  void push_integer(std::int64_t value)
  {
    PickleNode made;
    made.kind = ValueKind::integer;
    made.integer = value;
    push(objects_.add(std::move(made)));
  }

  /// A whole number in two's complement; one that 64 bits cannot hold is an opaque value of its bytes.
  void push_long(std::string_view bytes)
  {
    if (bytes.size() > 8) {
      push(objects_.add_opaque("builtins.int", bytes));
      return;
    }
    std::uint64_t bits = 0;
    if (!bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80U) != 0) { bits = ~bits; }
    std::memcpy(&bits, bytes.data(), bytes.size());
    push_integer(static_cast<std::int64_t>(bits));
  }

  void push_real()
  {
    std::uint64_t bits = 0;
    for (char const c : take(8)) { bits = (bits << 8) | static_cast<unsigned char>(c); }
    PickleNode made;
    made.kind = ValueKind::real;
    made.real = bit_cast<double>(bits);
    push(objects_.add(std::move(made)));
  }

  // ---- the instructions

  /// Those that push one value.
  [[nodiscard]] bool value(std::uint8_t opcode)
  {
    switch (opcode) {
      case 'N': push(none_); return true;
      case 0x88: push(true_); return true;
      case 0x89: push(false_); return true;
      case 'J': push_integer(number<std::int32_t>()); return true;
      case 'K': push_integer(number<std::uint8_t>()); return true;
      case 'M': push_integer(number<std::uint16_t>()); return true;
      case 0x8a: push_long(take(number<std::uint8_t>())); return true;
      case 0x8b: push_long(take(number<std::uint32_t>())); return true;
      case 'G': push_real(); return true;
      case 'U':
      case 0x8c: push_text(ValueKind::text, take(number<std::uint8_t>())); return true;
      case 'T':
      case 'X': push_text(ValueKind::text, take(number<std::uint32_t>())); return true;
      case 0x8d: push_text(ValueKind::text, take(number<std::uint64_t>())); return true;
      case 'C': push_text(ValueKind::bytes, take(number<std::uint8_t>())); return true;
      case 'B': push_text(ValueKind::bytes, take(number<std::uint32_t>())); return true;
      case 0x8e:
      case 0x96: push_text(ValueKind::bytes, take(number<std::uint64_t>())); return true;
      default: return false;
    }
  }

  [[nodiscard]] std::vector<PickleIndex> pop_some(std::size_t count)
  {
    std::vector<PickleIndex> items(count);
    for (auto i = count; i-- > 0;) { items[i] = pop(); }
    return items;
  }

  /// Those that make lists, tuples, dictionaries and sets, and fill them.
  [[nodiscard]] bool container(std::uint8_t opcode)
  {
    switch (opcode) {
      case ']': push(objects_.add_items(ValueKind::list, {})); return true;
      case '}': push(objects_.add_items(ValueKind::dict, {})); return true;
      case ')': push(objects_.add_items(ValueKind::tuple, {})); return true;
      case 0x85: push(objects_.add_items(ValueKind::tuple, pop_some(1))); return true;
      case 0x86: push(objects_.add_items(ValueKind::tuple, pop_some(2))); return true;
      case 0x87: push(objects_.add_items(ValueKind::tuple, pop_some(3))); return true;
      case 't': push(objects_.add_items(ValueKind::tuple, pop_mark())); return true;
      case 'l': push(objects_.add_items(ValueKind::list, pop_mark())); return true;
      case 'd': {
        auto members = pop_mark();
        if (members.size() % 2 != 0) { fail("a dictionary with a key but no value"); }
        push(objects_.add_items(ValueKind::dict, std::move(members)));
        return true;
      }
      case 'a': fill(ValueKind::list, pop_some(1)); return true;
      case 'e': fill(ValueKind::list, pop_mark()); return true;
      case 's': fill(ValueKind::dict, pop_some(2)); return true;
      case 'u': fill(ValueKind::dict, pop_mark()); return true;
      case 0x8f: push(objects_.add_opaque("builtins", "set")); return true;
      case 0x90: fill(ValueKind::opaque, pop_mark()); return true;
      case 0x91:
        static_cast<void>(pop_mark());
        push(objects_.add_opaque("builtins", "frozenset"));
        return true;
      default: return false;
    }
  }

  /// Appends `items` to the value on top. What an object of an unknown class holds is not kept.
  void fill(ValueKind kind, std::vector<PickleIndex> const& items)
  {
    auto& target = objects_.node(top());
    if (target.kind == ValueKind::opaque) { return; }
    if (target.kind != kind) {
      fail(kind == ValueKind::list   ? "an entry is appended to something that is no list"
           : kind == ValueKind::dict ? "a member is given to something that is no dictionary"
                                     : "an entry is added to something that is no set");
    }
    if (kind == ValueKind::dict && items.size() % 2 != 0) { fail("a dictionary with a key but no value"); }
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  /// Those that would import, call or rebuild objects.
  [[nodiscard]] bool object(std::uint8_t opcode)
  {
    switch (opcode) {
      case 'c': {
        auto const module = line();
        push(objects_.add_opaque(module, line(), PickleRole::global));
        return true;
      }
      case 0x93: {
        auto const names = pop_some(2);
        auto const& module = objects_.node(names[0]);
        auto const& name = objects_.node(names[1]);
        if (module.kind != ValueKind::text || name.kind != ValueKind::text) {
          fail("a class without a name");
        }
        push(objects_.add_opaque(module.text, name.text, PickleRole::global));
        return true;
      }
      case 0x82: return extension(number<std::uint8_t>());
      case 0x83: return extension(number<std::uint16_t>());
      case 0x84: return extension(number<std::uint32_t>());
      case 'R': {
        auto const items = pop_some(2);
        push(objects_.reduce(items[0], items[1]));
        return true;
      }
      case 0x81: push(objects_.make(pop_some(2)[0])); return true;
      case 0x92: push(objects_.make(pop_some(3)[0])); return true;
      case 'o': {  // Python 2's classes that do not derive from object
        auto const items = pop_mark();
        if (items.empty()) { fail("an object is made of no class"); }
        push(objects_.make(items[0]));
        return true;
      }
      case 'Q': push(objects_.persistent(pop())); return true;
      case 'b': {
        auto const state = pop();
        auto& target = objects_.node(top());
        if (target.kind == ValueKind::dict || target.kind == ValueKind::opaque) {
          target.state = state;
        } else if (target.kind != ValueKind::tensor) {
          fail("attributes are given to something that is no object");
        }
        return true;
      }
      default: return false;
    }
  }

  [[nodiscard]] bool extension(std::uint32_t)
  {
    push(objects_.add_opaque("copyreg", "extension"));
    return true;
  }

  // Picklers number what they keep 0, 1, 2, ...; other numbers are legal, and no arrangement of them is slow.

  void remember(std::uint32_t key)
  {
    auto const index = top();
    if (key < memo_.size()) {
      memo_[key] = index;
    } else if (key == memo_.size()) {
      memo_.push_back(index);
      if (!sparse_memo_.empty()) { sparse_memo_.erase(key); }
    } else {
      sparse_memo_[key] = index;
    }
  }

  void recall(std::uint32_t key)
  {
    if (key < memo_.size()) {
      push(memo_[key]);
      return;
    }
    auto const found = sparse_memo_.find(key);
    if (found == sparse_memo_.end()) { fail("value ", key, " is asked for, which was never kept"); }
    push(found->second);
  }

  /// Those that move values around, and all that remains.
  void housekeeping(std::uint8_t opcode)
  {
    switch (opcode) {
      case 0x80: {
        unsigned const protocol = number<std::uint8_t>();
        if (protocol > 5) { fail("protocol ", protocol, "; 2 to 5 are known"); }
        return;
      }
      case 0x95: {
        auto const size = number<std::uint64_t>();
        if (size > text_.size() - at_) {
          fail("a frame of ", size, " bytes where ", text_.size() - at_, " follow");
        }
        return;
      }
      case '(': marks_.push_back(stack_.size()); return;
      case '0':
        if (stack_.size() == floor() && !marks_.empty()) {
          marks_.pop_back();
        } else {
          static_cast<void>(pop());
        }
        return;
      case '1': static_cast<void>(pop_mark()); return;
      case '2': push(top()); return;
      case 'q': remember(number<std::uint8_t>()); return;
      case 'r': remember(number<std::uint32_t>()); return;
      case 0x94: remember(static_cast<std::uint32_t>(memo_.size() + sparse_memo_.size())); return;
      case 'h': recall(number<std::uint8_t>()); return;
      case 'j': recall(number<std::uint32_t>()); return;
      default: break;
    }
    constexpr std::string_view old = "FILPSVgip";
    if (opcode != 0 && old.find(static_cast<char>(opcode)) != std::string_view::npos) {
      fail("the instruction '", static_cast<char>(opcode),
           "' of the text protocol, which PyTorch does not write");
    }
    fail("the unknown instruction ", static_cast<unsigned>(opcode));
  }

  std::string_view text_;
  std::size_t at_;
  PickleObjects objects_;
  std::vector<PickleIndex> stack_;
  std::vector<std::size_t> marks_;
  std::vector<PickleIndex> memo_;
  std::map<std::uint32_t, PickleIndex> sparse_memo_;  // numbers that did not follow on
  PickleIndex none_ = 0;
  PickleIndex false_ = 0;
  PickleIndex true_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
