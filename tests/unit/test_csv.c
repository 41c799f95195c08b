/* test_csv.c: the reader that turns bytes into rows of a model's columns. Each
 * case is a few bytes of CSV and what must come of them. */
#include "trainer/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const colours[] = {"blue", "red", "white, off"};

/* A number, a category with a table, a category of codes. */
static const struct ir_column schema[] = {
    {.name = "x", .kind = IR_NUMBER, .n_elements = 1},
    {.name = "colour", .kind = IR_CATEGORY, .n_elements = 1,
     .n_categories = 3, .categories = (const char **)colours},
    {.name = "code", .kind = IR_CATEGORY, .n_elements = 1},
};
enum { N_COLUMNS = 3, MAX_ROWS = 16 };

static const struct tr_csv_options usual;

/* Reads `n` bytes; returns the number of rows, or -1 with the first message
 * in `message`. */
static int64_t read_bytes(const char *bytes, size_t n,
                          const struct tr_csv_options *options,
                          double rows[MAX_ROWS * N_COLUMNS],
                          char message[512])
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    /* A copy of exactly n bytes, so that a sanitizer sees a read past it. */
    char *exact = malloc(n ? n : 1);
    memcpy(exact, bytes, n);
    struct tr_reader *reader = tr_reader_open_bytes(
        exact, n, "f.csv", options, N_COLUMNS, schema, &diag);
    int64_t got = -1;
    if (reader) {
        assert_int_equal(tr_reader_elements(reader), N_COLUMNS);
        got = tr_reader_next(reader, rows, MAX_ROWS, &diag);
    }
    assert_int_equal(diag.n_messages, got < 0);
    if (got < 0)
        snprintf(message, 512, "%s", diag.message[0]);
    tr_reader_close(reader);
    free(exact);
    ir_diag_release(&diag);
    return got;
}

#define ROWS(...) ((const double[]){__VA_ARGS__})

static void check_rows_with(const char *bytes,
                            const struct tr_csv_options *options, int64_t n,
                            const double *want)
{
    double rows[MAX_ROWS * N_COLUMNS];
    char message[512] = "";
    const int64_t got =
        read_bytes(bytes, strlen(bytes), options, rows, message);
    if (got != n)
        fail_msg("%lld rows, not %lld: %s", (long long)got, (long long)n,
                 message);
    for (int64_t i = 0; i < n * N_COLUMNS; i++)
        if (!(rows[i] == want[i] || (isnan(rows[i]) && isnan(want[i]))))
            fail_msg("number %lld is %g, not %g", (long long)i, rows[i],
                     want[i]);
}

static void check_rows(const char *bytes, int64_t n, const double *want)
{
    check_rows_with(bytes, &usual, n, want);
}

static void check_error_n(const char *bytes, size_t n,
                          const struct tr_csv_options *options,
                          const char *want)
{
    double rows[MAX_ROWS * N_COLUMNS];
    char message[512] = "no error";
    assert_int_equal(read_bytes(bytes, n, options, rows, message), -1);
    if (strncmp(message, want, strlen(want)) != 0)
        fail_msg("\"%s\", not \"%s...\"", message, want);
}

static void check_error(const char *bytes, const char *want)
{
    check_error_n(bytes, strlen(bytes), &usual, want);
}

/* --------------------------------------------------------------- reading -- */

static void finds_columns_by_name(void **state)
{
    (void)state;
    check_rows("x,colour,code\n1,red,7\n", 1, ROWS(1, 1, 7));
    check_rows("code,other,colour,x\n7,?,blue,-2.5\n8,q,red,3\n", 2,
               ROWS(-2.5, 0, 7, 3, 1, 8));
}

static void takes_fields_by_position(void **state)
{
    (void)state;
    check_rows("1,red,7\n2,blue,8", 2, ROWS(1, 1, 7, 2, 0, 8));
    const char *const ignore[] = {"c1"};
    const struct tr_csv_options options = {.n_ignore = 1, .ignore = ignore};
    check_rows_with("y,1,red,7\n", &options, 1, ROWS(1, 1, 7));
}

static void knows_missing_and_unseen(void **state)
{
    (void)state;
    check_rows("x,colour,code\n,,\nNA,null,NaN\n?,green,None\n", 3,
               ROWS(NAN, NAN, NAN, NAN, NAN, NAN, NAN, 3, NAN));
    const char *const missing[] = {"-", "nothing"};
    const struct tr_csv_options options = {.n_missing = 2,
                                           .missing = missing};
    check_rows_with("x,colour,code\n-,nothing,1\n2,NA,3\n", &options, 2,
                    ROWS(NAN, NAN, 1, 2, 3, 3));
}

static void reads_quotes(void **state)
{
    (void)state;
    check_rows("\"x\",\"colour\",\"code\"\r\n"
               "\"1\",\"white, off\",\"7\"\r\n"
               "2 , \"red\" ,\"\"\n",
               2, ROWS(1, 2, 7, 2, 1, NAN));
    /* A quote within a field stands for itself, two in quotes for one. */
    check_rows("x,colour,code,\"a \"\"b\"\"\nc\"\n1,re\"d,7,\"\"\n2,red,8,\n",
               2, ROWS(1, 3, 7, 2, 1, 8));
}

static void reads_ends_of_lines(void **state)
{
    (void)state;
    check_rows("\xef\xbb\xbfx,colour,code\r\n1,red,7\r\n", 1, ROWS(1, 1, 7));
    check_rows("\n\r\n  \nx,colour,code\n\n1,red,7\n\n\n2,red,8\n\n", 2,
               ROWS(1, 1, 7, 2, 1, 8));
    check_rows("x,colour,code\n", 0, NULL);
}

static void detects_the_delimiter(void **state)
{
    (void)state;
    check_rows("x;colour;code\n1;red;7\n", 1, ROWS(1, 1, 7));
    check_rows("x\tcolour\tcode\n1\twhite, off\t7\n\t\t\n", 2,
               ROWS(1, 2, 7, NAN, NAN, NAN));
    check_rows("\"x\";\"colour\";\"code\";\"a,b,c,d,e\"\n1;red;7;2\n", 1,
               ROWS(1, 1, 7));
    const struct tr_csv_options bar = {.delimiter = '|'};
    check_rows_with("x|colour|code\n1|red|7\n", &bar, 1, ROWS(1, 1, 7));
}

static void reads_numbers_to_the_last_bit(void **state)
{
    (void)state;
    check_rows("x,colour,code\n"
               "0.1,red,1e3\n-0,red,+7\n"
               "9007199254740993,red,1\n"
               "8.692932128906250000e-01,red,2\n"
               "4.9e-324,red,3\ninf,red,4\n-inf,red,5\n"
               "123456789012345678901234567890,red,6\n"
               "2.2250738585072011e-308,red,7\n",
               9,
               ROWS(0.1, 1, 1000, 0, 1, 7, 9007199254740992.0, 1, 1,
                    0.869293212890625, 1, 2, 4.9e-324, 1, 3, INFINITY, 1, 4,
                    -INFINITY, 1, 5, 123456789012345678901234567890.0, 1, 6,
                    2.2250738585072011e-308, 1, 7));
}

static void reads_tensors_by_element(void **state)
{
    (void)state;
    const struct ir_column pixels = {.name = "p", .kind = IR_TENSOR_COLUMN,
                                     .n_elements = 3};
    const char bytes[] = "p[2],p[0],id,p[1]\n3,1,9,2\n";
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct tr_reader *reader =
        tr_reader_open_bytes(bytes, sizeof(bytes) - 1, "f.csv", NULL, 1,
                             &pixels, &diag);
    assert_non_null(reader);
    assert_int_equal(tr_reader_elements(reader), 3);
    double row[3];
    assert_int_equal(tr_reader_next(reader, row, 1, &diag), 1);
    assert_true(row[0] == 1 && row[1] == 2 && row[2] == 3);
    assert_int_equal(tr_reader_next(reader, row, 1, &diag), 0);
    uint64_t done, total;
    tr_reader_progress(reader, &done, &total);
    assert_int_equal(done, total);
    tr_reader_close(reader);
    ir_diag_release(&diag);
}

static void reads_in_blocks(void **state)
{
    (void)state;
    const struct ir_column x = {.name = "x", .kind = IR_NUMBER,
                                .n_elements = 1};
    const char bytes[] = "x\n1\n2\n3\n4\n5\n";
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct tr_reader *reader = tr_reader_open_bytes(
        bytes, sizeof(bytes) - 1, "f.csv", NULL, 1, &x, &diag);
    assert_non_null(reader);
    double rows[2];
    assert_int_equal(tr_reader_next(reader, rows, 2, &diag), 2);
    assert_true(rows[0] == 1 && rows[1] == 2);
    assert_int_equal(tr_reader_next(reader, rows, 2, &diag), 2);
    assert_int_equal(tr_reader_next(reader, rows, 2, &diag), 1);
    assert_true(rows[0] == 5);
    assert_int_equal(tr_reader_next(reader, rows, 2, &diag), 0);
    tr_reader_close(reader);
    ir_diag_release(&diag);
}

/* ---------------------------------------------------------------- errors -- */

static void refuses_hostile_bytes(void **state)
{
    (void)state;
    check_error("x,colour,code\n1,red,7\r 2,red,8\n", "f.csv:2:8: ");
    check_error("x,colour,code\r1,red,7\r", "f.csv:1:14: ");
    check_error("x,colour,code\n1,red,7\r", "f.csv:2:8: ");
    check_error("x,colour,code\n1\n2\n3,red,7,aaaaaaaaaaaaaaaaaaa\n",
                "f.csv:2:2: ");
    check_error("x,colour,code\n1,red,7,8\n", "f.csv:2:");
    check_error_n("x,colour,code\n1,r\0d,7\n", 23, &usual, "f.csv:2:4: ");
    check_error_n("x,colour,code\n1,\"r\0d\",7\n", 25, &usual,
                  "f.csv:2:5: ");
    check_error("x,colour,code\n1,\"red,7\n2,red,8\n", "f.csv:2:3: ");
    check_error("x,colour,code\n1,\"red\"d,7\n", "f.csv:2:8: ");
    check_error("x,colour,code\n1,\"re\nd\",7\nz,\"\",1\n", "f.csv:4:1: ");
    check_error("", "f.csv: ");
    check_error("\xef\xbb\xbf", "f.csv: ");
    check_error("\n \r\n", "f.csv: ");
    /* Cut anywhere it is refused, or read as what is there. */
    const char whole[] = "x,colour,code\r\n1,\"white, \"\"off\",7\r\n2,r,8";
    for (size_t n = 0; n < sizeof(whole); n++) {
        double rows[MAX_ROWS * N_COLUMNS];
        char message[512];
        const int64_t got = read_bytes(whole, n, &usual, rows, message);
        assert_true(got >= -1 && got <= 2);
        if (got == -1)
            assert_int_equal(strncmp(message, "f.csv:", 6), 0);
    }
}

static void names_the_column_and_the_text(void **state)
{
    (void)state;
    check_error("x,colour,code\n1,red,7\nabc,red,7\n",
                "f.csv:3:1: \"abc\" is no number (column \"x\")");
    check_error("x,colour,code\n1,red,many\n",
                "f.csv:2:7: \"many\" is no number (column \"code\")");
    check_error("x,color,code\n1,red,7\n",
                "f.csv:1:1: there is no column named \"colour\"");
    check_error("x,x,colour,code\n1,1,red,7\n",
                "f.csv:1:3: columns 1 and 2 are both named \"x\"");
    check_error("1,2\n", "f.csv:1:1: rows have 2 fields without names");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_columns_by_name),
        cmocka_unit_test(takes_fields_by_position),
        cmocka_unit_test(knows_missing_and_unseen),
        cmocka_unit_test(reads_quotes),
        cmocka_unit_test(reads_ends_of_lines),
        cmocka_unit_test(detects_the_delimiter),
        cmocka_unit_test(reads_numbers_to_the_last_bit),
        cmocka_unit_test(reads_tensors_by_element),
        cmocka_unit_test(reads_in_blocks),
        cmocka_unit_test(refuses_hostile_bytes),
        cmocka_unit_test(names_the_column_and_the_text),
    };
    return cmocka_run_group_tests_name("csv", tests, NULL, NULL);
}
