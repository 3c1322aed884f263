# cmake -DROOT=<source tree> -P references.cmake
#
# What README.md and docs/ point at exists: the targets of links, the files named in `backquotes` (a header by its path
# below include/tessera/ too, an internal one by that below the folder of its stage's internal headers), and the tests. A test is named by its file and the beginning of its title,
#
#   `tests/kmap/kernel_map_test.cpp`: "kernel map: equals"
#
# and every row of the tables in docs/compatibility.md names at least one, or an example, which is a test too.
# docs/reliability.md says how many faults tests/mutants/mutants.txt lists.

file(GLOB pages RELATIVE ${ROOT} ${ROOT}/README.md ${ROOT}/docs/*.md)
set(faults "")
set(count 0)
# How many faults are planted is a number on a page, too.
if(EXISTS ${ROOT}/tests/mutants/mutants.txt AND EXISTS ${ROOT}/docs/reliability.md)
  file(STRINGS ${ROOT}/tests/mutants/mutants.txt mutants REGEX "^= ")
  list(LENGTH mutants listed)
  file(READ ${ROOT}/docs/reliability.md text)
  if(NOT text MATCHES "(^|\n)- ${listed} faults are listed")
    string(APPEND faults "  docs/reliability.md: tests/mutants/mutants.txt lists ${listed} faults, which the page does not say\n")
  endif()
endif()
foreach(page IN LISTS pages)
  file(READ ${ROOT}/${page} text)
  # Brackets and semicolons have a meaning in CMake's lists.
  string(REPLACE "[" "{" text "${text}")
  string(REPLACE "]" "}" text "${text}")
  string(REPLACE ";" "," text "${text}")
  get_filename_component(folder ${ROOT}/${page} DIRECTORY)

  string(REGEX MATCHALL "}\\([^)\n]+\\)" links "${text}")
  foreach(link IN LISTS links)
    string(REGEX REPLACE "^}\\(([^)#]*).*$" "\\1" target "${link}")
    math(EXPR count "${count} + 1")
    if(NOT target MATCHES "^https?://" AND NOT EXISTS "${folder}/${target}")
      string(APPEND faults "  ${page}: the link to ${target} leads nowhere\n")
    endif()
  endforeach()

  string(REGEX MATCHALL "`[a-z_]+/[A-Za-z0-9_./]+`" paths "${text}")
  foreach(path IN LISTS paths)
    string(REPLACE "`" "" path "${path}")
    math(EXPR count "${count} + 1")
    file(GLOB internal ${ROOT}/include/tessera/*/detail/${path})
    if(NOT path MATCHES "^build/" AND NOT EXISTS ${ROOT}/${path} AND NOT EXISTS ${ROOT}/include/${path}
       AND NOT EXISTS ${ROOT}/include/tessera/${path} AND NOT internal)
      string(APPEND faults "  ${page}: there is no ${path}\n")
    endif()
  endforeach()

  string(REGEX MATCHALL "`tests/[^`\n]+`: \"[^\"\n]+\"" tests "${text}")
  foreach(test IN LISTS tests)
    string(REGEX REPLACE "^`([^`]+)`: \"(.*)\"$" "\\1" file "${test}")
    string(REGEX REPLACE "^`([^`]+)`: \"(.*)\"$" "\\2" title "${test}")
    if(EXISTS ${ROOT}/${file})
      file(READ ${ROOT}/${file} source)
      string(REPLACE "[" "{" source "${source}")
      string(REPLACE "]" "}" source "${source}")
      string(REPLACE ";" "," source "${source}")
      string(REGEX REPLACE "\"[ \n]+\"" "" source "${source}")  # a title may be broken into several literals
      string(FIND "${source}" "\"${title}" place)
      if(place EQUAL -1)
        string(APPEND faults "  ${page}: ${file} has no test \"${title}\"\n")
      endif()
    endif()
  endforeach()

  if(page STREQUAL "docs/compatibility.md")
    string(REGEX MATCHALL "\n\\|[^\n]*" rows "${text}")
    foreach(row IN LISTS rows)
      if(NOT row MATCHES "`tests/[^`]+`: \"|`examples/" AND NOT row MATCHES "^\n\\|[-| ]+$" AND NOT row MATCHES "\\| test \\|")
        string(SUBSTRING "${row}" 1 60 row)
        string(APPEND faults "  ${page}: no test in the row ${row}...\n")
      endif()
    endforeach()
  endif()
endforeach()

if(faults)
  message(FATAL_ERROR "references: ${count} links and paths read\n${faults}")
endif()
message("references: ${count} links and paths read")
