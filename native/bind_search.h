#pragma once

#include <nanobind/nanobind.h>

namespace ctckit {

// Adds the searches to the extension module.
void bind_search(nanobind::module_& m);

}  // namespace ctckit
