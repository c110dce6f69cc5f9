# SPDX-License-Identifier: Apache-2.0
# What every interface package of this folder shares.

# ROS 2 from pip wheels lives in the prefix of the Python environment; a sourced ROS 2 is found by itself.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
execute_process(
  COMMAND "${Python3_EXECUTABLE}" -c "import sys; print(sys.prefix, end='')"
  OUTPUT_VARIABLE python_prefix COMMAND_ERROR_IS_FATAL ANY)
if(EXISTS "${python_prefix}/share/rosidl_cmake")
  list(APPEND CMAKE_PREFIX_PATH "${python_prefix}")
  set(ENV{AMENT_PREFIX_PATH} "$ENV{AMENT_PREFIX_PATH}:${python_prefix}")
endif()

find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)

# Generates what lies in msg/, srv/ and action/; the arguments are the packages that it needs.
macro(generate_interfaces)
  foreach(dependency ${ARGN})
    find_package(${dependency} REQUIRED)
  endforeach()
  list(FILTER AMENT_EXTENSIONS_rosidl_generate_idl_interfaces EXCLUDE REGEX "_cpp:")   # nobody uses C++
  file(GLOB interfaces RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" CONFIGURE_DEPENDS msg/*.msg srv/*.srv action/*.action)
  rosidl_generate_interfaces(${PROJECT_NAME} ${interfaces} DEPENDENCIES ${ARGN})

  # The wheels' exported targets name include directories of the machine that built them; CMake refuses those.
  get_property(imported_targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS imported_targets)
    get_target_property(include_directories "${target}" INTERFACE_INCLUDE_DIRECTORIES)
    if(include_directories MATCHES "/opt/python/")
      list(FILTER include_directories EXCLUDE REGEX "^/opt/python/")
      set_target_properties("${target}" PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${include_directories}")
    endif()
  endforeach()
  ament_package()
endmacro()
