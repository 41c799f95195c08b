/* test_arena.c: memory by lifetime, and messages about bad input. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void objects_are_aligned_zeroed_and_apart(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 4096, 65535, 65536, 65537,
                                   200000, 3, 0, 0, 65520, 16, 1};
    enum { n = sizeof(sizes) / sizeof(sizes[0]) };
    uint8_t *object[n];
    struct ir_arena arena;
    (void)state;
    ir_arena_init(&arena);
    for (int i = 0; i < n; i++) {
        object[i] = ir_alloc(&arena, sizes[i]);
        assert_int_equal((uintptr_t)object[i] % 16, 0);
        for (size_t b = 0; b < sizes[i]; b++)
            assert_int_equal(object[i][b], 0);
        memset(object[i], 0x5a + i, sizes[i]);
    }
    for (int i = 0; i < n; i++) {
        for (size_t b = 0; b < sizes[i]; b++)
            assert_int_equal(object[i][b], 0x5a + i);
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(object[i], object[j]);
    }
    ir_arena_release(&arena);
    assert_null(arena.chunk);
    ir_arena_release(&arena); /* of an empty one */
}

static void strings(void **state)
{
    struct ir_arena arena;
    (void)state;
    ir_arena_init(&arena);
    assert_string_equal(ir_strdup(&arena, ""), "");
    assert_string_equal(ir_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(ir_sprintf(&arena, "%s-%d", "x", 7), "x-7");
    char *large = ir_sprintf(&arena, "%0100000d", 1);
    assert_int_equal(strlen(large), 100000);
    ir_arena_release(&arena);
}

static void grow(struct ir_arena *arena, int how)
{
    void *volatile kept;
    switch (how) {
    case 0: kept = ir_alloc_array(arena, SIZE_MAX / 4, 8); break;
    case 1: kept = ir_alloc_array(arena, (size_t)1 << 60, 1); break;
    case 2: kept = ir_alloc(arena, SIZE_MAX); break;
    case 3: kept = ir_alloc(arena, SIZE_MAX - 10); break;
    case 4: kept = ir_realloc_array(NULL, SIZE_MAX / 4, 8); break;
    default: kept = ir_realloc_array(NULL, (size_t)1 << 60, 1); break;
    }
    (void)kept;
}

/* Runs in a child that must end with code 1 and the message. */
static void sizes_that_cannot_be_had_end_the_process(void **state)
{
    (void)state;
    for (int how = 0; how < 6; how++) {
        int out[2], status;
        char said[100] = "";
        assert_int_equal(pipe(out), 0);
        const pid_t child = fork();
        if (child == 0) {
            struct ir_arena arena;
            dup2(out[1], 2);
            ir_arena_init(&arena);
            grow(&arena, how);
            _exit(0);
        }
        close(out[1]);
        size_t n = 0;
        for (ssize_t got = 1; got > 0 && n < sizeof(said) - 1; n += got) {
            got = read(out[0], said + n, sizeof(said) - 1 - n);
            if (got < 0)
                break;
        }
        close(out[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
#ifndef __SANITIZE_ADDRESS__ /* which has an opinion of its own */
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 1);
        assert_string_equal(said, "treenail: error: out of memory\n");
#else
        assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
#endif
    }
}

static void realloc_of_nothing_is_something(void **state)
{
    (void)state;
    void *nothing = ir_realloc_array(NULL, 0, 8);
    assert_non_null(nothing);
    nothing = ir_realloc_array(nothing, 3, 8);
    memset(nothing, 1, 24);
    free(nothing);
}

/* ------------------------------------------------------------ messages -- */

static void places(void **state)
{
    struct ir_diag diag;
    (void)state;
    ir_diag_init(&diag);
    assert_false(ir_error(&diag, ir_loc_file(NULL), "a"));
    ir_error(&diag, ir_loc_file("m"), "b %d", 2);
    ir_error(&diag, ir_loc_line("m", 3, 0), "c");
    ir_error(&diag, ir_loc_line("m", 3, 4), "d");
    ir_error(&diag, ir_loc_offset("m", 0), "e");
    ir_error(&diag, ir_loc_offset("m", (uint64_t)1 << 40), "f");
    static const char *const want[] = {"a", "m: b 2", "m:3: c", "m:3:4: d",
                                       "m:+0: e", "m:+1099511627776: f"};
    assert_int_equal(diag.n_messages, 6);
    for (int i = 0; i < 6; i++)
        assert_string_equal(diag.message[i], want[i]);
    ir_diag_release(&diag);
    assert_int_equal(diag.n_messages, 0);
}

static void a_terminal_need_not_obey(void **state)
{
    struct ir_diag diag;
    (void)state;
    ir_diag_init(&diag);
    ir_error(&diag, ir_loc_file("\x1b[2J"), "%s", "\r\n\t\x7f\xc3\xa9~");
    assert_string_equal(diag.message[0],
                        "\\x1b[2J: \\x0d\\x0a\\x09\\x7f\\xc3\\xa9~");
    ir_diag_release(&diag);
}

static void only_so_many_are_kept(void **state)
{
    struct ir_diag diag;
    char *text;
    size_t n;
    (void)state;
    ir_diag_init(&diag);
    for (int i = 0; i < IR_MAX_MESSAGES + 5; i++)
        ir_error(&diag, ir_loc_file(NULL), "%d", i);
    assert_int_equal(diag.n_messages, IR_MAX_MESSAGES);
    assert_int_equal(diag.n_dropped, 5);
    FILE *file = open_memstream(&text, &n);
    ir_diag_print(&diag, file);
    fclose(file);
    assert_non_null(strstr(text, "\n19\n... and 5 more\n"));
    free(text);
    ir_diag_release(&diag);
}

static void long_messages_are_cut(void **state)
{
    struct ir_diag diag;
    char *name = ir_realloc_array(NULL, 10001, 1);
    (void)state;
    memset(name, 'x', 10000);
    name[10000] = '\0';
    ir_diag_init(&diag);
    ir_error(&diag, ir_loc_file(NULL), "%s", name);
    assert_int_equal(strlen(diag.message[0]), 1023);
    free(name);
    ir_diag_release(&diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_aligned_zeroed_and_apart),
        cmocka_unit_test(strings),
        cmocka_unit_test(sizes_that_cannot_be_had_end_the_process),
        cmocka_unit_test(realloc_of_nothing_is_something),
        cmocka_unit_test(places),
        cmocka_unit_test(a_terminal_need_not_obey),
        cmocka_unit_test(only_so_many_are_kept),
        cmocka_unit_test(long_messages_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
