// Memory for one sample's arrays, handed out from one block that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace {

// Hands out arrays aligned to 64 bytes. On address 0 it only measures: then the returned addresses must not be used.
class Arena {
   public:
    explicit Arena(void* base) : base_(reinterpret_cast<std::uintptr_t>(base)) {}
    template <class T>
    T* take(std::int64_t count) {
        T* array = reinterpret_cast<T*>(base_ + kAlign + used_);
        const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
        std::size_t taken = (bytes + kAlign - 1) / kAlign * kAlign;
#if defined(__SANITIZE_ADDRESS__)
        taken += kAlign;  // a gap that must not be used, so that running past the end of an array is noticed
        if (base_) {
            ASAN_UNPOISON_MEMORY_REGION(array, bytes);
            ASAN_POISON_MEMORY_REGION(reinterpret_cast<char*>(array) + bytes, taken - bytes);
        }
#endif
        used_ += taken;
        return array;
    }
    std::size_t bytes() const { return kAlign + used_; }

   private:
    static constexpr std::size_t kAlign = 64;
    std::uintptr_t base_;
    std::size_t used_ = 0;
};

inline std::int64_t round_up(std::int64_t n, std::int64_t unit) {
    return (n + unit - 1) / unit * unit;
}

}  // namespace
