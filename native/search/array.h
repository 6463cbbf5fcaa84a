// Growing arrays of plain data. Not std::vector: its functions would be shared with objects of other instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

namespace {

template <class T>
class Array {
    static_assert(std::is_trivially_copyable_v<T>, "moved as bytes");

   public:
    Array() = default;
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() { std::free(data_); }

    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }
    T* data() { return data_; }
    const T* data() const { return data_; }
    std::size_t size() const { return size_; }
    T* begin() { return data_; }
    T* end() { return data_ + size_; }
    void clear() { size_ = 0; }
    void shorten(std::size_t size) { size_ = size; }
    void push(const T& item) {
        if (size_ == capacity_) reserve(size_ + 1);
        data_[size_++] = item;
    }
    // A new item, to be filled in.
    T& next() {
        if (size_ == capacity_) reserve(size_ + 1);
        return data_[size_++];
    }
    // New items are `item`.
    void resize(std::size_t size, const T& item) {
        reserve(size);
        for (std::size_t i = size_; i < size; ++i) data_[i] = item;
        size_ = size;
    }
    void reserve(std::size_t capacity) {
        if (capacity <= capacity_) return;
        if (capacity < 2 * capacity_) capacity = 2 * capacity_;
        if (capacity < 16) capacity = 16;
        if (capacity > SIZE_MAX / sizeof(T) / 2) throw std::bad_alloc();
        void* const moved = std::realloc(static_cast<void*>(data_), capacity * sizeof(T));
        if (!moved) throw std::bad_alloc();
        data_ = static_cast<T*>(moved);
        capacity_ = capacity;
    }
    void reverse() {
        for (std::size_t i = 0, j = size_; i + 1 < j; ++i) {
            const T item = data_[i];
            data_[i] = data_[--j];
            data_[j] = item;
        }
    }
    void swap(Array& other) {
        T* const data = data_;
        const std::size_t size = size_, capacity = capacity_;
        data_ = other.data_, size_ = other.size_, capacity_ = other.capacity_;
        other.data_ = data, other.size_ = size, other.capacity_ = capacity;
    }

   private:
    T* data_ = nullptr;
    std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace
