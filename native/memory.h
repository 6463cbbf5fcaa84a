// A small pool of memory for large gradients: each training step allocates one and frees it, and new pages cost more
// than computing the numbers in them.
#pragma once

#include <cstddef>

namespace ctckit {

struct Block {
    void* data;  // aligned to 64 bytes at least
    std::size_t capacity;
};

// An uninitialised block of at least this many bytes. Throws std::bad_alloc.
Block* take_block(std::size_t bytes);

// Returns a block to the pool. Its contents are lost.
void park_block(Block* block) noexcept;

}  // namespace ctckit
