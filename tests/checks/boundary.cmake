# cmake -DROOT=<source tree> -P boundary.cmake
#
# What users read and copy names nothing of `detail`: no example, no page, not the README. The changelog may say what
# left it, and docs/contributing.md is for those who change the library.

file(GLOB_RECURSE files ${ROOT}/examples/* ${ROOT}/docs/*.md ${ROOT}/README.md)
list(FILTER files EXCLUDE REGEX "/docs/(contributing|changelog)\\.md$")
set(faults "")
foreach(file IN LISTS files)
  file(RELATIVE_PATH name ${ROOT} ${file})
  file(STRINGS ${file} lines REGEX "detail(/|::)|namespace[ \t]+detail")
  foreach(line IN LISTS lines)
    string(STRIP "${line}" line)
    string(APPEND faults "  ${name}: ${line}\n")
  endforeach()
endforeach()

list(LENGTH files count)
if(faults OR count EQUAL 0)
  message(FATAL_ERROR "boundary: ${count} files read; detail is not for users, but named in\n${faults}")
endif()
message("boundary: ${count} files read")
