/* gen_values.c: bytes -> ops on values, and what the generator is made of: see
 * gen_parts.h. */
#include "fuzz/gen_parts.h"

#include <float.h>
#include <math.h>

/* ------------------------------------------------------------- reading -- */

unsigned gen_at(struct gen_bytes b, size_t i)
{
    return i < b.size ? b.data[i] : 0;
}

unsigned gen_pair_at(struct gen_bytes b, size_t i)
{
    return gen_at(b, i) | gen_at(b, i + 1) << 8;
}

/* A number as odd as `kind` (5 bits) says; `payload` is of 16 bits. */
double gen_odd_number(unsigned kind, unsigned payload, double zero_bound,
                         double previous)
{
    switch (kind & 31) {
    case 1: return -0.0;
    case 2: return INFINITY;
    case 3: return -INFINITY;
    case 4: return 4.9e-324;
    case 5: return -4.9e-324;
    case 6: return DBL_MAX;
    case 7: return -DBL_MAX;
    case 8: return FLT_MAX;
    case 9: return zero_bound;
    case 10: return -zero_bound;
    case 11: return nextafter(zero_bound, INFINITY);
    case 12: return nextafter(-zero_bound, -INFINITY);
    case 13: return previous;
    case 14: return nextafter(previous, INFINITY);
    case 15: return nextafter(previous, -INFINITY);
    case 16: return 1e-45f;
    case 17: return nextafterf((float)previous, INFINITY);
    case 18: return nextafterf((float)previous, -INFINITY);
    case 19: return -(double)nextafterf((float)zero_bound, -INFINITY);
    case 20: return ldexp((double)payload, (int)(payload >> 8) - 128);
    case 21: return -ldexp((double)payload, (int)(payload >> 8) - 128);
    case 22: return (int16_t)payload / 3.0;
    case 23: return (int16_t)payload;
    default: return (int8_t)payload / 8.0;
    }
}

/* ------------------------------------------------------------- modules -- */

struct ir_value *gen_checked(struct ir_op *op, struct ir_diag *diag)
{
    if (!op) {
        ir_diag_print(diag, stderr);
        ir_bug("the generator made a bad op");
    }
    return &op->result[0];
}

struct ir_value *gen_op(struct ir_module *module, enum ir_op_kind kind,
                               int n, struct ir_value *const *x, int n_attrs,
                               const struct ir_attr *attrs,
                               struct ir_diag *diag)
{
    return gen_checked(ir_add_op(module, kind, n, x, n_attrs, attrs, diag),
                       diag);
}

struct ir_value *gen_input(struct ir_module *module, int first,
                                  int count, bool narrow,
                                  struct ir_diag *diag)
{
    const struct ir_attr attrs[] = {ir_int("first", first),
                                    ir_int("count", count),
                                    ir_string("dtype", narrow ? "f32" : "f64")};
    return gen_op(module, IR_OP_input, 0, NULL, 3, attrs, diag);
}

void gen_output(struct ir_module *module, const char *kind,
                       struct ir_value *value)
{
    struct ir_text name;
    ir_text_init(&name);
    ir_text_printf(&name, "%s%d", kind, module->n_outputs);
    ir_add_output(module, name.data, value);
    ir_text_release(&name);
}

/* --------------------------------------------------------------- values -- */

enum { max_values = 24, program_bytes = 4, max_width = gen_max_width };

/* Values that ops may take: all but those of i32. */
struct values {
    struct gen_bytes bytes;
    struct ir_module *module;
    struct ir_diag *diag;
    int n;
    struct ir_value *at[max_values + 1];
};

/* Four bytes, half a byte a step; a step that finds too few values is left
 * out, and values left at the end are added up. True when the result is 0, 1
 * or -1. */
static bool write_program(struct gen_bytes b, size_t at_byte, int n_operands,
                          struct ir_text *program)
{
    static const char *const unary[] = {"neg", "abs", "sign", "sqrt", "exp",
                                        "log1p"};
    static const char *const binary[] = {"sub", "mul", "div", "min", "max",
                                         "gt"};
    int depth = 1;
    bool is_small = false;
    ir_text_puts(program, "x0");
    for (size_t i = 0; i < 2 * program_bytes; i++) {
        const unsigned step =
            gen_at(b, at_byte + i / 2) >> (i % 2 ? 4 : 0) & 15;
        if (step < 4) { /* 3: a number */
            if (step == 3)
                ir_text_printf(program, " %d", (int)(i % 3) - 1);
            else
                ir_text_printf(program, " x%d", (int)step % n_operands);
            depth++;
            is_small = false;
        } else if (step < 10) {
            ir_text_printf(program, " %s", unary[step - 4]);
            is_small = step == 6;
        } else if (depth >= 2) {
            ir_text_printf(program, " %s", binary[step - 10]);
            depth--;
            is_small = step == 15;
        }
    }
    for (; depth > 1; depth--) {
        ir_text_puts(program, " add");
        is_small = false;
    }
    return is_small;
}

/* The same with a byte a step, out of all of them. */
static void write_long_program(struct gen_bytes b, size_t at_byte,
                               int n_operands, struct ir_text *program)
{
    static const char *const steps[] = {
        "neg", "abs", "sign", "sqrt", "exp", "log1p", "log", "expm1", "tanh",
        "floor", "rint", "isnan", "add", "sub", "mul", "div", "min", "max",
        "pow", "gt", "ge", "lt", "le", "eq", "where"};
    /* Instead of the first ones, with the top bits of the byte. */
    static const char *const more[] = {
        "sigmoid", "softplus", "erf",      "sin",        "cos",
        "tan",     "ceil",     "fast_exp", "fast_expm1", "fast_log",
        "atan"};
    enum {
        n_steps = sizeof(steps) / sizeof(steps[0]),
        n_unary = 12,
        n_more = sizeof(more) / sizeof(more[0])
    };
    int depth = 1;
    ir_text_puts(program, "x0");
    for (size_t i = 0; i < program_bytes; i++) {
        const unsigned byte = gen_at(b, at_byte + i);
        const unsigned step = byte % (n_steps + 7);
        const int taken = step < n_unary ? 1 : step < n_steps - 1 ? 2 : 3;
        if (step >= n_steps) {
            if (step < n_steps + 4)
                ir_text_printf(program, " x%d", (int)(byte / 32) % n_operands);
            else
                ir_text_printf(program, " %g", (byte / 32 - 3.0) / 2);
            depth++;
        } else if (depth >= taken) {
            ir_text_printf(program, " %s%s",
                           byte >= 192 && steps[step][0] == 'p' ? "fast_" : "",
                           byte >= 192 && step < n_more ? more[step]
                                                        : steps[step]);
            depth -= taken - 1;
        }
    }
    for (; depth > 1; depth--)
        ir_text_puts(program, " add");
}

static struct ir_value *chosen(const struct values *v, unsigned n)
{
    return v->at[n % (unsigned)v->n];
}

/* Whether `y` may be an operand of a map beside those of `largest` elements. */
static bool fits(const struct ir_value *x, const struct ir_value *y,
                 int64_t largest)
{
    const int64_t n = ir_type_volume(&y->type);
    return y->type.dtype == x->type.dtype &&
           (n == 1 || largest == 1 || n == largest);
}

/* Bytes 1 to 3: the operands, and in the first one's top bits the dtype and
 * which kind of program it is. */
static struct ir_value *add_map(struct values *v, size_t r)
{
    const struct gen_bytes b = v->bytes;
    struct ir_value *x[3] = {chosen(v, gen_at(b, r + 1) & 31)};
    int64_t largest = ir_type_volume(&x[0]->type);
    int n = 1;
    for (size_t i = 2; i < 4; i++) {
        struct ir_value *y = chosen(v, gen_at(b, r + i));
        if (!gen_at(b, r + i) || !fits(x[0], y, largest))
            continue;
        x[n++] = y;
        if (ir_type_volume(&y->type) > largest)
            largest = ir_type_volume(&y->type);
    }
    struct ir_text program;
    ir_text_init(&program);
    bool is_small = false;
    if (gen_at(b, r + 1) & 0x20)
        write_long_program(b, r + 4, n, &program);
    else
        is_small = write_program(b, r + 4, n, &program);
    const char *dtype = gen_at(b, r + 1) & 0x80 && is_small ? "i32"
                        : gen_at(b, r + 1) & 0x40           ? "f32" : "f64";
    const struct ir_attr attrs[] = {ir_string("program", program.data),
                                    ir_string("dtype", dtype)};
    struct ir_value *y = gen_op(v->module, IR_OP_map, n, x, 2, attrs, v->diag);
    ir_text_release(&program);
    return y;
}

/* n numbers of `dtype` out of the record's last four bytes, as a tensor. They
 * ascend, and with `strict` differ. */
static const struct ir_tensor *numbers(struct values *v, size_t r,
                                       enum ir_dtype dtype, int n, bool strict)
{
    double number[4];
    float narrow[4];
    double previous = 0;
    for (int i = 0; i < n; i++) {
        const unsigned byte = gen_at(v->bytes, r + 4 + (size_t)i);
        double x = gen_odd_number(byte, byte >> 3, 1e-35f, previous);
        if (!(fabs(x) < 1e30))
            x = (double)byte / 4 - 20;
        if (dtype == IR_F32)
            x = (float)x;
        if (i > 0 && !(strict ? x > previous : x >= previous))
            x = previous + (strict ? 1 + fabs(previous) : 0);
        if (dtype == IR_F32)
            x = (float)x;
        number[i] = previous = x;
        narrow[i] = (float)x;
    }
    return ir_tensor_copy(v->module, dtype, n,
                          dtype == IR_F32 ? (const void *)narrow : number);
}

static struct ir_value *add_constant(struct values *v, size_t r)
{
    const enum ir_dtype dtype = gen_at(v->bytes, r + 1) & 1 ? IR_F32 : IR_F64;
    const int n = 1 + (gen_at(v->bytes, r + 2) & 3);
    const struct ir_attr attr =
        ir_tensor_attr("value", numbers(v, r, dtype, n, false));
    return gen_op(v->module, IR_OP_constant, 0, NULL, 1, &attr, v->diag);
}

static struct ir_value *add_gather(struct values *v, size_t r)
{
    struct ir_value *x = chosen(v, gen_at(v->bytes, r + 1));
    const int n = 1 + (gen_at(v->bytes, r + 2) & 3);
    int32_t index[4];
    for (int i = 0; i < n; i++)
        index[i] = (int32_t)(gen_at(v->bytes, r + 4 + (size_t)i) %
                             (unsigned)ir_type_volume(&x->type));
    const struct ir_attr attr = ir_tensor_attr(
        "index", ir_tensor_copy(v->module, IR_I32, n, index));
    return gen_op(v->module, IR_OP_gather, 1, &x, 1, &attr, v->diag);
}

/* The values of bytes 1 to 4 that are of the first one's dtype. */
static struct ir_value *add_concat(struct values *v, size_t r)
{
    struct ir_value *x[4];
    int64_t width = 0;
    int n = 0;
    for (size_t i = 1; i < 5; i++) {
        struct ir_value *y = chosen(v, gen_at(v->bytes, r + i));
        if (n > 0 && (y->type.dtype != x[0]->type.dtype ||
                      width + ir_type_volume(&y->type) > max_width))
            continue;
        width += ir_type_volume(&y->type);
        x[n++] = y;
    }
    return gen_op(v->module, IR_OP_concat, n, x, 0, NULL, v->diag);
}

static struct ir_value *add_lookup(struct values *v, size_t r)
{
    struct ir_value *x = chosen(v, gen_at(v->bytes, r + 1));
    const enum ir_dtype to = gen_at(v->bytes, r + 2) & 4 ? IR_F32 : IR_F64;
    const int n = 1 + (gen_at(v->bytes, r + 2) & 3);
    const double values[] = {1, -0.0, 2.5, NAN};
    const float narrow[] = {1, -0.0f, 2.5f, NAN};
    const struct ir_attr attrs[] = {
        ir_tensor_attr("keys", numbers(v, r, x->type.dtype, n, true)),
        ir_tensor_attr("values",
                       ir_tensor_copy(v->module, to, n,
                                      to == IR_F32 ? (const void *)narrow
                                                   : values)),
        ir_float("default", (int8_t)gen_at(v->bytes, r + 3) / 2.0)};
    return gen_op(v->module, IR_OP_lookup, 1, &x, 3, attrs, v->diag);
}

/* Its keys are what one number of 0, 1 or 2 hashes to; NULL for an f32. */
static struct ir_value *add_hash_lookup(struct values *v, size_t r)
{
    struct ir_value *x = chosen(v, gen_at(v->bytes, r + 1));
    const int64_t m = 1 + gen_at(v->bytes, r + 2);
    const int64_t keys[] = {0, m * m, 2 * m * m};
    const double values[] = {1, -0.0, 2.5, NAN, -3, 7};
    const double other[] = {0.5, (int8_t)gen_at(v->bytes, r + 3)};
    const int width = 1 + (gen_at(v->bytes, r + 4) & 1);
    if (x->type.dtype != IR_F64)
        return NULL;
    const struct ir_attr attrs[] = {
        ir_int("multiplier", m),
        ir_tensor_attr("keys", ir_tensor_copy(v->module, IR_I64, 3, keys)),
        ir_tensor_attr("values", ir_tensor_copy(v->module, IR_F64, 3 * width,
                                                values)),
        ir_tensor_attr("default", ir_tensor_copy(v->module, IR_F64, width,
                                                 other))};
    return gen_op(v->module, IR_OP_hash_lookup, 1, &x, 4, attrs, v->diag);
}

static struct ir_value *add_bucketize(struct values *v, size_t r)
{
    struct ir_value *x = chosen(v, gen_at(v->bytes, r + 1));
    const int n = 1 + (gen_at(v->bytes, r + 2) & 3);
    const struct ir_attr attrs[] = {
        ir_tensor_attr("edges", numbers(v, r, x->type.dtype, n, false)),
        ir_int("right", gen_at(v->bytes, r + 3) & 1)};
    return gen_op(v->module, IR_OP_bucketize, 1, &x, 2, attrs, v->diag);
}

static struct ir_value *add_interp(struct values *v, size_t r)
{
    struct ir_value *x = chosen(v, gen_at(v->bytes, r + 1));
    const enum ir_dtype dtype = x->type.dtype;
    const int n = 1 + (gen_at(v->bytes, r + 2) & 3);
    /* The line rises, or goes up and down. */
    const double y[][4] = {{-1, 0, 0, 3}, {0, 1, -1, 0.5}};
    const float narrow[][4] = {{-1, 0, 0, 3}, {0, 1, -1, 0.5f}};
    const int k = gen_at(v->bytes, r + 3) & 1;
    const struct ir_attr attrs[] = {
        ir_tensor_attr("x", numbers(v, r, dtype, n, false)),
        ir_tensor_attr("y",
                       ir_tensor_copy(v->module, dtype, n,
                                      dtype == IR_F32 ? (const void *)narrow[k]
                                                      : y[k]))};
    return gen_op(v->module, IR_OP_interp, 1, &x, 2, attrs, v->diag);
}

static struct ir_value *add_dense(struct values *v, size_t r)
{
    struct ir_value *x = chosen(v, gen_at(v->bytes, r + 1));
    const enum ir_dtype dtype = x->type.dtype;
    const int64_t n_in = ir_type_volume(&x->type);
    const int n_out = 1 + (gen_at(v->bytes, r + 2) & 3);
    double weight[4 * max_width];
    float narrow[4 * max_width];
    for (int64_t i = 0; i < n_out * n_in; i++) {
        weight[i] = (int8_t)gen_at(v->bytes, r + 3 + (size_t)i % 5) / 3.0;
        narrow[i] = (float)weight[i];
    }
    const bool is_f32 = dtype == IR_F32;
    struct ir_tensor *w = ir_alloc(&v->module->arena, sizeof(*w));
    *w = *ir_tensor_copy(v->module, dtype, n_out * n_in,
                         is_f32 ? (const void *)narrow : weight);
    w->type = (struct ir_type){dtype, 2, {n_out, n_in}};
    struct ir_attr attrs[] = {
        ir_tensor_attr("weights", w),
        ir_tensor_attr("bias", numbers(v, r, dtype, n_out, false))};
    return gen_op(v->module, IR_OP_dense, 1, &x,
                  gen_at(v->bytes, r + 2) & 4 ? 2 : 1, attrs, v->diag);
}

static struct ir_value *add_reduce(struct values *v, size_t r, unsigned what)
{
    static const char *const kinds[] = {"max", "sum", "argmax", "min"};
    struct ir_value *x = chosen(v, gen_at(v->bytes, r + 1));
    const unsigned more = gen_at(v->bytes, r + 2);
    const struct ir_attr attrs[] = {
        ir_string("kind", kinds[more & 4 ? 3 : what]),
        ir_string("sum_dtype", more & 2 ? "f32" : "f64")};
    return gen_op(v->module, IR_OP_reduce, 1, &x, more & 1 ? 2 : 1, attrs,
                  v->diag);
}

/* An op on values before it. Bits 5 to 7 of byte 0 say which; when they are 0
 * its lowest four do: a map, a reduce, a hash_lookup or an input. Byte 1 is the
 * operand. */
static struct ir_value *add_value(struct values *v, size_t r)
{
    static struct ir_value *(*const ops[])(struct values *, size_t) = {
        NULL, add_constant, add_gather, add_concat, add_lookup, add_bucketize,
        add_interp, add_dense};
    const unsigned head = gen_at(v->bytes, r), what = head & 15;
    if (head >> 5)
        return ops[head >> 5](v, r);
    if (what < 10 || what == 12)
        return add_map(v, r);
    if (what < 12)
        return add_reduce(v, r, what - 10);
    struct ir_value *found = what == 15 ? add_hash_lookup(v, r) : NULL;
    if (found)
        return found;
    const unsigned first =
        gen_at(v->bytes, r + 1) % (unsigned)v->module->n_columns;
    return gen_input(v->module, (int)first,
                     what == 13 ? 1 : v->module->n_columns - (int)first,
                     gen_at(v->bytes, r + 2) & 1, v->diag);
}

static bool may_be_read(const struct ir_value *value)
{
    return value->type.dtype != IR_I32 &&
           ir_type_volume(&value->type) <= max_width;
}

void gen_values(struct ir_module *module, struct gen_bytes b, size_t n,
                         struct ir_diag *diag)
{
    struct values v = {.bytes = b, .module = module, .diag = diag};
    struct ir_value *last = gen_input(module, 0, module->n_columns,
                                      gen_at(b, 0) & 1, diag);
    v.at[v.n++] = last;
    n = n < max_values ? n : max_values;
    for (size_t i = 0; i < n; i++) {
        const size_t r = gen_header_bytes + i * gen_record_bytes;
        last = add_value(&v, r);
        if (may_be_read(last))
            v.at[v.n++] = last;
        if ((gen_at(b, r) & 0x10) && i + 1 < n)
            gen_output(module, "value", last);
    }
    gen_output(module, "value", last);
}

struct ir_value *gen_preprocess(struct ir_module *module, struct gen_bytes b,
                                struct ir_value *x, size_t n,
                                struct ir_diag *diag)
{
    struct values v = {.bytes = b, .module = module, .diag = diag};
    v.at[v.n++] = x;
    for (size_t i = 0; i < n && v.n <= max_values; i++) {
        const size_t r = gen_header_bytes + i * gen_record_bytes;
        if ((gen_at(b, r) & 15) != 12)
            continue;
        struct ir_value *y = add_value(&v, r);
        if (!may_be_read(y))
            continue;
        v.at[v.n++] = y;
        if (y->type.rank == 1)
            x = y;
    }
    return x;
}
