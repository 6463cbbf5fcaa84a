// Memory for large gradients, used again: a step allocates one and frees it, and fresh pages cost more than the numbers
// that go there.
#pragma once

#include <cstddef>

namespace ctckit {

struct Block {
    void* data;  // aligned to 64 bytes at least
    std::size_t capacity;
};

// A block of at least so many bytes, which hold anything. Throws std::bad_alloc.
Block* take_block(std::size_t bytes);

// Keeps a block for the next call. Its numbers are gone.
void park_block(Block* block) noexcept;

}  // namespace ctckit
