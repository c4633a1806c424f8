# One step of the install tests; called by ctest with -D STEP=….
cmake_minimum_required(VERSION 3.25)
set(prefix "${SCRATCH}/moved")

function(run)
    execute_process(COMMAND ${ARGV} RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(failed)
        list(JOIN ARGV " " command)
        message(FATAL_ERROR "${command}\nfailed: ${failed}\n${output}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

# Configures and builds the consumer, then runs it.
function(build_consumer folder)
    set(work "${SCRATCH}/${folder}")
    file(REMOVE_RECURSE "${work}")
    run("${CMAKE_COMMAND}" -S "${CONSUMER}" -B "${work}" -G "${GENERATOR}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
        "-DCMAKE_C_COMPILER=${C_COMPILER}" "-DCMAKE_CXX_FLAGS=${FLAGS}" "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}"
        "-DVULKAN_HEADERS=${VULKAN_HEADERS}" ${ARGN})
    run("${CMAKE_COMMAND}" --build "${work}" --parallel 2)
    run(${RUNNER} "${work}/consumer")
    message(STATUS "${output}")
endfunction()

if(STEP STREQUAL "prefix")
    file(REMOVE_RECURSE "${SCRATCH}/prefix" "${prefix}")
    run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${SCRATCH}/prefix")
    file(RENAME "${SCRATCH}/prefix" "${prefix}")
    # Nothing of this machine may be left in what others read.
    file(GLOB_RECURSE texts "${prefix}/*.cmake" "${prefix}/*.pc" "${prefix}/*.hpp")
    foreach(text IN LISTS texts)
        file(READ "${text}" content)
        foreach(path IN ITEMS "${SOURCE}" "${BUILD}" "${SCRATCH}")
            string(FIND "${content}" "${path}" at)
            if(NOT at EQUAL -1)
                message(FATAL_ERROR "${text} names ${path}")
            endif()
        endforeach()
    endforeach()
elseif(STEP STREQUAL "find_package")
    # What only danaus itself is built with must not be asked for.
    build_consumer(find_package "-DCMAKE_PREFIX_PATH=${prefix}" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF
        -DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON
        -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON
        -DCMAKE_DISABLE_FIND_PACKAGE_Vulkan=ON)
elseif(STEP STREQUAL "pkg_config")
    find_program(PKG_CONFIG NAMES pkg-config pkgconf REQUIRED)
    set(ENV{PKG_CONFIG_PATH} "${prefix}/${LIBDIR}/pkgconfig")
    run("${PKG_CONFIG}" --cflags --libs danaus)
    separate_arguments(flags UNIX_COMMAND "${FLAGS} ${output}")
    file(MAKE_DIRECTORY "${SCRATCH}/pkg_config")
    run("${COMPILER}" -std=c++20 -idirafter "${VULKAN_HEADERS}" "${CONSUMER}/main.cpp" "${CONSUMER}/embedding.cpp"
        -o "${SCRATCH}/pkg_config/consumer" ${flags} "-Wl,-rpath,${prefix}/${LIBDIR}")
    run(${RUNNER} "${SCRATCH}/pkg_config/consumer")
    message(STATUS "${output}")
elseif(STEP STREQUAL "add_subdirectory")
    # Not optimized: what is tested is that it builds.
    build_consumer(add_subdirectory "-DDANAUS_SOURCE=${SOURCE}" "-DCMAKE_BUILD_TYPE=Debug"
        "-DDANAUS_VULKAN_INCLUDE_DIR=${VULKAN_HEADERS}" "-DDANAUS_VMA_INCLUDE_DIR=${VMA_HEADERS}"
        "-DDANAUS_GLSLC=${GLSLC}" "-DCMAKE_CXX_FLAGS=${FLAGS} -g0"
        -DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON -DCMAKE_DISABLE_FIND_PACKAGE_CLI11=ON)
else()
    message(FATAL_ERROR "unknown step '${STEP}'")
endif()
