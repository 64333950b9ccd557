# The program prints its own manual and completion; the build keeps them beside it, install takes them.
# Cross builds have no program to run: they go without.
function(man_pages program)
    if(CMAKE_CROSSCOMPILING)
        return()
    endif()
    set(out ${PROJECT_BINARY_DIR}/share)
    add_custom_command(TARGET ${program} POST_BUILD
        COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:${program}> -DOUT=${out}
            -P ${PROJECT_SOURCE_DIR}/cmake/WriteManPages.cmake
        COMMENT "Man pages and completion" VERBATIM)
    install(DIRECTORY ${out}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR})
    install(DIRECTORY ${out}/completions/
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
endfunction()
