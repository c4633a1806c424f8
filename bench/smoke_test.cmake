# Runs danaus-bench on its smallest multiply and looks at what it leaves.
cmake_minimum_required(VERSION 3.25)

set(name "matmul/f32/64x64x64")
set(json "${FOLDER}/smoke.json")
file(REMOVE "${json}")
execute_process(COMMAND ${RUNNER} "${BENCH}" --filter "^${name}$" --json "${json}" --min-time 0 --repetitions 2
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
message("${output}")
if(NOT status EQUAL 0)
    message(FATAL_ERROR "exit status ${status}")
endif()

# A missing key or a wrong type ends the script.
file(READ "${json}" text)
string(JSON schema GET "${text}" schema)
string(JSON count LENGTH "${text}" cases)
string(JSON case GET "${text}" cases 0)
string(JSON found GET "${case}" name)
if(NOT schema EQUAL 2 OR NOT count EQUAL 1 OR NOT found STREQUAL name)
    message(FATAL_ERROR "schema ${schema}, ${count} cases, the first is ${found}")
endif()
foreach(key IN ITEMS date git device driver api_version access subgroup_size cpu openblas rates)
    string(JSON unused TYPE "${text}" ${key})
endforeach()
foreach(key IN ITEMS shape tags dtype regime timing bytes multiply_adds of_copy of_peak openblas)
    string(JSON unused TYPE "${case}" ${key})
endforeach()
foreach(key IN ITEMS median min max)
    string(JSON value GET "${case}" ns ${key})
    if(NOT value GREATER 0)
        message(FATAL_ERROR "ns.${key} is ${value}")
    endif()
endforeach()

# One case is a point under the roofs; the other plots say what they miss.
execute_process(COMMAND "${PYTHON}" -B "${CMAKE_CURRENT_LIST_DIR}/plot.py" "${json}" "${FOLDER}/plots"
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
find_program(gnuplot gnuplot)
if(NOT status EQUAL 0
   OR (gnuplot AND NOT (EXISTS "${FOLDER}/plots/roofline.svg" AND output MATCHES "speedup.svg: the run has none"))
   OR (NOT gnuplot AND NOT output MATCHES "gnuplot is not installed"))
    message(FATAL_ERROR "plot.py: exit status ${status}\n${output}")
endif()

foreach(mode IN ITEMS submit dispatch)
    execute_process(COMMAND ${RUNNER} "${BENCH}" --filter "^${name}$" --json "${json}" --timing ${mode} --min-time 0
                            --repetitions 1
        OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
    file(READ "${json}" text)
    string(JSON timing GET "${text}" cases 0 timing)
    if(NOT status EQUAL 0 OR NOT timing STREQUAL mode)
        message(FATAL_ERROR "--timing ${mode}: exit status ${status}, timing ${timing}\n${output}")
    endif()
endforeach()

# What is known of kernels depends on the driver; which kernels there are does not.
execute_process(COMMAND ${RUNNER} "${BENCH}" --kernels --filter "^${name}$" --json "${json}" --isa "${FOLDER}/isa"
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
file(READ "${json}" text)
string(JSON access GET "${text}" access)
string(JSON module GET "${text}" kernels ${access} 0 module)
string(JSON found GET "${text}" kernels ${access} 0 cases 0 name)
if(NOT status EQUAL 0 OR NOT module STREQUAL "matmul_direct_dense" OR NOT found STREQUAL name)
    message(FATAL_ERROR "--kernels: exit status ${status}, ${module} used by ${found}\n${output}")
endif()

# A table is made, gone on with, and used; a damaged one is not.
set(table "${FOLDER}/tuning.json")
file(REMOVE "${table}")
foreach(turn IN ITEMS "ratio +[0-9.]+ +[0-9]+ ways" "not measured: the table in use knows it")
    execute_process(COMMAND ${RUNNER} "${BENCH}" tune --filter "^${name}$" --table "${table}"
        OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
    file(READ "${table}" text)
    string(JSON count LENGTH "${text}" problems)
    if(NOT status EQUAL 0 OR NOT count EQUAL 1 OR NOT output MATCHES "${turn}")
        message(FATAL_ERROR "tune: exit status ${status}, ${count} problems\n${output}")
    endif()
endforeach()
execute_process(COMMAND ${RUNNER} "${BENCH}" --filter "^${name}$" --json "${json}" --tuning "${table}" --min-time 0
                        --repetitions 1
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
file(READ "${json}" text)
string(JSON used GET "${text}" options tuning)
if(NOT status EQUAL 0 OR NOT used STREQUAL table)
    message(FATAL_ERROR "--tuning: exit status ${status}, '${used}'\n${output}")
endif()
execute_process(COMMAND ${RUNNER} "${BENCH}" --filter "^${name}$" --tuning "${json}"
    OUTPUT_VARIABLE output ERROR_VARIABLE error RESULT_VARIABLE status)
if(status EQUAL 0 OR NOT error MATCHES "^danaus-bench: tuning table [^\n]* cannot be used: [^\n]*\n$")
    message(FATAL_ERROR "--tuning of another file: exit status ${status}, '${error}'")
endif()

# What cannot be done is said in one line.
execute_process(COMMAND ${RUNNER} "${BENCH}" --filter nothing_of_this_name
    OUTPUT_VARIABLE output ERROR_VARIABLE error RESULT_VARIABLE status)
if(status EQUAL 0 OR NOT error MATCHES "^danaus-bench: --filter: no case matches[^\n]*\n$")
    message(FATAL_ERROR "a filter without cases: exit status ${status}, '${error}'")
endif()
execute_process(COMMAND ${RUNNER} "${BENCH}" --suite nothing_of_this_name --list
    OUTPUT_VARIABLE output ERROR_VARIABLE error RESULT_VARIABLE status)
if(status EQUAL 0 OR NOT error MATCHES "^danaus-bench: --suite: no case has[^\n]*there are[^\n]*quick[^\n]*\n$")
    message(FATAL_ERROR "a suite that does not exist: exit status ${status}, '${error}'")
endif()
