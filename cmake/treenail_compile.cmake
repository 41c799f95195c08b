# treenail_compile(TARGET name MODEL file [SHARED] [SYMBOL prefix]
#                  [OPTIONS option...])
#
# Compiles a model when the project is built, and again when the model or the
# compiler changes. Makes a target to link: a static library, or with SHARED a
# shared one. The header is <name.h>; names in it start with the prefix, which
# is the target's name when none is given. Options go to `treenail compile`.
#
#     find_package(treenail REQUIRED)
#     treenail_compile(TARGET credit MODEL credit.tn)
#     target_link_libraries(product PRIVATE credit)   # #include "credit.h"
function(treenail_compile)
    cmake_parse_arguments(PARSE_ARGV 0 ARG "SHARED" "TARGET;MODEL;SYMBOL"
                          "OPTIONS")
    foreach(needed TARGET MODEL)
        if(NOT ARG_${needed})
            message(FATAL_ERROR "treenail_compile: ${needed} is missing")
        endif()
    endforeach()
    if(ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "treenail_compile: there is no argument "
                            "\"${ARG_UNPARSED_ARGUMENTS}\"")
    endif()
    if(NOT ARG_SYMBOL)
        set(ARG_SYMBOL ${ARG_TARGET})
    endif()
    if(ARG_SHARED)
        set(kind so)
        set(type SHARED)
    else()
        set(kind a)
        set(type STATIC)
    endif()
    # Projects that are compiled for another machine want its code.
    if(CMAKE_CROSSCOMPILING AND CMAKE_SYSTEM_PROCESSOR MATCHES
       "^(aarch64|arm64)$")
        list(PREPEND ARG_OPTIONS --target aarch64-linux-gnu)
    elseif(CMAKE_CROSSCOMPILING AND CMAKE_SYSTEM_PROCESSOR STREQUAL riscv64)
        list(PREPEND ARG_OPTIONS --target riscv64-linux-gnu)
    endif()

    get_filename_component(model "${ARG_MODEL}" ABSOLUTE)
    set(folder "${CMAKE_CURRENT_BINARY_DIR}/${ARG_TARGET}.treenail")
    set(library "${folder}/${ARG_TARGET}.${kind}")
    set(header "${folder}/${ARG_TARGET}.h")
    file(MAKE_DIRECTORY "${folder}")
    add_custom_command(OUTPUT "${library}" "${header}"
        COMMAND treenail::treenail compile "${model}" -o "${library}"
                --name ${ARG_SYMBOL} ${ARG_OPTIONS}
        DEPENDS "${model}" treenail::treenail
        COMMENT "Compiling the model ${ARG_TARGET}"
        VERBATIM)
    add_custom_target(${ARG_TARGET}_model DEPENDS "${library}" "${header}")
    add_library(${ARG_TARGET} ${type} IMPORTED GLOBAL)
    add_dependencies(${ARG_TARGET} ${ARG_TARGET}_model)
    set_target_properties(${ARG_TARGET} PROPERTIES
        IMPORTED_LOCATION "${library}"
        IMPORTED_SONAME "${ARG_TARGET}.${kind}"
        INTERFACE_INCLUDE_DIRECTORIES "${folder}")
endfunction()
