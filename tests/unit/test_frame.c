/* test_frame.c: a file's columns get their kinds, tables and numbers; with a
 * schema they have those of the schema. */
#include "trainer/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Parses a copy of exactly n bytes, so that a sanitizer sees a read past it.
 * Returns the first message, "" when there was none. */
static const char *parse_n(struct tr_frame *frame, const char *bytes,
                           size_t n, const struct tr_csv_options *options,
                           int n_schema, const struct ir_column *schema)
{
    static char message[512];
    struct ir_diag diag;
    ir_diag_init(&diag);
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, n);
    const bool good = tr_frame_parse(frame, exact, n, "f.csv", options,
                                     n_schema, schema, &diag);
    free(exact);
    assert_int_equal(diag.n_messages, !good);
    snprintf(message, sizeof(message), "%s", good ? "" : diag.message[0]);
    ir_diag_release(&diag);
    return message;
}

static const char *parse(struct tr_frame *frame, const char *bytes)
{
    return parse_n(frame, bytes, strlen(bytes), NULL, 0, NULL);
}

static void check_error(const char *bytes,
                        const struct tr_csv_options *options,
                        const char *want)
{
    struct tr_frame frame;
    assert_string_equal(
        parse_n(&frame, bytes, strlen(bytes), options, 0, NULL), want);
}

static void check_values(const struct tr_frame *frame, int column,
                         const double *want)
{
    for (int64_t i = 0; i < frame->n_rows; i++) {
        const double got = frame->values[column][i];
        if (!(got == want[i] || (isnan(got) && isnan(want[i]))))
            fail_msg("column %d, row %lld: %g, not %g", column, (long long)i,
                     got, want[i]);
    }
}

#define VALUES(...) ((const double[]){__VA_ARGS__})

static void check_table(const struct tr_frame *frame, int column, int n,
                        const char *const *names)
{
    assert_int_equal(frame->columns[column].kind, IR_CATEGORY);
    assert_int_equal(frame->columns[column].n_categories, n);
    for (int i = 0; i < n; i++)
        assert_string_equal(frame->columns[column].categories[i], names[i]);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__})

static void kinds_are_inferred(void **state)
{
    (void)state;
    struct tr_frame frame;
    assert_string_equal(parse(&frame, "x,colour,size,gap\n"
                                      "1,red,4,\n"
                                      "-2.5,blue,XL,\n"
                                      "NA,?,4,NA\n"
                                      "1e3,red,,\n"), "");
    assert_int_equal(frame.n_rows, 4);
    assert_int_equal(frame.n_columns, 4);
    assert_int_equal(frame.columns[0].kind, IR_NUMBER);
    check_values(&frame, 0, VALUES(1, -2.5, NAN, 1000));
    check_table(&frame, 1, 2, NAMES("blue", "red"));
    check_values(&frame, 1, VALUES(1, 0, NAN, 1));
    /* One text makes categories of all, numbers included. */
    check_table(&frame, 2, 2, NAMES("4", "XL"));
    check_values(&frame, 2, VALUES(0, 1, 0, NAN));
    /* Nothing but missing values is a number. */
    assert_int_equal(frame.columns[3].kind, IR_NUMBER);
    check_values(&frame, 3, VALUES(NAN, NAN, NAN, NAN));
    tr_frame_release(&frame);
}

static void tables_ascend_by_bytes(void **state)
{
    (void)state;
    struct tr_frame frame;
    assert_string_equal(
        parse(&frame, "t\nb\n\xc3\xa4\nB\na\n\"a \"\"q\"\"\"\naa\n10\n9\n"),
        "");
    check_table(&frame, 0, 8,
                NAMES("10", "9", "B", "a", "a \"q\"", "aa", "b", "\xc3\xa4"));
    check_values(&frame, 0, VALUES(6, 7, 2, 3, 4, 5, 0, 1));
    tr_frame_release(&frame);
}

static void zero_has_one_sign(void **state)
{
    (void)state;
    struct tr_frame frame;
    assert_string_equal(parse(&frame, "x\n-0\n0\n"), "");
    assert_false(signbit(frame.values[0][0]));
    tr_frame_release(&frame);
}

static void columns_are_chosen(void **state)
{
    (void)state;
    const struct tr_csv_options options = {
        .n_ignore = 1, .ignore = NAMES("junk"),
        .n_category = 1, .category = NAMES("code")};
    const char *bytes = "junk,code,x\na,2,1\nb,10,2\nc,2,3\n";
    struct tr_frame frame;
    assert_string_equal(
        parse_n(&frame, bytes, strlen(bytes), &options, 0, NULL), "");
    assert_int_equal(frame.n_columns, 2);
    check_table(&frame, 0, 2, NAMES("10", "2"));
    check_values(&frame, 0, VALUES(1, 0, 1));
    assert_int_equal(tr_frame_find(&frame, "x"), 1);
    assert_int_equal(tr_frame_find(&frame, "junk"), -1);
    tr_frame_release(&frame);
}

static void columns_without_names_have_numbers(void **state)
{
    (void)state;
    struct tr_frame frame;
    assert_string_equal(parse(&frame, "1,a\n2,b\n"), "");
    assert_int_equal(frame.n_rows, 2);
    assert_string_equal(frame.columns[0].name, "c1");
    assert_string_equal(frame.columns[1].name, "c2");
    tr_frame_release(&frame);
}

static void the_hash_is_the_file_s(void **state)
{
    (void)state;
    struct tr_frame frame;
    assert_string_equal(parse(&frame, "x\n1\n"), "");
    char hex[65];
    ir_sha256("x\n1\n", 4, hex);
    assert_string_equal(frame.sha256, hex);
    tr_frame_release(&frame);
}

/* Many rows, the first one shorter than the rest: room is made as it goes. */
static void rows_may_be_many(void **state)
{
    enum { N = 20000 };
    (void)state;
    struct ir_text text;
    ir_text_init(&text);
    ir_text_puts(&text, "x,t\n1,a\n");
    for (int i = 1; i < N; i++)
        ir_text_printf(&text, "%d.%05d,t%d\n", i, i, i % 300);
    struct tr_frame frame;
    assert_string_equal(
        parse_n(&frame, text.data, text.length, NULL, 0, NULL), "");
    assert_int_equal(frame.n_rows, N);
    assert_int_equal(frame.columns[1].n_categories, 301);
    for (int i = 1; i < N; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%d", i % 300);
        assert_true((int)frame.values[0][i] == i);
        assert_string_equal(
            frame.columns[1].categories[(int)frame.values[1][i]], name);
    }
    tr_frame_release(&frame);
    ir_text_release(&text);
}

static void rows_are_taken(void **state)
{
    (void)state;
    struct tr_frame frame, taken;
    assert_string_equal(parse(&frame, "x,t\n1,b\n2,a\n3,\n"), "");
    const int64_t rows[] = {2, 0, 0};
    tr_frame_take(&taken, &frame, 3, rows);
    tr_frame_release(&frame); /* it is a frame of its own */
    check_values(&taken, 0, VALUES(3, 1, 1));
    check_values(&taken, 1, VALUES(NAN, 1, 1));
    check_table(&taken, 1, 2, NAMES("a", "b"));
    assert_string_equal(taken.columns[1].name, "t");
    tr_frame_release(&taken);
}

static void a_schema_decides(void **state)
{
    (void)state;
    struct tr_frame frame, other;
    assert_string_equal(parse(&frame, "x,t\n1,b\n2,a\n"), "");
    const char *bytes = "t,more,x\nc,?,7\na,,\n,1,8\n";
    assert_string_equal(parse_n(&other, bytes, strlen(bytes), NULL,
                                frame.n_columns, frame.columns), "");
    assert_int_equal(other.n_rows, 3);
    check_values(&other, 0, VALUES(7, NAN, 8));
    check_values(&other, 1, VALUES(2, 0, NAN)); /* 2: not in the table */
    tr_frame_release(&other);
    bytes = "t,x\na,seven\n";
    assert_string_equal(parse_n(&other, bytes, strlen(bytes), NULL,
                                frame.n_columns, frame.columns),
                        "f.csv:2:3: \"seven\" is no number (column \"x\")");
    bytes = "t,x\n";
    assert_string_equal(parse_n(&other, bytes, strlen(bytes), NULL,
                                frame.n_columns, frame.columns),
                        "f.csv: the file has no rows but its header");
    bytes = "t,y\na,1\n";
    assert_string_equal(parse_n(&other, bytes, strlen(bytes), NULL,
                                frame.n_columns, frame.columns),
                        "f.csv:1:1: there is no column named \"x\" "
                        "(there are: t, y)");
    tr_frame_release(&frame);
}

/* ---------------------------------------------------------------- errors -- */

static void bad_files_are_refused(void **state)
{
    (void)state;
    check_error("", NULL, "f.csv: the file has no rows");
    check_error("\n\n  \n", NULL, "f.csv: the file has no rows");
    check_error("x,y\n", NULL, "f.csv: the file has no rows but its header");
    check_error("x,y\n1,2\n3\n", NULL,
                "f.csv:3:2: this row has 1 field (the first one has 2)");
    check_error("x,x\n1,2\n", NULL,
                "f.csv:1:3: columns 1 and 2 are both named \"x\"");
    const struct tr_csv_options ignore = {.n_ignore = 1,
                                          .ignore = NAMES("z")};
    check_error("x,y\n1,2\n", &ignore,
                "f.csv:1:1: there is no column named \"z\", to ignore (there "
                "are: x, y)");
    const struct tr_csv_options category = {.n_category = 1,
                                            .category = NAMES("z")};
    check_error("x,y\n1,2\n", &category,
                "f.csv:1:1: there is no column named \"z\", of categories "
                "(there are: x, y)");
    const struct tr_csv_options number = {.n_number = 1,
                                          .number = NAMES("y")};
    check_error("x,y\n1,2\na,?\n3,2e\n", &number,
                "f.csv:4:3: \"2e\" is no number (column \"y\")");
    const struct tr_csv_options both = {
        .n_number = 2, .number = NAMES("x", "y"), .n_category = 1,
        .category = NAMES("y")};
    check_error("x,y\n1,2\n", &both,
                "f.csv:1:3: column \"y\" is said to be of numbers and of "
                "categories");
}

/* Numbers with a slip of the pen among them. */
static void columns_that_are_mixed_are_told(void **state)
{
    struct tr_frame frame;
    const char *bytes = "a,b,c,d\n1,x,1,\n2,x,2o,\n?,y,3,1\no3,1,4,z\n";
    (void)state;
    parse(&frame, bytes);
    assert_int_equal(frame.n_mixed, 3);
    const struct tr_mixed *a = &frame.mixed[0], *c = &frame.mixed[1];
    assert_int_equal(a->column, 0);
    assert_int_equal(a->n_numbers, 2);
    assert_int_equal(a->n_texts, 1);
    assert_string_equal(a->text, "o3");
    assert_int_equal(a->first.line, 5);
    assert_int_equal(a->first.column, 1);
    assert_int_equal(c->column, 2);
    assert_string_equal(c->text, "2o");
    assert_int_equal(c->first.line, 3);
    assert_int_equal(c->first.column, 5);
    assert_int_equal(frame.mixed[2].column, 3);
    tr_frame_release(&frame);
    const struct tr_csv_options meant = {
        .n_category = 3, .category = NAMES("a", "c", "d")};
    parse_n(&frame, bytes, strlen(bytes), &meant, 0, NULL);
    assert_int_equal(frame.n_mixed, 0);
    tr_frame_release(&frame);
}

/* An error in the second pass, where texts are read. */
static void categories_have_limits(void **state)
{
    (void)state;
    struct ir_text text;
    struct tr_frame frame;
    ir_text_init(&text);
    ir_text_puts(&text, "x,t\n1,");
    for (int i = 0; i <= IR_MAX_NAME; i++)
        ir_text_puts(&text, "y");
    assert_string_equal(
        parse_n(&frame, text.data, text.length, NULL, 0, NULL),
        "f.csv:2:3: a category of column \"t\" has 4097 bytes (the limit is "
        "4096)");
    text.length = 0;
    ir_text_puts(&text, "t\n");
    for (int i = 0; i < TR_MAX_CATEGORIES; i++)
        ir_text_printf(&text, "t%d\n", i);
    assert_string_equal(
        parse_n(&frame, text.data, text.length, NULL, 0, NULL), "");
    assert_int_equal(frame.columns[0].n_categories, TR_MAX_CATEGORIES);
    tr_frame_release(&frame);
    ir_text_puts(&text, "one more\n");
    assert_string_equal(
        parse_n(&frame, text.data, text.length, NULL, 0, NULL),
        "f.csv:65538:1: column \"t\" has more than 65536 different texts: it "
        "is no category (ignore it)");
    ir_text_release(&text);
}

/* Whatever a file is cut off at, the answer is a frame or a message. */
static void any_prefix_is_answered(void **state)
{
    (void)state;
    const char whole[] = "\xef\xbb\xbfx,\"t, u\"\r\n1,\"a \"\"b\"\"\nc\"\r\n"
                         "NA,d\n\n2e5, e \n";
    for (size_t n = 0; n < sizeof(whole); n++) {
        struct tr_frame frame;
        const char *message = parse_n(&frame, whole, n, NULL, 0, NULL);
        if (*message)
            assert_memory_equal(message, "f.csv:", 6);
        else
            tr_frame_release(&frame);
    }
}

static void files_are_opened(void **state)
{
    (void)state;
    struct ir_diag diag;
    struct tr_frame frame;
    ir_diag_init(&diag);
    assert_false(tr_frame_read(&frame, "/nonexistent/f.csv", NULL, 0, NULL,
                               &diag));
    assert_int_equal(diag.n_messages, 1);
    assert_memory_equal(diag.message[0], "/nonexistent/f.csv: ", 20);
    ir_diag_release(&diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_inferred),
        cmocka_unit_test(tables_ascend_by_bytes),
        cmocka_unit_test(zero_has_one_sign),
        cmocka_unit_test(columns_are_chosen),
        cmocka_unit_test(columns_without_names_have_numbers),
        cmocka_unit_test(the_hash_is_the_file_s),
        cmocka_unit_test(rows_may_be_many),
        cmocka_unit_test(rows_are_taken),
        cmocka_unit_test(a_schema_decides),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(columns_that_are_mixed_are_told),
        cmocka_unit_test(categories_have_limits),
        cmocka_unit_test(any_prefix_is_answered),
        cmocka_unit_test(files_are_opened),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
