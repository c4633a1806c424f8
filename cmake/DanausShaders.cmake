# Shaders: compiles, validates and embeds what a kernels.json lists, and generates the typed kernel table.
#
#   danaus_add_kernel_table(<target> JSON <kernels.json>
#       [OUTPUT <folder>]        generated files; default ${PROJECT_BINARY_DIR}/generated
#       [INCLUDES <folder>...]   GLSL include folders; default: include/ beside the JSON
#       [NAMESPACE <a::b>]       default danaus::kernels, whose header is danaus/kernels.hpp; any other is a guest of
#                                the library's table: its kernels run through the same runtime
#       [TYPE STATIC|OBJECT])    default STATIC
#
# <target> is a library with that header. <target>_table writes OUTPUT/kernels_table.json for other tools.
include_guard(GLOBAL)
cmake_policy(PUSH)
cmake_policy(VERSION 3.21) # CMP0116: depfiles that glslc writes are understood by Ninja and by Makefiles

find_package(Python3 REQUIRED COMPONENTS Interpreter)
# The interpreter itself instead of a version manager's wrapper, which would run once per kernel.
execute_process(COMMAND "${Python3_EXECUTABLE}" -c "import sys; print(sys.executable)" OUTPUT_VARIABLE danaus_python
    OUTPUT_STRIP_TRAILING_WHITESPACE)
set(DANAUS_PYTHON "${danaus_python}" CACHE INTERNAL "")
find_program(DANAUS_GLSLC glslc HINTS "$ENV{VULKAN_SDK}/bin" DOC "GLSL to SPIR-V compiler (shaderc)")
find_program(DANAUS_SPIRV_VAL spirv-val HINTS "$ENV{VULKAN_SDK}/bin" DOC "SPIR-V validator (SPIRV-Tools)")
# A newer compiler for the modules that the first one lacks the extensions of (`./dev setup` puts one there).
foreach(tool IN ITEMS glslc spirv-val)
    string(TOUPPER "DANAUS_NEWER_${tool}" variable)
    string(REPLACE "-" "_" variable "${variable}")
    if(NOT EXISTS "${${variable}}")
        unset(${variable} CACHE) # what was found once and is gone is looked for again
    endif()
    find_program(${variable} ${tool} PATHS "${CMAKE_CURRENT_LIST_DIR}/../.deps/glsl" NO_DEFAULT_PATH
        DOC "a second ${tool}, for what the first one is too old for")
endforeach()
set(DANAUS_KERNELS_PY "${CMAKE_CURRENT_LIST_DIR}/kernels.py" CACHE INTERNAL "")
set(DANAUS_KERNELS_SCRIPTS "${CMAKE_CURRENT_LIST_DIR}/kernels.py" "${CMAKE_CURRENT_LIST_DIR}/kernels_cpp.py"
    "${CMAKE_CURRENT_LIST_DIR}/kernels_spirv.py" "${CMAKE_CURRENT_LIST_DIR}/kernels_tools.py" CACHE INTERNAL "")
set(DANAUS_ACCESS_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/../runtime/include" CACHE INTERNAL "")

function(danaus_add_kernel_table target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "JSON;OUTPUT;TYPE;NAMESPACE" "INCLUDES")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_JSON)
        message(FATAL_ERROR "danaus_add_kernel_table(${target}): JSON <file> is needed; unknown: '${arg_UNPARSED_ARGUMENTS}'")
    endif()
    if(NOT DANAUS_GLSLC)
        message(FATAL_ERROR "glslc was not found. It comes with shaderc and with the Vulkan SDK: install one of them so "
            "that glslc is on the PATH, or set VULKAN_SDK, or configure with -DDANAUS_GLSLC=<path of glslc>.")
    endif()
    set(validator "")
    if(DANAUS_SPIRV_VAL)
        set(validator "${DANAUS_SPIRV_VAL}")
    else()
        message(WARNING "spirv-val was not found: shaders are compiled but not validated. "
            "It comes with SPIRV-Tools and with the Vulkan SDK; -DDANAUS_SPIRV_VAL=<path> names it.")
    endif()
    set(tools --glslc "${DANAUS_GLSLC}" "--spirv-val=${validator}")
    set(compilers "${DANAUS_GLSLC}")
    if(DANAUS_NEWER_GLSLC)
        set(newer_validator "")
        if(DANAUS_NEWER_SPIRV_VAL)
            set(newer_validator "${DANAUS_NEWER_SPIRV_VAL}")
        endif()
        list(APPEND tools --glslc "${DANAUS_NEWER_GLSLC}" "--spirv-val=${newer_validator}")
        list(APPEND compilers "${DANAUS_NEWER_GLSLC}")
    endif()
    get_filename_component(json "${arg_JSON}" ABSOLUTE)
    get_filename_component(root "${json}" DIRECTORY)
    if(NOT arg_OUTPUT)
        set(arg_OUTPUT "${PROJECT_BINARY_DIR}/generated")
    endif()
    if(NOT arg_INCLUDES)
        set(arg_INCLUDES "${root}/include")
    endif()
    if(NOT arg_TYPE)
        set(arg_TYPE STATIC)
    endif()
    if(NOT arg_NAMESPACE)
        set(arg_NAMESPACE danaus::kernels)
    endif()

    # The table and one specification per binary are written now; a change to them configures again.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${json}" ${DANAUS_KERNELS_SCRIPTS})
    set(run "${DANAUS_PYTHON}" -B "${DANAUS_KERNELS_PY}")
    list(TRANSFORM arg_INCLUDES PREPEND "--include=" OUTPUT_VARIABLE includes)
    execute_process(
        COMMAND ${run} plan --json "${json}" --out "${arg_OUTPUT}" ${tools}
                --namespace ${arg_NAMESPACE} ${includes}
        RESULT_VARIABLE failed OUTPUT_VARIABLE summary ERROR_VARIABLE problem OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(failed)
        message(FATAL_ERROR "${problem}")
    endif()
    string(REPLACE "\n" ";" summary "${summary}")
    foreach(line IN LISTS summary)
        message(STATUS "${line}")
    endforeach()
    include("${arg_OUTPUT}/shaders/plan.cmake")

    file(MAKE_DIRECTORY "${arg_OUTPUT}/shaders/spirv")
    set(sources "")
    set(reports "")
    foreach(stem IN LISTS danaus_kernel_stems)
        set(base "${arg_OUTPUT}/shaders/spirv/${stem}")
        set(spec "${arg_OUTPUT}/shaders/spec/${stem}.json")
        add_custom_command(
            OUTPUT "${base}.spv" "${base}.cpp" "${base}.json"
            COMMAND ${run} compile "${spec}" --out "${base}"
            DEPENDS "${spec}" ${compilers} ${DANAUS_KERNELS_SCRIPTS}
            DEPFILE "${base}.d"
            COMMENT "Compiling kernel ${stem}"
            VERBATIM)
        list(APPEND sources "${base}.cpp")
        list(APPEND reports "${base}.json")
    endforeach()

    add_library(${target} ${arg_TYPE} "${arg_OUTPUT}/shaders/kernels.cpp" ${sources})
    target_compile_features(${target} PUBLIC cxx_std_20)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
        VISIBILITY_INLINES_HIDDEN ON)
    target_include_directories(${target}
        PUBLIC "$<BUILD_INTERFACE:${arg_OUTPUT}>" "$<BUILD_INTERFACE:${DANAUS_ACCESS_INCLUDE}>"
        PRIVATE "${arg_OUTPUT}/shaders")

    add_custom_command(
        OUTPUT "${arg_OUTPUT}/kernels_table.json"
        COMMAND ${run} list --absent "${arg_OUTPUT}/shaders/absent.json" --out "${arg_OUTPUT}/kernels_table.json" ${reports}
        DEPENDS ${reports} "${arg_OUTPUT}/shaders/absent.json" ${DANAUS_KERNELS_SCRIPTS}
        COMMENT "Writing kernels_table.json"
        VERBATIM)
    add_custom_target(${target}_table ALL DEPENDS "${arg_OUTPUT}/kernels_table.json")
    add_dependencies(${target}_table ${target}) # one compiles the shaders, the other waits: Makefiles would do it twice
endfunction()

cmake_policy(POP)
