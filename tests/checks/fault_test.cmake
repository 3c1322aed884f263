# Included by the tests of the checks. SCRATCH is a folder of their own.

set(licence "// SPDX-License-Identifier: MIT\n// Copyright (c) the Tessera authors\n")

# Runs ${check}.cmake on a tree of one file, or two: a further path and content may follow. `expected` is what the answer
# must match, or PASS.
function(expect expected path content)
  file(REMOVE_RECURSE ${SCRATCH})
  if(ARGC GREATER 3)
    file(WRITE ${SCRATCH}/${ARGV3} "${ARGV4}")
  endif()
  file(WRITE ${SCRATCH}/include/tessera/core/good.hpp "${licence}#pragma once\n")
  file(WRITE ${SCRATCH}/${path} "${content}")
  execute_process(COMMAND ${CMAKE_COMMAND} -DROOT=${SCRATCH} -P ${CMAKE_CURRENT_LIST_DIR}/${check}.cmake
                  RESULT_VARIABLE status OUTPUT_VARIABLE answer ERROR_VARIABLE answer)
  if(expected STREQUAL "PASS")
    if(NOT status EQUAL 0)
      message(SEND_ERROR "${check} refused ${path}:\n${content}\n${answer}")
    endif()
  elseif(status EQUAL 0 OR NOT answer MATCHES "${expected}")
    message(SEND_ERROR "${check} did not say \"${expected}\" to ${path}:\n${content}\n${answer}")
  endif()
endfunction()
