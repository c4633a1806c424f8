#include "platform.hpp"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>
#endif

namespace danaus::platform {

void* open_library(std::span<const char* const> names) {
    for (const char* name : names) {
#if defined(_WIN32)
        void* library = LoadLibraryA(name);
#else
        void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
#endif
        if (library) return library;
    }
    return nullptr;
}

void (*symbol(void* library, const char* name))() {
#if defined(_WIN32)
    return reinterpret_cast<void (*)()>(GetProcAddress(static_cast<HMODULE>(library), name));
#else
    return reinterpret_cast<void (*)()>(dlsym(library, name));
#endif
}

unsigned long process_id() {
#if defined(_WIN32)
    return GetCurrentProcessId();
#else
    return static_cast<unsigned long>(getpid());
#endif
}

double processor_seconds() {
#if defined(_WIN32)
    // std::clock counts wall time here.
    FILETIME created{}, ended{}, kernel{}, user{};
    if (!GetProcessTimes(GetCurrentProcess(), &created, &ended, &kernel, &user)) return 0.0;
    const auto seconds = [](const FILETIME& time) {
        return (4294967296.0 * time.dwHighDateTime + time.dwLowDateTime) * 1e-7;
    };
    return seconds(kernel) + seconds(user);
#else
    timespec used{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
#endif
}

std::string utf8(const std::filesystem::path& path) {
    const std::u8string text = path.u8string();
    return {text.begin(), text.end()};
}

}  // namespace danaus::platform
