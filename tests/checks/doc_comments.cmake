# cmake -DROOT=<source tree> -P doc_comments.cmake
#
# The parts of a doc comment that a formatter or a hasty edit breaks: a row of a table is one line, from `|` to `|`;
# `@throws` is followed by a type; `Cost:`, `Stream:` and `Determinism:` begin a line of their own, each.

file(GLOB_RECURSE headers ${ROOT}/include/*.hpp ${ROOT}/include/*.cuh)
set(faults "")
macro(fault text line)
  string(STRIP "${line}" stripped)
  string(APPEND faults "  ${name}: ${text}: ${stripped}\n")
endmacro()

foreach(file IN LISTS headers)
  file(RELATIVE_PATH name ${ROOT} ${file})
  file(READ ${file} text)
  # Brackets and semicolons have a meaning in CMake's lists.
  string(REPLACE "[" "{" text "${text}")
  string(REPLACE "]" "}" text "${text}")
  string(REPLACE ";" "," text "${text}")

  string(REGEX MATCHALL "\n[ \t]*///[ \t]*\\|[^\n]*[^|\n]\n" rows "\n${text}\n")
  foreach(row IN LISTS rows)
    fault("a row of a table ends with |" "${row}")
  endforeach()
  string(REGEX MATCHALL "\n[ \t]*///[ \t]*[^| \t\n][^\n]*\\|\n" rows "\n${text}\n")
  foreach(row IN LISTS rows)
    fault("a row of a table begins with |" "${row}")
  endforeach()

  string(REGEX MATCHALL "@throws[^\n]*" throws "${text}")
  foreach(throw IN LISTS throws)
    if(NOT throw MATCHES "^@throws +(invalid_argument|cuda_error|std::[a-z_]+)")
      fault("@throws is followed by a type" "${throw}")
    endif()
  endforeach()

  string(REGEX MATCHALL "\n[ \t]*///[^\n]*(Cost|Stream|Determinism): [^\n]*" fields "\n${text}")
  foreach(field IN LISTS fields)
    string(STRIP "${field}" field)
    string(REGEX REPLACE "^/// *(Cost|Stream|Determinism|Errors)[a-z, ]*: " "" rest "${field}")
    if(NOT rest MATCHES "^/// *\\|" AND rest MATCHES "(Cost|Stream|Determinism): ")
      fault("${CMAKE_MATCH_1}: begins a line of its own" "${field}")
    endif()
  endforeach()
endforeach()

list(LENGTH headers count)
if(faults OR count EQUAL 0)
  message(FATAL_ERROR "doc_comments: ${count} headers read\n${faults}")
endif()
message("doc_comments: ${count} headers read")
