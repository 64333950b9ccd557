# Run at build time: writes version.c, and only when it changed, so that one file recompiles.
# cmake -DSOURCE_DIR=… -DOUT=… -DNUMBER=… -DBUILD=… -P WriteVersion.cmake
set(commit unknown)
find_package(Git QUIET)
if(GIT_FOUND)
    execute_process(COMMAND ${GIT_EXECUTABLE} rev-parse --short=12 HEAD
        WORKING_DIRECTORY ${SOURCE_DIR} OUTPUT_VARIABLE head RESULT_VARIABLE rc
        OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(rc EQUAL 0)
        set(commit ${head})
        execute_process(COMMAND ${GIT_EXECUTABLE} diff-index --quiet HEAD --
            WORKING_DIRECTORY ${SOURCE_DIR} RESULT_VARIABLE changed ERROR_QUIET)
        if(NOT changed EQUAL 0)
            string(APPEND commit "+")
        endif()
    endif()
endif()
file(CONFIGURE OUTPUT ${OUT}.new @ONLY CONTENT [[#include "core/version.h"

const char version_number[] = "@NUMBER@";
const char version_commit[] = "@commit@";
const char version_build[] = "@BUILD@";
]])
execute_process(COMMAND ${CMAKE_COMMAND} -E copy_if_different ${OUT}.new ${OUT})
file(REMOVE ${OUT}.new)
