/* test_text.c: strings that grow, and numbers to and from text. With a number
 * as its argument, so many millions of random floats instead of half a one. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t n_random = 500000;

static const char *end_of(const char *s)
{
    return s + strlen(s);
}

/* ------------------------------------------------------------ doubles -- */

static double f64_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static float f32_of(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* How many digits the decimal has, zeros at both ends aside. */
static int digits_of(const char *s)
{
    int n = 0, zeros = 0;
    for (; *s && *s != 'e'; s++) {
        if (*s < '0' || *s > '9' || (*s == '0' && n == 0))
            continue;
        n++;
        zeros = *s == '0' ? zeros + 1 : 0;
    }
    return n - zeros;
}

/* Whether v's nearest decimal of n digits reads back as v. */
static bool fits(double v, int n)
{
    char text[40];
    snprintf(text, sizeof(text), "%.*e", n - 1, v);
    return n > 0 && strtod(text, NULL) == v;
}

static bool fits_float(float v, int n)
{
    char text[40];
    snprintf(text, sizeof(text), "%.*e", n - 1, (double)v);
    return n > 0 && strtof(text, NULL) == v;
}

static void check_double(double v, bool shortest)
{
    struct ir_text text;
    double back = 1;
    ir_text_init(&text);
    ir_text_double(&text, v);
    assert_true(ir_parse_double(text.data, text.data + text.length, &back));
    if (isnan(v)) {
        assert_string_equal(text.data, "nan");
        assert_true(isnan(back) && !signbit(back));
    } else {
        assert_memory_equal(&back, &v, sizeof(v));
        assert_true(strtod(text.data, NULL) == v);
        const int n = digits_of(text.data);
        if (shortest && isfinite(v) && fits(v, n - 1))
            fail_msg("%s is not the shortest", text.data);
    }
    ir_text_release(&text);
}

static void check_float(float v, bool shortest)
{
    struct ir_text text;
    float back = 1;
    ir_text_init(&text);
    ir_text_float(&text, v);
    assert_true(ir_parse_float(text.data, text.data + text.length, &back));
    if (isnan(v)) {
        assert_string_equal(text.data, "nan");
        assert_true(isnan(back) && !signbit(back));
    } else {
        assert_memory_equal(&back, &v, sizeof(v));
        const int n = digits_of(text.data);
        const bool whole = fabsf(v) < 1e9f && truncf(v) == v;
        if (shortest && isfinite(v) && !whole && fits_float(v, n - 1))
            fail_msg("%s is not the shortest", text.data);
    }
    ir_text_release(&text);
}

static void every_exponent_reads_back(void **state)
{
    static const uint64_t fractions[] = {
        0, 1, 2, 0xfffffffffffff, 0xffffffffffffe, 0x8000000000000,
        0x7ffffffffffff, 0x5555555555555, 0x123456789abcd};
    (void)state;
    for (uint64_t e = 0; e < 2048; e++)
        for (size_t i = 0; i < sizeof(fractions) / 8; i++)
            for (uint64_t sign = 0; sign < 2; sign++)
                check_double(f64_of(sign << 63 | e << 52 | fractions[i]),
                             true);
    for (uint32_t e = 0; e < 256; e++)
        for (uint32_t i = 0; i < 9; i++)
            for (uint32_t sign = 0; sign < 2; sign++)
                check_float(f32_of(sign << 31 | e << 23 |
                                   (uint32_t)(fractions[i] >> (i > 2) * 29)),
                            true);
}

static void random_bits_read_back(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < n_random; i++) {
        const uint64_t r = ir_random(7, i);
        check_double(f64_of(r), i % 4 == 0);
        check_float(f32_of((uint32_t)(r >> 17)), i % 4 == 0);
    }
}

/* The shapes that data has: few digits, whole numbers, sums of them. */
static void common_numbers_read_back(void **state)
{
    char want[40];
    (void)state;
    for (uint64_t i = 0; i < n_random / 4; i++) {
        const uint64_t r = ir_random(8, i);
        const double few = (double)(int64_t)(r % 2000001 - 1000000) / 1000;
        struct ir_text text;
        check_double(few, true);
        check_double(few + 0.1, true);
        check_float((float)few, true);
        check_double((double)(int64_t)r, true);
        const int64_t whole = (int64_t)r >> (r % 40 + 24);
        snprintf(want, sizeof(want), "%lld", (long long)whole);
        ir_text_init(&text);
        ir_text_double(&text, (double)whole);
        if (llabs(whole) < 1000000000)
            assert_string_equal(text.data, want);
        ir_text_release(&text);
    }
}

static void numbers_as_text(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"}, {-0.0, "-0"}, {1, "1"}, {-1.5, "-1.5"}, {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"}, {1e21, "1e+21"}, {1e22, "1e+22"},
        {123456789, "123456789"}, {5e-324, "5e-324"}, {1e-310, "1e-310"},
        {DBL_MAX, "1.7976931348623157e+308"}, {INFINITY, "inf"},
        {-INFINITY, "-inf"}, {NAN, "nan"}, {-NAN, "nan"},
        {9007199254740993.0, "9007199254740992"}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ir_text text;
        ir_text_init(&text);
        ir_text_double(&text, cases[i].value);
        assert_string_equal(text.data, cases[i].text);
        ir_text_release(&text);
    }
}

static void numbers_from_text(void **state)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0}, {"-0", -0.0}, {"007", 7}, {"5.", 5}, {".5", 0.5},
        {"0.", 0}, {"+5", 5}, {"1e3", 1000}, {"1E-3", 0.001}, {"0x1p-3", 0.125},
        {"-0X1.8P1", -3}, {"inf", INFINITY}, {"-inf", -INFINITY},
        {"infinity", INFINITY}, {"1e400", INFINITY}, {"1e-400", 0},
        {"123456789012345", 123456789012345.0},
        {"1234567890123456", 1234567890123456.0},
        {"9007199254740993", 9007199254740992.0},
        {"0.000000000000000000000123", 1.23e-22},
        {"0.0000000000000000000000123", 1.23e-23},
        {"2.2250738585072011e-308", 0x1p-1022 - 0x1p-1074},
        {"0.500000000000000166533453693773481063544750213623046875",
         0.5 + 0x1p-53 + 0x1p-53},
    };
    static const char *const bad[] = {
        "", "-", "+", ".", "-.", "e5", "1e", "1e+", "0x", "0x1p", "1.2.3",
        "1-2", "--1", "nan(1)", " 1", "1 ", "1,5", "infx", "1f", "\xd9\xa1"};
    double v;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        v = 99;
        assert_true(ir_parse_double(good[i].text, end_of(good[i].text), &v));
        assert_memory_equal(&v, &good[i].value, 8);
    }
    const char *nan = "NaN";
    assert_true(ir_parse_double(nan, end_of(nan), &v) && isnan(v));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (ir_parse_double(bad[i], end_of(bad[i]), &v))
            fail_msg("'%s' was read as %g", bad[i], v);
}

/* The end counts, not a NUL; and an input of any length is read. */
static void the_end_is_the_end(void **state)
{
    char digits[300];
    double v;
    int64_t i;
    (void)state;
    const char *s = "123.5e7";
    assert_true(ir_parse_double(s, s + 3, &v));
    assert_true(v == 123);
    assert_true(ir_parse_double(s, s + 5, &v));
    assert_true(v == 123.5);
    assert_true(ir_parse_int(s, s + 2, &i));
    assert_int_equal(i, 12);
    memset(digits, '3', sizeof(digits));
    digits[1] = '.';
    assert_true(ir_parse_double(digits, digits + sizeof(digits), &v));
    assert_true(v == 10.0 / 3);
}

/* As a double it lies in the middle of two floats, which it does not. */
static void floats_are_rounded_once(void **state)
{
    static const char *const text[] = {
        "7.038531e-26", "1.17549427321e-38", "0.500000089406967163085938",
        "16777217.0000000001", "3.4028235677973366e38", "1.4e-45", "inf"};
    (void)state;
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
        float got = 0;
        const float want = strtof(text[i], NULL);
        assert_true(ir_parse_float(text[i], end_of(text[i]), &got));
        assert_memory_equal(&got, &want, 4);
    }
    double v;
    float once = 0;
    assert_true(ir_parse_double(text[0], end_of(text[0]), &v));
    assert_true(ir_parse_float(text[0], end_of(text[0]), &once));
    assert_true((float)v != once);
}

static void whole_numbers(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0}, {"-0", 0}, {"007", 7},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {
        "", "-", "+1", " 1", "1 ", "1.0", "0x1", "9223372036854775808",
        "-9223372036854775809", "18446744073709551616", "1e3", "--1"};
    int64_t v;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(ir_parse_int(good[i].text, end_of(good[i].text), &v));
        assert_int_equal(v, good[i].value);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(ir_parse_int(bad[i], end_of(bad[i]), &v));
}

/* ------------------------------------------------------------- strings -- */

static void strings_grow(void **state)
{
    struct ir_text text;
    (void)state;
    ir_text_init(&text);
    assert_null(text.data);
    ir_text_append(&text, "", 0);
    assert_string_equal(text.data, "");
    for (int i = 0; i < 10000; i++)
        ir_text_printf(&text, "%04d", i);
    assert_int_equal(text.length, 40000);
    assert_int_equal(strlen(text.data), 40000);
    assert_memory_equal(text.data + 4 * 1234, "12341235", 8);
    ir_text_append(&text, "a\0b", 3);
    assert_int_equal(text.length, 40003);
    ir_text_release(&text);
    assert_null(text.data);
}

static void quotes(void **state)
{
    static const struct {
        const char *raw, *quoted;
    } cases[] = {
        {"", "\"\""}, {"a b", "\"a b\""}, {"\"\\\n\t", "\"\\\"\\\\\\n\\t\""},
        {"\x01\x1f\x7f", "\"\\x01\\x1f\\x7f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", /* kept as they are */
         "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xc3", "\"\\xc3\""}, {"\xc3z", "\"\\xc3z\""}, {"\x80", "\"\\x80\""},
        {"\xe2\x82", "\"\\xe2\\x82\""}, {"\xff\xfe", "\"\\xff\\xfe\""},
        {"\xc0\x80", "\"\\xc0\\x80\""}, {"\xc1\xbf", "\"\\xc1\\xbf\""},
        {"\xe0\x9f\xbf", "\"\\xe0\\x9f\\xbf\""},         /* overlong */
        {"\xf0\x8f\xbf\xbf", "\"\\xf0\\x8f\\xbf\\xbf\""}, /* overlong */
        {"\xed\xa0\x80", "\"\\xed\\xa0\\x80\""},         /* a surrogate */
        {"\xf4\x90\x80\x80", "\"\\xf4\\x90\\x80\\x80\""}, /* U+110000 */
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ir_text text;
        ir_text_init(&text);
        ir_text_quoted(&text, cases[i].raw);
        assert_string_equal(text.data, cases[i].quoted);
        ir_text_release(&text);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_exponent_reads_back),
        cmocka_unit_test(random_bits_read_back),
        cmocka_unit_test(common_numbers_read_back),
        cmocka_unit_test(numbers_as_text),
        cmocka_unit_test(numbers_from_text),
        cmocka_unit_test(the_end_is_the_end),
        cmocka_unit_test(floats_are_rounded_once),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(strings_grow),
        cmocka_unit_test(quotes),
    };
    if (argc > 1)
        n_random = strtoull(argv[1], NULL, 10) * 1000000;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
