// The parts of the extension module that have a file of their own.
#ifndef CTCKIT_BIND_LANGUAGE_H
#define CTCKIT_BIND_LANGUAGE_H

#include <nanobind/nanobind.h>

namespace ctckit {

void bind_language(nanobind::module_& m);

}  // namespace ctckit

#endif
