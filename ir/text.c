/* text.c: strings that grow, and numbers to and from text. The process never
 * calls setlocale(), so printf and strtod speak the C locale. */
#include "ir/ir.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void ir_text_init(struct ir_text *text)
{
    *text = (struct ir_text){0};
}

void ir_text_release(struct ir_text *text)
{
    free(text->data);
    ir_text_init(text);
}

static void reserve(struct ir_text *text, size_t more)
{
    if (more > SIZE_MAX / 4 || text->length > SIZE_MAX / 4)
        ir_out_of_memory();
    const size_t need = text->length + more + 1;
    if (need <= text->capacity)
        return;
    const size_t twice = text->capacity * 2;
    text->capacity = need > twice ? need + 32 : twice;
    text->data = ir_realloc_array(text->data, text->capacity, 1);
}

void ir_text_append(struct ir_text *text, const void *bytes, size_t n)
{
    reserve(text, n);
    memcpy(text->data + text->length, bytes, n);
    text->length += n;
    text->data[text->length] = '\0';
}

void ir_text_puts(struct ir_text *text, const char *s)
{
    ir_text_append(text, s, strlen(s));
}

void ir_text_printf(struct ir_text *text, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        ir_bug("a format that cannot be printed: %s", fmt);
    reserve(text, (size_t)n);
    va_start(args, fmt);
    vsnprintf(text->data + text->length, (size_t)n + 1, fmt, args);
    va_end(args);
    text->length += (size_t)n;
}

/* NaN and infinities; false for a finite number. */
static bool put_special(struct ir_text *text, double value)
{
    if (isfinite(value))
        return false;
    ir_text_puts(text, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
    return true;
}

/* Small whole numbers, which most of a model's numbers are, need no search. */
static bool put_whole(struct ir_text *text, double value)
{
    if (!(fabs(value) < 1e9) || value != (double)(int32_t)value ||
        (value == 0 && signbit(value)))
        return false;
    ir_text_printf(text, "%d", (int)value);
    return true;
}

/* A decimal of 15 digits survives a normal double, so when one of 15 reads
 * back it is also the shortest, once %g dropped its zeros; 17 always read back.
 * Subnormals have fewer digits. */
void ir_text_double(struct ir_text *text, double value)
{
    char digits[40];
    if (put_special(text, value) || put_whole(text, value))
        return;
    const int fewest = fabs(value) < DBL_MIN ? 1 : 15;
    for (int precision = fewest; precision <= 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, value);
        if (precision == 17 || strtod(digits, NULL) == value)
            break;
    }
    ir_text_puts(text, digits);
}

void ir_text_float(struct ir_text *text, float value)
{
    char digits[40];
    if (put_special(text, (double)value) || put_whole(text, (double)value))
        return;
    const int fewest = fabsf(value) < FLT_MIN ? 1 : 6;
    for (int precision = fewest; precision <= 9; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, (double)value);
        if (precision == 9 || strtof(digits, NULL) == value)
            break;
    }
    ir_text_puts(text, digits);
}

size_t ir_utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    const size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    uint32_t code = s[0] & (0x7fu >> n);
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    const bool odd = (n == 3 && code < 0x800) || (n == 4 && code < 0x10000) ||
                     code > 0x10ffff || (code >= 0xd800 && code < 0xe000);
    return odd ? 0 : n;
}

void ir_text_quoted(struct ir_text *text, const char *s)
{
    size_t n;
    ir_text_puts(text, "\"");
    for (; *s; s += n ? n : 1) {
        const unsigned char c = (unsigned char)*s;
        n = ir_utf8_length(s);
        if (c == '"' || c == '\\')
            ir_text_printf(text, "\\%c", c);
        else if (c == '\n')
            ir_text_puts(text, "\\n");
        else if (c == '\t')
            ir_text_puts(text, "\\t");
        else if (c < ' ' || c == 0x7f || n == 0)
            ir_text_printf(text, "\\x%02x", c);
        else
            ir_text_append(text, s, n);
    }
    ir_text_puts(text, "\"");
}

/* Exact for up to 15 digits and a power of ten up to 22: both are doubles
 * without an error, and the one operation rounds correctly (Clinger 1990). */
static bool parse_fast(const char *s, const char *end, double *value)
{
    static const double power[] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const bool minus = s < end && *s == '-';
    uint64_t digits = 0;
    int n = 0, scale = 0;
    bool point = false;
    s += minus;
    if (s == end)
        return false;
    for (; s < end; s++) {
        if (*s == '.' && !point) {
            point = true;
        } else if (*s >= '0' && *s <= '9') {
            digits = digits * 10 + (uint64_t)(*s - '0');
            n += digits != 0;
            scale += point;
        } else {
            return false;
        }
        if (n > 15 || scale > 22)
            return false;
    }
    if (n == 0 && digits == 0 && s[-1] == '.')
        return false;
    const double v = (double)digits / power[scale];
    *value = minus ? -v : v;
    return true;
}

static bool is_number_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || c == '+' || c == '-' || c == '.';
}

/* strtod or strtof over all of [s, end). */
static bool parse_slow(const char *s, const char *end, double *value,
                       float *single)
{
    char small[64], *copy = small, *stop;
    if (s == end)
        return false;
    /* strtod would skip spaces and take "nan(...)": refuse both here. */
    for (const char *p = s; p < end; p++)
        if (!is_number_byte(*p))
            return false;
    const size_t n = (size_t)(end - s);
    if (n >= sizeof(small))
        copy = ir_realloc_array(NULL, n + 1, 1);
    memcpy(copy, s, n);
    copy[n] = '\0';
    if (single)
        *single = strtof(copy, &stop);
    else
        *value = strtod(copy, &stop);
    const bool all = *stop == '\0';
    if (copy != small)
        free(copy);
    return all;
}

bool ir_parse_double(const char *s, const char *end, double *value)
{
    return parse_fast(s, end, value) || parse_slow(s, end, value, NULL);
}

/* Rounding to a double first is harmless only where the double is a float. */
bool ir_parse_float(const char *s, const char *end, float *value)
{
    double v;
    if (parse_fast(s, end, &v) && (double)(float)v == v) {
        *value = (float)v;
        return true;
    }
    return parse_slow(s, end, NULL, value);
}

bool ir_parse_int(const char *s, const char *end, int64_t *value)
{
    const bool minus = s < end && *s == '-';
    uint64_t v = 0;
    s += minus;
    if (s == end)
        return false;
    for (; s < end; s++) {
        if (*s < '0' || *s > '9')
            return false;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return false;
    }
    if (v > (uint64_t)INT64_MAX + minus)
        return false;
    *value = minus ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}
