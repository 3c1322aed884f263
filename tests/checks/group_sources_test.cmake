# cmake -DSCRATCH=<folder> -P group_sources_test.cmake
#
# Sources that are compiled several to a unit (tests/support/group_sources.cmake) are all there, each with names, macros
# and definitions of its own.

file(REMOVE_RECURSE ${SCRATCH})
foreach(name a b c d e f)
  file(WRITE ${SCRATCH}/${name}_test.cpp "#include \"names.hpp\"\n#ifdef NEVER\n#include <nowhere>\n#endif\n"
       "namespace {\nstruct Own { char const* name = \"${name}\"; };\nbool const known = note(Own{}.name);\n}\n")
endforeach()
file(APPEND ${SCRATCH}/c_test.cpp "#define known 1 +\n")
file(APPEND ${SCRATCH}/d_test.cpp "namespace names {\nint found_by_headers();\n}\n")
file(APPEND ${SCRATCH}/e_test.cpp "static_assert(ONLY_E == 5);\n")
file(WRITE ${SCRATCH}/names.hpp "#pragma once\n#include <iostream>\ninline bool note(char const* name) { std::cout << name; return true; }\n")
file(WRITE ${SCRATCH}/CMakeLists.txt "cmake_minimum_required(VERSION 3.22)
project(grouped LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 17)
include(${CMAKE_CURRENT_LIST_DIR}/../support/group_sources.cmake)
set_source_files_properties(e_test.cpp PROPERTIES COMPILE_DEFINITIONS ONLY_E=5)
set_source_files_properties(f_test.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
tessera_group_sources(units grouped 4 a_test.cpp b_test.cpp c_test.cpp d_test.cpp e_test.cpp f_test.cpp)
list(LENGTH units count)
message(\"units: \${count}\")
file(WRITE main.cpp \"int main() {}\")
add_executable(grouped main.cpp \${units})
")

set(build ${SCRATCH}/build)
execute_process(COMMAND ${CMAKE_COMMAND} -S ${SCRATCH} -B ${build} OUTPUT_QUIET ERROR_VARIABLE said RESULT_VARIABLE status)
if(status OR NOT said MATCHES "units: 5")  # c to f by themselves, a with b
  message(FATAL_ERROR "expected five units, got ${said}")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --build ${build} OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE status)
if(status)
  message(FATAL_ERROR "the units do not compile:\n${said}")
endif()
execute_process(COMMAND ${build}/grouped OUTPUT_VARIABLE said)
foreach(name a b c d e f)
  if(NOT said MATCHES ${name})
    message(SEND_ERROR "${name}_test.cpp is not in the program, which says ${said}")
  endif()
endforeach()
