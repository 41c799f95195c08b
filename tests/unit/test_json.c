/* test_json.c: the reader of JSON and UBJSON, and the XGBoost importer under
 * damage at every byte.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "frontend/internal.h"
#include "damage.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- reader -- */

struct document {
    struct fe_json json;
    struct fe_value root;
    struct ir_diag diag;
    struct ir_arena arena;
};

static bool open_bytes(struct document *d, const void *bytes, size_t n)
{
    const struct ir_file file = {.path = "d", .data = bytes, .size = n};
    ir_diag_init(&d->diag);
    ir_arena_init(&d->arena);
    const bool ok = fe_json_open(&d->json, &file, "d", &d->diag);
    if (ok)
        d->root = fe_json_root(&d->json);
    return ok;
}

static bool open_text(struct document *d, const char *text)
{
    return open_bytes(d, text, strlen(text));
}

static void close_document(struct document *d)
{
    ir_arena_release(&d->arena);
    ir_diag_release(&d->diag);
}

static void kinds_and_walks(void **state)
{
    (void)state;
    static const enum fe_kind kinds[] = {
        FE_NULL,   FE_BOOL,   FE_BOOL,   FE_NUMBER, FE_NUMBER, FE_NUMBER,
        FE_NUMBER, FE_STRING, FE_ARRAY,  FE_OBJECT};
    struct document d;
    assert_true(open_text(&d, " [null, true,false,-1.5e3 ,NaN,Infinity,"
                              "-Infinity,\"a]\\\"}\", [[],{}] , {\"b\":[1]}]"));
    struct fe_walk walk;
    struct fe_value value;
    assert_true(fe_json_begin(&d.json, &d.root, "it", &walk));
    size_t n = 0;
    while (fe_json_next(&walk, &value)) {
        assert_true(n < sizeof kinds / sizeof *kinds);
        assert_int_equal(fe_json_kind(&d.json, &value), kinds[n++]);
    }
    assert_int_equal(n, sizeof kinds / sizeof *kinds);
    int64_t length;
    assert_true(fe_json_length(&d.json, &d.root, "it", &length));
    assert_int_equal(length, n);
    close_document(&d);
}

static void numbers_are_rounded_once(void **state)
{
    (void)state;
    struct document d;
    struct fe_numbers numbers = {0};
    /* Just above the middle of two floats: by way of a double it would be a
     * tie. */
    assert_true(open_text(&d, "[1.000000059604644775390626, 16777217, -0.0, "
                              "1e400, -1e400, 1e-60]"));
    assert_true(fe_json_floats(&d.json, &d.root, "it", &numbers));
    assert_int_equal(numbers.n, 6);
    assert_true(numbers.f[0] == nextafterf(1, 2));
    assert_true(numbers.f[1] == 16777216.0f);
    assert_true(signbit(numbers.f[2]) && numbers.f[2] == 0);
    assert_true(isinf(numbers.f[3]) && isinf(numbers.f[4]));
    assert_true(numbers.f[5] == 0);
    assert_true(fe_json_doubles(&d.json, &d.root, "it", &numbers));
    assert_true(numbers.d[1] == 16777217.0);
    assert_false(fe_json_ints(&d.json, &d.root, "it", &numbers));
    assert_string_equal(d.diag.message[0],
                        "d:1:2: it[0] is 1.000000059604644775390626, not a "
                        "whole number of 64 bits");
    close_document(&d);
    assert_true(open_text(&d, "[true, false, -9223372036854775808]"));
    assert_true(fe_json_ints(&d.json, &d.root, "it", &numbers));
    assert_true(numbers.i[0] == 1 && numbers.i[1] == 0 &&
                numbers.i[2] == INT64_MIN);
    close_document(&d);
    free(numbers.data);
}

static void strings(void **state)
{
    (void)state;
    struct document d;
    char *s;
    assert_true(open_text(&d, "\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\\ude00"
                              "\\n\\/\\\\\""));
    assert_true(fe_json_string(&d.json, &d.root, "it", &d.arena, &s));
    assert_string_equal(s, "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd"
                           "\n/\\");
    assert_true(fe_json_is(&d.json, &d.root, s));
    assert_false(fe_json_is(&d.json, &d.root, "A"));
    assert_false(fe_json_is(&d.json, &d.root, "A\xc3"));
    close_document(&d);
    assert_true(open_text(&d, "{\"le\\u0061rn\": 1, \"b\": \"x\\u0000\"}"));
    static const char *const keys[] = {"learn", "b", "c"};
    struct fe_value field[3];
    assert_true(fe_json_fields(&d.json, &d.root, "it", 3, keys, field));
    assert_int_equal(fe_json_kind(&d.json, &field[0]), FE_NUMBER);
    assert_int_equal(fe_json_kind(&d.json, &field[2]), FE_ABSENT);
    assert_false(fe_json_string(&d.json, &field[1], "b", &d.arena, &s));
    close_document(&d);
}

static void places(void **state)
{
    (void)state;
    struct document d;
    assert_true(open_text(&d, "[\n [1, 22],\n\n  333]"));
    const struct fe_value last = fe_json_element(&d.json, &d.root, 1);
    const struct fe_value first = fe_json_element(&d.json, &d.root, 0);
    const struct fe_value inner = fe_json_element(&d.json, &first, 1);
    struct ir_loc loc = fe_json_loc(&d.json, &last);
    assert_int_equal(loc.line, 4);
    assert_int_equal(loc.column, 3);
    loc = fe_json_loc(&d.json, &inner);
    assert_int_equal(loc.line, 2);
    assert_int_equal(loc.column, 6);
    close_document(&d);
}

static void ubjson_values(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {
        '{', 'U', 1, 'a', '[', '$', 'I', '#', 'i', 2, 0xff, 0xfe, 1, 0,
        'i', 1, 'b', '[', 'D', 0x3f, 0xf0, 0, 0, 0, 0, 0, 0,
        'd', 0xc0, 0, 0, 0, 'U', 0xff, 'i', 0xff,
        'L', 0x80, 0, 0, 0, 0, 0, 0, 0, ']', 'U', 1, 'c',
        '{', '#', 'U', 1, 'U', 0, 'S', 'U', 2, 'h', 'i', '}'};
    static const char *const keys[] = {"a", "b", "c"};
    struct document d;
    struct fe_numbers numbers = {0};
    struct fe_value field[3], value;
    struct fe_walk walk;
    assert_true(open_bytes(&d, bytes, sizeof bytes));
    assert_true(d.json.binary);
    assert_true(fe_json_fields(&d.json, &d.root, "it", 3, keys, field));
    assert_true(fe_json_ints(&d.json, &field[0], "a", &numbers));
    assert_true(numbers.n == 2 && numbers.i[0] == -2 && numbers.i[1] == 256);
    assert_true(fe_json_doubles(&d.json, &field[1], "b", &numbers));
    assert_true(numbers.n == 5 && numbers.d[0] == 1 && numbers.d[1] == -2 &&
                numbers.d[2] == 255 && numbers.d[3] == -1 &&
                numbers.d[4] == -0x1p63);
    assert_true(fe_json_begin_object(&d.json, &field[2], "c", &walk));
    assert_true(fe_json_next(&walk, &value));
    assert_true(fe_json_is(&d.json, &walk.key, ""));
    assert_true(fe_json_is(&d.json, &value, "hi"));
    assert_false(fe_json_next(&walk, &value));
    free(numbers.data);
    close_document(&d);
}

/* Up to FE_JSON_DEPTH is fine, and is passed over. */
static void nesting(void **state)
{
    (void)state;
    char text[2 * FE_JSON_DEPTH + 3];
    struct document d;
    for (int n = FE_JSON_DEPTH; n <= FE_JSON_DEPTH + 1; n++) {
        memset(text, '[', (size_t)n);
        memset(text + n, ']', (size_t)n);
        text[2 * n] = '\0';
        assert_int_equal(open_text(&d, text), n == FE_JSON_DEPTH);
        close_document(&d);
    }
}

/* --------------------------------------------------------------- damage -- */

static const char *const models[] = {"small.json", "small.ubj"};

/* What is whole is accepted, and nothing that is shorter; a file of text may
 * lack its last newline. */
static void truncation_at_every_byte(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ir_text model;
        read_case(XGBOOST_CASES_DIR, models[i], &model);
        size_t n = model.length;
        assert_true(import_copy(model.data, n));
        if (model.data[n - 1] == '\n')
            n--;
        for (size_t k = 0; k < n; k++)
            assert_false(import_copy(model.data, k));
        ir_text_release(&model);
    }
}

/* Whatever a byte is changed to: a module or one message. */
static void damage_at_every_byte(void **state)
{
    static const char changes[] = {0, 1, -1, '9', '-', '"', '[', '}', 'L'};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ir_text model;
        read_case(XGBOOST_CASES_DIR, models[i], &model);
        for (size_t k = 0; k < model.length; k++) {
            const char was = model.data[k];
            for (size_t c = 0; c < sizeof changes; c++) {
                model.data[k] = changes[c];
                import_copy(model.data, model.length);
            }
            model.data[k] = was;
        }
        ir_text_release(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_and_walks),
        cmocka_unit_test(numbers_are_rounded_once),
        cmocka_unit_test(strings),
        cmocka_unit_test(places),
        cmocka_unit_test(ubjson_values),
        cmocka_unit_test(nesting),
        cmocka_unit_test(truncation_at_every_byte),
        cmocka_unit_test(damage_at_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
