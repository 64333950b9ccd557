# One way to build a folder, and the record of who uses whom (lint.includes reads it).
add_library(build_flags INTERFACE)
target_compile_features(build_flags INTERFACE c_std_17)
target_compile_definitions(build_flags INTERFACE _POSIX_C_SOURCE=200809L)
target_include_directories(build_flags INTERFACE ${PROJECT_SOURCE_DIR})
set(c_warnings -Wall -Wextra -Wpedantic -Wshadow -Wundef -Wvla -Wformat=2 -Wcast-qual
    -Wwrite-strings -Wdouble-promotion -Wimplicit-fallthrough -Wstrict-prototypes
    -Wmissing-prototypes -Wold-style-definition -Wconversion -Wno-sign-conversion
    -Wno-missing-field-initializers)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    list(APPEND c_warnings -Wlogical-op -Wduplicated-cond -Wduplicated-branches)
endif()
target_compile_options(build_flags INTERFACE
    $<$<COMPILE_LANGUAGE:C>:-ffp-contract=off;-fno-math-errno;${c_warnings}>
    $<$<AND:$<COMPILE_LANGUAGE:C>,$<NOT:$<CONFIG:Debug>>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2;-fstack-protector-strong>)

# module(<name> SOURCES … HEADERS … USES <modules> EXTERNAL <libraries>)
function(module name)
    cmake_parse_arguments(M "" "" "SOURCES;HEADERS;USES;EXTERNAL" ${ARGN})
    add_library(${name} STATIC ${M_SOURCES})
    target_sources(${name} PUBLIC FILE_SET HEADERS
        BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${M_HEADERS})
    target_link_libraries(${name} PUBLIC ${M_USES} PRIVATE build_flags ${M_EXTERNAL})
    string(REPLACE ";" " " uses "${M_USES}")
    set_property(GLOBAL APPEND PROPERTY module_uses "${name}: ${uses}")
endfunction()
