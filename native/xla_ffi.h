// The part of XLA's foreign function interface that jax.cpp uses, in declarations of our own: a handler then needs
// nothing of XLA to be built or to run. This is version 0.1. Every jaxlib since 0.5 takes it; one that is older than a
// handler's version would refuse to start any backend. Structs grow at their end only. Includes only the C standard
// library.
//
// Source: the interface's description in XLA, xla/ffi/api/c_api.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xla_ffi {

constexpr int kMajor = 0, kMinor = 1;

enum DataType : std::int32_t { kS32 = 4, kS64 = 5, kU8 = 6, kF16 = 10, kF32 = 11, kF64 = 12, kBF16 = 16 };
enum ErrorCode : std::int32_t { kInvalidArgument = 3, kResourceExhausted = 8, kInternal = 13 };
enum Stage : std::int32_t { kExecute = 3 };
enum AttributeType : std::int32_t { kScalar = 3, kString = 4 };
enum ExtensionType : std::int32_t { kMetadata = 1 };

struct Error;

struct Extension {
    std::size_t struct_size;
    ExtensionType type;
    Extension* next;
};

struct Version {
    std::size_t struct_size;
    Extension* extensions;
    int major, minor;
};

struct Metadata {
    std::size_t struct_size;
    Version version;
    std::uint32_t traits;
};

// A question instead of a call: which version the handler was built for.
struct MetadataExtension {
    Extension extension;
    Metadata* metadata;
};

struct NewError {
    std::size_t struct_size;
    Extension* extensions;
    const char* message;
    ErrorCode code;
};

struct Api {
    std::size_t struct_size;
    Extension* extensions;
    Version version;
    const void* internal;
    Error* (*new_error)(NewError*);  // more functions follow
};

struct Buffer {
    std::size_t struct_size;
    Extension* extensions;
    DataType dtype;
    void* data;
    std::int64_t rank;
    std::int64_t* dims;
};

// Arguments or results.
struct Buffers {
    std::size_t struct_size;
    Extension* extensions;
    std::int64_t size;
    std::int32_t* types;
    Buffer** buffers;
};

struct Text {
    const char* data;
    std::size_t size;
};

struct Scalar {
    DataType dtype;
    void* value;
};

// By name, in alphabetical order.
struct Attributes {
    std::size_t struct_size;
    Extension* extensions;
    std::int64_t size;
    AttributeType* types;
    Text** names;
    void** values;
};

struct Call {
    std::size_t struct_size;
    Extension* extensions;
    const Api* api;
    void* context;
    Stage stage;
    Buffers arguments, results;
    Attributes attributes;
};

using Handler = Error*(Call*);

}  // namespace xla_ffi
