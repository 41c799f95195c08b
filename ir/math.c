/* math.c: the elementary functions as the interpreter computes them, and the
 * postfix programs of maps. */
#include "ir/ir_impl.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static double as_float(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint64_t as_int(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

#define MATH_F double
#define MATH_I uint64_t
#define MATH_B bool
#define MATH_PARAM
#define MATH_ARG
#define CONST(c) (c)
#define ICONST(c) (c)
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define FMA(a, b, c) fma(a, b, c)
#define LT(a, b) ((a) < (b))
#define SELECT(c, x, y) ((c) ? (x) : (y))
#define AS_INT(f) as_int(f)
#define AS_FLOAT(i) as_float(i)
#define IADD(a, b) ((a) + (b))
#define AND(a, b) ((a) & (b))
#define SHL(i, n) ((i) << (n))
#define SHR(i, n) ((i) >> (n))
#define TABLE(name, i) name[i]
#include "ir/math.inc"
#include "ir/math_circle.inc"

/* The same of floats. */
static float as_narrow_float(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint32_t as_narrow_int(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

#undef MATH_F
#undef MATH_I
#undef CONST
#undef FMA
#undef AS_INT
#undef AS_FLOAT
#define MATH_F float
#define MATH_I uint32_t
#define CONST(c) ((float)(c))
#define FMA(a, b, c) fmaf(a, b, c)
#define AS_INT(f) as_narrow_int(f)
#define AS_FLOAT(i) as_narrow_float(i)
#include "ir/math_f32.inc"

double ir_exp(double x)
{
    return math_exp(x);
}

float ir_expf(float x)
{
    return (float)math_expf((double)x);
}

double ir_log1p(double x)
{
    return math_log1p(x);
}

double ir_log(double x)
{
    return math_log(x);
}

double ir_expm1(double x)
{
    return math_expm1(x);
}

double ir_tanh(double x)
{
    return math_tanh(x);
}

double ir_pow(double x, double y)
{
    return math_pow(x, y);
}

double ir_sigmoid(double x)
{
    return math_sigmoid(x);
}

double ir_softplus(double x)
{
    return math_softplus(x);
}

double ir_erf(double x)
{
    return math_erf(x);
}

double ir_sin(double x)
{
    return math_sin(x);
}

double ir_cos(double x)
{
    return math_cos(x);
}

double ir_tan(double x)
{
    return math_tan(x);
}

double ir_atan(double x)
{
    return math_atan(x);
}

float ir_tanhf(float x)
{
    return mathf_tanh(x);
}

float ir_sigmoidf(float x)
{
    return mathf_sigmoid(x);
}

float ir_softplusf(float x)
{
    return mathf_softplus(x);
}

float ir_erff(float x)
{
    return mathf_erf(x);
}

float ir_sinf(float x)
{
    return (float)math_sinf((double)x);
}

float ir_cosf(float x)
{
    return (float)math_cosf((double)x);
}

float ir_tanf(float x)
{
    return (float)math_tanf((double)x);
}

float ir_atanf(float x)
{
    return mathf_atan(x);
}

float ir_fast_expf(float x)
{
    return mathf_exp(x);
}

float ir_fast_expm1f(float x)
{
    return mathf_expm1(x);
}

float ir_fast_logf(float x)
{
    return mathf_log(x);
}

float ir_fast_powf(float x, float y)
{
    return (float)math_powf((double)x, (double)y);
}

/* ---------------------------------------------------------------- programs */

/* By step: its name and how many values it takes. */
static const struct {
    const char *name;
    int n_taken;
} steps_known[IR_N_STEPS] = {
    [IR_STEP_NEG] = {"neg", 1},     [IR_STEP_ABS] = {"abs", 1},
    [IR_STEP_SIGN] = {"sign", 1},   [IR_STEP_SQRT] = {"sqrt", 1},
    [IR_STEP_EXP] = {"exp", 1},     [IR_STEP_LOG1P] = {"log1p", 1},
    [IR_STEP_ADD] = {"add", 2},     [IR_STEP_SUB] = {"sub", 2},
    [IR_STEP_MUL] = {"mul", 2},     [IR_STEP_DIV] = {"div", 2},
    [IR_STEP_MIN] = {"min", 2},     [IR_STEP_MAX] = {"max", 2},
    [IR_STEP_LOG] = {"log", 1},     [IR_STEP_EXPM1] = {"expm1", 1},
    [IR_STEP_TANH] = {"tanh", 1},   [IR_STEP_POW] = {"pow", 2},
    [IR_STEP_FLOOR] = {"floor", 1}, [IR_STEP_RINT] = {"rint", 1},
    [IR_STEP_CEIL] = {"ceil", 1},   [IR_STEP_SIGMOID] = {"sigmoid", 1},
    [IR_STEP_ERF] = {"erf", 1},     [IR_STEP_SOFTPLUS] = {"softplus", 1},
    [IR_STEP_SIN] = {"sin", 1},     [IR_STEP_COS] = {"cos", 1},
    [IR_STEP_TAN] = {"tan", 1},     [IR_STEP_ATAN] = {"atan", 1},
    [IR_STEP_FAST_EXP] = {"fast_exp", 1},
    [IR_STEP_FAST_EXPM1] = {"fast_expm1", 1},
    [IR_STEP_FAST_LOG] = {"fast_log", 1},
    [IR_STEP_FAST_POW] = {"fast_pow", 2},
    [IR_STEP_ISNAN] = {"isnan", 1}, [IR_STEP_GT] = {"gt", 2},
    [IR_STEP_GE] = {"ge", 2},       [IR_STEP_LT] = {"lt", 2},
    [IR_STEP_LE] = {"le", 2},       [IR_STEP_EQ] = {"eq", 2},
    [IR_STEP_WHERE] = {"where", 3},
};

int ir_step_operands(enum ir_step_kind kind)
{
    return steps_known[kind].n_taken;
}

/* One word as a step; false when it is none. */
static bool read_step(const char *word, size_t n, const struct ir_op *op,
                      struct ir_step *step)
{
    if (n == 2 && word[0] == 'x' && word[1] >= '0' && word[1] <= '3') {
        *step = (struct ir_step){IR_STEP_OPERAND, word[1] - '0', 0};
        return true;
    }
    for (int k = IR_STEP_NEG; k < IR_N_STEPS; k++)
        if (strlen(steps_known[k].name) == n &&
            !memcmp(steps_known[k].name, word, n)) {
            *step = (struct ir_step){(enum ir_step_kind)k, 0, 0};
            return true;
        }
    *step = (struct ir_step){IR_STEP_NUMBER, 0, 0};
    for (int i = 0; op && i < op->n_attrs; i++)
        if (op->attr[i].kind == IR_FLOAT &&
            strlen(op->attr[i].name) == n &&
            !memcmp(op->attr[i].name, word, n)) {
            step->number = op->attr[i].f;
            return true;
        }
    return ir_parse_double(word, word + n, &step->number);
}

bool ir_step_is_function(enum ir_step_kind kind)
{
    return (kind >= IR_STEP_EXP && kind <= IR_STEP_FAST_LOG) ||
           kind == IR_STEP_POW || kind == IR_STEP_FAST_POW;
}

int ir_program_parse(const char *program, const struct ir_op *op,
                     struct ir_step steps[IR_MAX_STEPS], struct ir_diag *diag)
{
    const struct ir_loc loc = op ? op->loc : ir_loc_file(NULL);
    int n = 0, depth = 0;
    for (const char *s = program; *(s += strspn(s, " "));) {
        const size_t length = strcspn(s, " ");
        if (n == IR_MAX_STEPS) {
            ir_error(diag, loc, "program: more than %d steps", IR_MAX_STEPS);
            return -1;
        }
        if (!read_step(s, length, op, &steps[n])) {
            ir_error(diag, loc, "program: '%.*s' is no step",
                     length > 60 ? 60 : (int)length, s);
            return -1;
        }
        const int taken = steps_known[steps[n].kind].n_taken;
        if (depth < taken) {
            ir_error(diag, loc, "program: step %d (%.*s) takes %d values, "
                     "there are %d", n, (int)length, s, taken, depth);
            return -1;
        }
        depth += 1 - taken;
        if (depth > IR_MAX_STEP_DEPTH) {
            ir_error(diag, loc, "program: more than %d values at a time",
                     IR_MAX_STEP_DEPTH);
            return -1;
        }
        n++;
        s += length;
    }
    if (depth != 1) {
        ir_error(diag, loc, "program: %d values are left, not 1", depth);
        return -1;
    }
    return n;
}

char *ir_program_bind(struct ir_arena *arena, const struct ir_op *op)
{
    const char *program = ir_op_table[op->kind].program;
    struct ir_text text;
    ir_text_init(&text);
    for (const char *s = program; *(s += strspn(s, " "));) {
        const size_t length = strcspn(s, " ");
        struct ir_step step;
        if (!read_step(s, length, op, &step))
            ir_bug("%s: a bad program", ir_op_table[op->kind].name);
        if (text.length)
            ir_text_puts(&text, " ");
        if (step.kind == IR_STEP_NUMBER)
            ir_text_double(&text, step.number);
        else
            ir_text_append(&text, s, length);
        s += length;
    }
    char *bound = ir_strdup(arena, text.data);
    ir_text_release(&text);
    return bound;
}

static double unary(enum ir_step_kind kind, double x)
{
    switch (kind) {
    case IR_STEP_NEG: return -x;
    case IR_STEP_ABS: return fabs(x);
    case IR_STEP_SIGN: return (double)((x > 0) - (x < 0));
    case IR_STEP_SQRT: return sqrt(x);
    case IR_STEP_EXP:
    case IR_STEP_FAST_EXP: return ir_exp(x);
    case IR_STEP_LOG:
    case IR_STEP_FAST_LOG: return ir_log(x);
    case IR_STEP_EXPM1:
    case IR_STEP_FAST_EXPM1: return ir_expm1(x);
    case IR_STEP_TANH: return ir_tanh(x);
    case IR_STEP_SIGMOID: return ir_sigmoid(x);
    case IR_STEP_SOFTPLUS: return ir_softplus(x);
    case IR_STEP_ERF: return ir_erf(x);
    case IR_STEP_SIN: return ir_sin(x);
    case IR_STEP_COS: return ir_cos(x);
    case IR_STEP_TAN: return ir_tan(x);
    case IR_STEP_ATAN: return ir_atan(x);
    case IR_STEP_FLOOR: return floor(x);
    case IR_STEP_CEIL: return ceil(x);
    case IR_STEP_RINT: return rint(x);
    case IR_STEP_ISNAN: return isnan(x) ? 1 : 0;
    default: return ir_log1p(x);
    }
}

/* The functions of f32 that are no rounded f64 ones. */
static double unary_f32(enum ir_step_kind kind, float x)
{
    switch (kind) {
    case IR_STEP_EXP: return (double)ir_expf(x);
    case IR_STEP_TANH: return (double)ir_tanhf(x);
    case IR_STEP_SIGMOID: return (double)ir_sigmoidf(x);
    case IR_STEP_SOFTPLUS: return (double)ir_softplusf(x);
    case IR_STEP_ERF: return (double)ir_erff(x);
    case IR_STEP_SIN: return (double)ir_sinf(x);
    case IR_STEP_COS: return (double)ir_cosf(x);
    case IR_STEP_TAN: return (double)ir_tanf(x);
    case IR_STEP_ATAN: return (double)ir_atanf(x);
    case IR_STEP_FAST_EXP: return (double)ir_fast_expf(x);
    case IR_STEP_FAST_EXPM1: return (double)ir_fast_expm1f(x);
    case IR_STEP_FAST_LOG: return (double)ir_fast_logf(x);
    default: return unary(kind, (double)x);
    }
}

static double binary(enum ir_step_kind kind, enum ir_dtype dtype, double x,
                     double y)
{
    switch (kind) {
    case IR_STEP_ADD: return x + y;
    case IR_STEP_SUB: return x - y;
    case IR_STEP_MUL: return x * y;
    case IR_STEP_DIV: return x / y;
    case IR_STEP_POW: return ir_pow(x, y);
    case IR_STEP_FAST_POW:
        return dtype == IR_F32 ? (double)ir_fast_powf((float)x, (float)y)
                               : ir_pow(x, y);
    case IR_STEP_MIN: return x < y ? x : y;
    case IR_STEP_MAX: return x > y ? x : y;
    case IR_STEP_GT: return x > y ? 1 : 0;
    case IR_STEP_GE: return x >= y ? 1 : 0;
    case IR_STEP_LT: return x < y ? 1 : 0;
    case IR_STEP_LE: return x <= y ? 1 : 0;
    default: return x == y ? 1 : 0;
    }
}

double ir_program_eval(const struct ir_step *steps, int n, const double *x,
                       enum ir_dtype dtype)
{
    double stack[IR_MAX_STEP_DEPTH];
    int depth = 0;
    for (int i = 0; i < n; i++) {
        double v;
        if (steps[i].kind == IR_STEP_OPERAND) {
            v = x[steps[i].index];
        } else if (steps[i].kind == IR_STEP_NUMBER) {
            v = steps[i].number;
        } else if (steps_known[steps[i].kind].n_taken == 1) {
            const double taken = stack[--depth];
            v = dtype == IR_F32 ? unary_f32(steps[i].kind, (float)taken)
                                : unary(steps[i].kind, taken);
        } else if (steps[i].kind == IR_STEP_WHERE) {
            depth -= 3;
            v = stack[depth] != 0 ? stack[depth + 1] : stack[depth + 2];
        } else {
            depth -= 2;
            v = binary(steps[i].kind, dtype, stack[depth],
                       stack[depth + 1]);
        }
        /* One operation of f64 on f32 values, rounded to f32, is the f32
         * operation (Figueroa 1995), for all that is here. */
        stack[depth++] = dtype == IR_F32 ? (double)(float)v : v;
    }
    return stack[0];
}
