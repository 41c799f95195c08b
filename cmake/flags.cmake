# Warnings are errors; products of a * b + c are never contracted, because the
# interpreter's every rounding is part of its definition. GCC 12 makes a plain
# copy of two neighbours that are rounded to float and back, when it vectorises
# straight-line code: so it may not.
add_library(treenail_flags INTERFACE)
target_compile_options(treenail_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wno-sign-compare -Werror
    -ffp-contract=off -fno-math-errno -fvisibility=hidden
    $<$<C_COMPILER_ID:GNU>:-fno-tree-slp-vectorize>)
target_compile_definitions(treenail_flags INTERFACE _GNU_SOURCE)
target_include_directories(treenail_flags INTERFACE ${PROJECT_SOURCE_DIR})

if(TREENAIL_SANITIZE)
    add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all
                        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=address,undefined)
    target_compile_definitions(treenail_flags INTERFACE IR_ARENA_MALLOC)
endif()
if(TREENAIL_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# A layer: a static library whose sources see only the tree's root.
function(treenail_layer name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
    add_library(treenail_${name} STATIC ${ARG_SOURCES})
    set_target_properties(treenail_${name} PROPERTIES
        POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(treenail_${name} PRIVATE treenail_flags
                          PUBLIC ${ARG_LINKS})
endfunction()
