// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Objects by key, of any number of types: tables, maps and orders that are derived from a set or a map.
///
/// A key is a plain struct with `operator==` and a member type `Value`, the type of what it names; keys of
/// two types never meet. Looking an object up allocates nothing.
/// Cost: linear in the number of key types and in the keys of that type, which are few.
class Cache {
 public:
  /// The object of `key`, or null.
  template <class Key>
  [[nodiscard]] std::shared_ptr<typename Key::Value> find(Key const& key) const
  {
    if (auto const* const shelf = find_shelf<Key>(); shelf != nullptr) {
      for (auto const& [kept, object] : shelf->objects) {
        if (kept == key) { return object; }
      }
    }
    return nullptr;
  }

  /// The object of `key`, made by `make()` -> shared_ptr<Value> when it does not exist yet. `make` may use the
  /// cache.
  template <class Key, class Make>
  std::shared_ptr<typename Key::Value> get_or_make(Key const& key, Make&& make)
  {
    if (auto found = find(key)) { return found; }
    std::shared_ptr<typename Key::Value> object = make();
    auto* shelf = find_shelf<Key>();
    if (shelf == nullptr) {
      auto added = std::make_unique<Shelf<Key>>();
      shelf = added.get();
      shelves_.push_back(std::move(added));
    }
    shelf->objects.emplace_back(key, object);
    return object;
  }

 private:
  /// The objects of one type of key.
  struct AnyShelf {
    explicit AnyShelf(void const* key_type) : type{key_type} {}
    virtual ~AnyShelf() = default;
    void const* type;
  };
  template <class Key>
  struct Shelf final : AnyShelf {
    Shelf() : AnyShelf{type_of<Key>()} {}
    std::vector<std::pair<Key, std::shared_ptr<typename Key::Value>>> objects;
  };

  /// An address for each type of key.
  template <class Key>
  [[nodiscard]] static void const* type_of() noexcept
  {
    static char address = 0;  // not const: equal constants may be folded into one
    return &address;
  }
  template <class Key>
  [[nodiscard]] Shelf<Key>* find_shelf() const noexcept
  {
    for (auto const& shelf : shelves_) {
      if (shelf->type == type_of<Key>()) { return static_cast<Shelf<Key>*>(shelf.get()); }
    }
    return nullptr;
  }

  std::vector<std::unique_ptr<AnyShelf>> shelves_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
