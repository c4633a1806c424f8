# Installs the library, its headers, danaus-info, tuning tables, and what find_package(danaus) and pkg-config read.
# The prefix may be moved afterwards: nothing that is installed names it.
option(DANAUS_INSTALL "Make install rules" ${PROJECT_IS_TOP_LEVEL})
if(NOT DANAUS_INSTALL)
    return()
endif()
include(CMakePackageConfigHelpers)

install(TARGETS danaus EXPORT danaus-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET danaus-info)
    if(APPLE)
        set_target_properties(danaus-info PROPERTIES INSTALL_RPATH "@loader_path/../${CMAKE_INSTALL_LIBDIR}")
    else()
        set_target_properties(danaus-info PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
    endif()
    install(TARGETS danaus-info RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/api/include/ ${PROJECT_SOURCE_DIR}/runtime/include/
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(FILES ${PROJECT_BINARY_DIR}/generated/danaus/kernels.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/danaus)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/tuning DESTINATION ${CMAKE_INSTALL_DATADIR}/danaus
    FILES_MATCHING PATTERN "*.json")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(danaus_package ${CMAKE_INSTALL_LIBDIR}/cmake/danaus)
install(EXPORT danaus-targets NAMESPACE danaus:: DESTINATION ${danaus_package})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/danausConfig.cmake.in
    ${PROJECT_BINARY_DIR}/generated/danausConfig.cmake INSTALL_DESTINATION ${danaus_package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/generated/danausConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/generated/danausConfig.cmake
    ${PROJECT_BINARY_DIR}/generated/danausConfigVersion.cmake DESTINATION ${danaus_package})

# From the folder of danaus.pc to the prefix, unless the folders were configured as absolute ones.
set(danaus_pc_folder ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
foreach(folder IN ITEMS LIBDIR INCLUDEDIR)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${folder}}")
        set(danaus_pc_${folder} "${CMAKE_INSTALL_${folder}}")
    else()
        set(danaus_pc_${folder} "\${prefix}/${CMAKE_INSTALL_${folder}}")
    endif()
endforeach()
if(IS_ABSOLUTE "${danaus_pc_folder}")
    set(danaus_pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
    file(RELATIVE_PATH danaus_pc_up "/prefix/${danaus_pc_folder}" "/prefix")
    string(REGEX REPLACE "/$" "" danaus_pc_up "${danaus_pc_up}")
    set(danaus_pc_prefix "\${pcfiledir}/${danaus_pc_up}")
endif()
# A static library hands on what it needs itself; a shared one's users must know that it is one.
get_target_property(danaus_pc_type danaus TYPE)
set(danaus_pc_libs "")
set(danaus_pc_cflags "")
if(danaus_pc_type STREQUAL STATIC_LIBRARY)
    set(danaus_pc_libs " -pthread")
    if(CMAKE_DL_LIBS)
        string(APPEND danaus_pc_libs " -l${CMAKE_DL_LIBS}")
    endif()
else()
    set(danaus_pc_cflags " -DDANAUS_SHARED")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/danaus.pc.in ${PROJECT_BINARY_DIR}/generated/danaus.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/generated/danaus.pc DESTINATION ${danaus_pc_folder})
