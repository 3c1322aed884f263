# cmake -DPYTHON=<python3> -DROOT=<source tree> -DSCRATCH=<folder> -P report_test.cmake
#
# benchmarks/report.py on the results in tests/benchmarks/report/: the tables, a page rewritten, and what is refused.

include(${CMAKE_CURRENT_LIST_DIR}/../support/skip.cmake)
if(NOT PYTHON)
  skip("there is no python3")
endif()
set(folder ${ROOT}/tests/benchmarks/report)
set(files ${folder}/networks.json ${folder}/others.json ${folder}/training.json ${folder}/spconv.json)
file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH})

# report(<arguments>...): runs it; sets status, output and error.
function(report)
  execute_process(COMMAND ${PYTHON} ${ROOT}/benchmarks/report.py --peers ${folder}/peers.json ${ARGN}
                  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE error)
  set(status ${status} PARENT_SCOPE)
  set(output "${output}" PARENT_SCOPE)
  set(error "${error}" PARENT_SCOPE)
endfunction()

# refuses(<sentence> <arguments>...)
function(refuses sentence)
  report(${ARGN})
  string(FIND "${error}" "${sentence}" place)
  if(status EQUAL 0 OR place EQUAL -1)
    message(FATAL_ERROR "report.py ${ARGN}: '${sentence}' was expected, it ended with ${status}: ${error}")
  endif()
endfunction()

report(--same-run ${files})
file(READ ${folder}/expected.md expected)
if(NOT status EQUAL 0 OR NOT output STREQUAL expected)
  file(WRITE ${SCRATCH}/found.md "${output}")
  message(FATAL_ERROR "report.py ended with ${status}: ${error}\nit wrote ${SCRATCH}/found.md, not ${folder}/expected.md")
endif()

# What spconv's file says counts as measured elsewhere unless it is said not to: the smallest of all is shown.
report(${files})
if(NOT output MATCHES "\\| 1\\.50† \\(1\\.2x\\) \\|" OR NOT output MATCHES "\\| 0\\.200† \\(5\\.0x\\) \\|")
  message(FATAL_ERROR "report.py without --same-run: figures of spconv lack the mark:\n${output}")
endif()

# A page: what is between the markers is replaced, however often.
file(COPY ${folder}/page.md DESTINATION ${SCRATCH})
foreach(time first second)
  report(--same-run --docs ${SCRATCH}/page.md ${files})
  file(READ ${SCRATCH}/page.md ${time})
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "report.py --docs ended with ${status}: ${error}")
  endif()
endforeach()
if(NOT first STREQUAL second OR first MATCHES "What was here" OR NOT first MATCHES "^# A page\n\nBefore\\.\n"
   OR NOT first MATCHES "After\\.\n$" OR NOT first MATCHES "### Layers\n")
  message(FATAL_ERROR "report.py --docs wrote\n${first}\nand then\n${second}")
endif()
if(error MATCHES "no matplotlib")
  if(first MATCHES "!\\[")
    message(FATAL_ERROR "report.py --docs: no plots, but links to them:\n${first}")
  endif()
elseif(NOT EXISTS ${SCRATCH}/page_networks.svg OR NOT EXISTS ${SCRATCH}/page_layers.svg
       OR NOT first MATCHES "!\\[Layers\\]\\(page_layers\\.svg\\)")
  message(FATAL_ERROR "report.py --docs: plots or links to them are missing:\n${first}")
endif()

file(WRITE ${SCRATCH}/bare.md "# No markers\n")
refuses("lacks the lines" --docs ${SCRATCH}/bare.md ${files})
file(WRITE ${SCRATCH}/broken.json "{")
refuses("broken.json" ${SCRATCH}/broken.json)
refuses("neither results" ${folder}/peers.json)
refuses("no results of a benchmark program" ${folder}/spconv.json)
file(READ ${folder}/spconv.json spconv)
string(REPLACE "H100" "A100" spconv "${spconv}")
file(WRITE ${SCRATCH}/elsewhere.json "${spconv}")
refuses("not in the same run" --same-run ${folder}/networks.json ${SCRATCH}/elsewhere.json)
message("report.py: the tables are those expected")
