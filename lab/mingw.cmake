# Toolchain: Windows programs, x86-64, by Debian's MinGW-w64 with POSIX threads (std::thread needs them).
#
# Libraries that are headers only come from the host. The host's include folder holds the host's C library too, so the
# compiler never sees it: links to those headers alone are made in the build folder, with a CMake package for each.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc-posix)
set(CMAKE_CXX_COMPILER x86_64-w64-mingw32-g++-posix)
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)

set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# A static program needs nothing but Windows; a shared library and its users share one C++ library, for exceptions.
if(NOT BUILD_SHARED_LIBS)
    set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
endif()

get_property(danaus_in_try_compile GLOBAL PROPERTY IN_TRY_COMPILE)
if(danaus_in_try_compile)
    return()
endif()

set(danaus_headers "${CMAKE_BINARY_DIR}/host-headers")
file(MAKE_DIRECTORY "${danaus_headers}/include")

# danaus_host_headers(<folder>...): makes the host's include folders of these names visible.
function(danaus_host_headers)
    foreach(name IN LISTS ARGN)
        find_path(DANAUS_HOST_${name} NAMES "${name}" PATHS /usr/include /usr/local/include
            /usr/include/eigen3 NO_DEFAULT_PATH
            NO_CMAKE_FIND_ROOT_PATH DOC "Folder that holds the host's ${name}/")
        if(NOT DANAUS_HOST_${name})
            message(FATAL_ERROR "the host's headers ${name}/ were not found")
        endif()
        file(CREATE_LINK "${DANAUS_HOST_${name}}/${name}" "${danaus_headers}/include/${name}" SYMBOLIC)
    endforeach()
endfunction()

# danaus_host_package(<package> <target> <folder> [definitions]): what find_package(<package>) will find.
function(danaus_host_package package target folder)
    danaus_host_headers("${folder}")
    file(CONFIGURE OUTPUT "${danaus_headers}/${package}/${package}Config.cmake" @ONLY CONTENT
[[if(NOT TARGET @target@)
    add_library(@target@ INTERFACE IMPORTED)
    target_include_directories(@target@ INTERFACE "@danaus_headers@/include")
    target_compile_definitions(@target@ INTERFACE @ARGN@)
endif()
]])
    set(${package}_DIR "${danaus_headers}/${package}" CACHE PATH "Made from the host's headers" FORCE)
endfunction()

danaus_host_headers(vulkan vk_video)
set(DANAUS_VULKAN_INCLUDE_DIR "${danaus_headers}/include" CACHE PATH "Vulkan headers of the host" FORCE)
danaus_host_package(fmt fmt::fmt-header-only fmt FMT_HEADER_ONLY=1)
danaus_host_package(nlohmann_json nlohmann_json::nlohmann_json nlohmann)
danaus_host_package(CLI11 CLI11::CLI11 CLI)
danaus_host_package(Eigen3 Eigen3::Eigen Eigen)
