// Symbol visibility: everything is hidden unless marked.
#pragma once

#if defined(_WIN32) && defined(DANAUS_SHARED)
#if defined(DANAUS_BUILDING)
#define DANAUS_EXPORT __declspec(dllexport)
#else
#define DANAUS_EXPORT __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define DANAUS_EXPORT __attribute__((visibility("default")))
#else
#define DANAUS_EXPORT
#endif
