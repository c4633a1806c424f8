// All that differs between operating systems. Programs beside the library (danaus-bench) compile it in too,
// so that nothing of it is exported.
#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace danaus::platform {

/// The first shared library of `names` that can be opened; null when none can. It stays open.
void* open_library(std::span<const char* const> names);

/// An entry point of an opened library; null when it has none of that name.
void (*symbol(void* library, const char* name))();

/// The number of this process, for names of temporary files.
unsigned long process_id();

/// Processor time that this process has used on all its threads, in seconds.
double processor_seconds();

/// A path as text for people, always UTF-8.
std::string utf8(const std::filesystem::path& path);

}  // namespace danaus::platform
