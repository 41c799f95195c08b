/* test_frontend.c: what a transcript cannot show of importers: damage at every
 * byte, and models of a size or shape that no test file should have.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "frontend/internal.h"
#include "damage.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A model is complete once its trees are: only the names of categories come
 * after them. */
static void truncation_at_every_byte(void **state)
{
    (void)state;
    struct ir_text model;
    read_case(CASES_DIR, "small.txt", &model);
    const char *end = strstr(model.data, "end of trees");
    assert_non_null(end);
    const size_t needed = (size_t)(end - model.data) + strlen("end of trees");
    for (size_t n = 0; n < model.length; n++)
        if (import_copy(model.data, n))
            assert_true(n >= needed);
    assert_true(import_copy(model.data, model.length));
    ir_text_release(&model);
}

static void damage_at_every_byte(void **state)
{
    (void)state;
    static const char with[] = "\0\n =-.9xe[:\"\377";
    struct ir_text model;
    read_case(CASES_DIR, "small.txt", &model);
    for (size_t i = 0; i < model.length; i++) {
        const char was = model.data[i];
        for (size_t k = 0; k < sizeof with - 1; k++) {
            model.data[i] = with[k];
            import_copy(model.data, model.length);
        }
        model.data[i] = was;
    }
    ir_text_release(&model);
}

/* --------------------------------------------------------------- shapes -- */

static void put_header(struct ir_text *text)
{
    ir_text_puts(text, "tree\nversion=v4\nnum_class=1\nmax_feature_idx=0\n"
                       "feature_names=x\nfeature_infos=none\n\nTree=0\n");
}

static void put_series(struct ir_text *text, const char *key, int n,
                       int (*element)(int i, int n))
{
    ir_text_printf(text, "%s=", key);
    for (int i = 0; i < n; i++)
        ir_text_printf(text, "%s%d", i ? " " : "", element(i, n));
    ir_text_puts(text, "\n");
}

static int zero(int i, int n)
{
    return i * 0 + n * 0;
}

static int count(int i, int n)
{
    (void)n;
    return i;
}

/* A chain: the left child of each node is a leaf, the right one is the next
 * node, or at the end the last leaf. */
static int leaf_of(int i, int n)
{
    (void)n;
    return ~i;
}

static int next_of(int i, int n)
{
    return i + 1 < n ? i + 1 : ~n;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void chain_of_40000_nodes(void **state)
{
    (void)state;
    const int n = 40000;
    struct ir_diag diag;
    struct ir_text text;
    ir_diag_init(&diag);
    ir_text_init(&text);
    put_header(&text);
    ir_text_printf(&text, "num_leaves=%d\nnum_cat=0\n", n + 1);
    put_series(&text, "split_feature", n, zero);
    put_series(&text, "threshold", n, count);
    put_series(&text, "left_child", n, leaf_of);
    put_series(&text, "right_child", n, next_of);
    put_series(&text, "leaf_value", n + 1, count);
    ir_text_puts(&text, "\nend of trees\n");
    const double start = seconds();
    struct ir_module *module = fe_import_bytes(
        (const uint8_t *)text.data, text.length, "chain.txt", &diag);
    assert_non_null(module);
    assert_true(seconds() - start < 10); /* takes 20 ms, or 1 s sanitized */
    assert_string_equal(module->name, "chain");
    const double rows[] = {0, 12345, 12345.5, 1e9};
    const double want[] = {0, 12345, 12346, n};
    double got[4];
    ir_eval(module, ir_find_output(module, "value"),
            &(struct ir_rows){.dtype = IR_F64, .data = rows, .n_rows = 4,
                              .row_stride = 1, .column_stride = 1}, got);
    for (int i = 0; i < 4; i++)
        assert_true(got[i] == want[i]);
    ir_module_free(module);
    ir_text_release(&text);
    ir_diag_release(&diag);
}

/* Counts that no byte stands behind are refused before memory is taken. */
static void counts_are_not_believed(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "num_leaves=134217728\nnum_cat=0\n",
        "num_leaves=2\nnum_cat=268435456\n",
        "num_leaves=1\nnum_cat=1\ncat_boundaries=0 67108864\n"
        "cat_threshold=1\n",
        "num_leaves=1\nnum_cat=0\nis_linear=1\nleaf_value=1\nleaf_const=1\n"
        "num_features=1048576\nleaf_features=0\nleaf_coeff=1\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct ir_text text;
        ir_text_init(&text);
        put_header(&text);
        ir_text_puts(&text, lines[i]);
        ir_text_puts(&text, "split_feature=0\nthreshold=0\nleft_child=-1\n"
                            "right_child=-2\n\nend of trees\n");
        assert_false(import_copy(text.data, text.length));
        ir_text_release(&text);
    }
}

/* ---------------------------------------------------------------- parts -- */

static void lines_and_words(void **state)
{
    (void)state;
    const struct ir_file file = {
        .data = (const uint8_t *)"a  bc\t\r\n\nlast", .size = 13};
    struct fe_reader reader;
    struct fe_span line, word;
    fe_reader_init(&reader, &file, "f");
    assert_true(fe_next_line(&reader, &line));
    assert_int_equal(line.line, 1);
    assert_int_equal(fe_count_words(line), 2);
    assert_true(fe_next_word(&line, &word) && fe_is(&word, "a"));
    assert_true(fe_next_word(&line, &word) && fe_is(&word, "bc"));
    assert_int_equal(word.begin - word.line_begin, 3);
    assert_false(fe_next_word(&line, &word));
    assert_true(fe_next_line(&reader, &line) && line.begin == line.end);
    assert_true(fe_next_line(&reader, &line) && fe_is(&line, "last"));
    assert_int_equal(line.line, 3);
    assert_false(fe_next_line(&reader, &line));
}

static void splitting(void **state)
{
    (void)state;
    const char *text = "key=a=b";
    struct fe_span rest = {text, text + 7, text, 1};
    struct fe_span head = fe_split(&rest, '=');
    assert_true(fe_is(&head, "key") && fe_is(&rest, "a=b"));
    head = fe_split(&rest, ':');
    assert_true(fe_is(&head, "a=b") && fe_is(&rest, ""));
    assert_true(fe_starts_with(&head, "a=") && !fe_starts_with(&head, "a=bc"));
}

static void names_of_files(void **state)
{
    (void)state;
    struct ir_arena arena;
    ir_arena_init(&arena);
    assert_string_equal(fe_name_of(&arena, "/x.y/taxi.v2.txt"), "taxi.v2");
    assert_string_equal(fe_name_of(&arena, "model"), "model");
    assert_string_equal(fe_name_of(&arena, "/tmp/.txt"), "model");
    assert_string_equal(fe_name_of(&arena, ""), "model");
    char longest[IR_MAX_NAME + 10];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(strlen(fe_name_of(&arena, longest)), IR_MAX_NAME);
    ir_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_words),
        cmocka_unit_test(splitting),
        cmocka_unit_test(names_of_files),
        cmocka_unit_test(truncation_at_every_byte),
        cmocka_unit_test(damage_at_every_byte),
        cmocka_unit_test(chain_of_40000_nodes),
        cmocka_unit_test(counts_are_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
