# embed_file(<target> <symbol> <file>...): the bytes of the files, joined, become
#   extern const char <symbol>[];         (NUL-terminated beyond the end)
#   extern const long long <symbol>_len;  (without the NUL)
# in <target>. The caller declares what it uses. Run again when a file changes.
set(embed_file_script ${CMAKE_CURRENT_LIST_FILE})

function(embed_file target symbol)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/embed_${symbol}.c)
    set(files)
    foreach(file ${ARGN})
        get_filename_component(file ${file} ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
        list(APPEND files ${file})
    endforeach()
    string(REPLACE ";" "|" joined "${files}")
    add_custom_command(OUTPUT ${out}
        COMMAND ${CMAKE_COMMAND} -Dsymbol=${symbol} -Dfiles=${joined} -Dout=${out} -P ${embed_file_script}
        DEPENDS ${files} ${embed_file_script}
        COMMENT "Embedding ${symbol}"
        VERBATIM)
    target_sources(${target} PRIVATE ${out})
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
    string(REPLACE "|" ";" files "${files}")
    set(bytes "")
    foreach(file ${files})
        file(READ ${file} hex HEX)
        string(APPEND bytes "${hex}")
    endforeach()
    string(LENGTH "${bytes}" length)
    math(EXPR length "${length} / 2")
    # Character constants keep their sign, so that no compiler warns about bytes above 127.
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
    string(REGEX REPLACE "(('[^']*',)('[^']*',)('[^']*',)('[^']*',)('[^']*',)('[^']*',)('[^']*',)('[^']*',))"
        "\\1\n" bytes "${bytes}")
    file(WRITE ${out} "extern const char ${symbol}[];\nextern const long long ${symbol}_len;\n"
        "const char ${symbol}[] = {\n${bytes}0};\nconst long long ${symbol}_len = ${length};\n")
endif()
