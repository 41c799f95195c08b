# The libraries that test_runtime loads: a good one, and those to refuse.
set(fake_dir ${CMAKE_CURRENT_BINARY_DIR}/fake)
function(treenail_fake variant)
    add_library(fake_${variant} MODULE fake_library.c)
    target_link_libraries(fake_${variant} PRIVATE treenail_flags)
    target_compile_definitions(fake_${variant} PRIVATE ${ARGN})
    set_target_properties(fake_${variant} PROPERTIES
        LIBRARY_OUTPUT_DIRECTORY ${fake_dir})
endfunction()
treenail_fake(good)
treenail_fake(abi FAKE_ABI_VERSION=99)
treenail_fake(size FAKE_STRUCT_SIZE=8)
treenail_fake(cpu FAKE_BEST_LEVEL=-1)
treenail_fake(elements FAKE_ELEMENTS=3)
treenail_fake(golden FAKE_GOLDEN=11)
treenail_fake(narrow FAKE_NARROW FAKE_STREAM_SIZE=FAKE_OWN_SIZE)
treenail_fake(narrow_golden FAKE_NARROW FAKE_GOLDEN=11)
treenail_fake(stream FAKE_STREAM_SIZE=FAKE_OWN_SIZE)
treenail_fake(stream_size FAKE_STREAM_SIZE=8)
treenail_fake(stream_share FAKE_STREAM_SIZE=FAKE_OWN_SIZE FAKE_SHARE=0.5)

treenail_unit_test(test_runtime LINKS treenail_runtime)
target_compile_definitions(test_runtime PRIVATE FAKE_DIR="${fake_dir}")
add_dependencies(test_runtime fake_good fake_abi fake_size fake_cpu
                 fake_elements fake_golden fake_narrow fake_narrow_golden
                 fake_stream fake_stream_size fake_stream_share)
