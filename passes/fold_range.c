/* fold_range.c: what a function of one number gives, for one and for many.
 *
 * A range holds every value that a step can give; it may hold others. Addition,
 * multiplication and their like are rounded correctly, so that they neither
 * rise where the exact operation falls nor the other way round, and their
 * bounds are what they give for the bounds. Elementary functions are computed
 * with an error, and might step back by it somewhere: their bounds are widened
 * by more than that. A step that is not known here may give anything, which is
 * true of every step.
 *
 * A number is the interpreter's, from its own code: no step is defined here.
 */
#include "passes/fold.h"

#include <math.h>

/* How many floats wide a step back of an elementary function may be: the
 * functions of ir/math.inc are within 3 ulp, so twice that and some more. */
#define SLACK 8
/* A range over more values of a table than that is not worth its time. */
#define MAX_JOINED 64

/* -------------------------------------------------------- single numbers -- */

double pass_fold_apply(enum ir_step_kind map, enum ir_dtype dtype,
                       const double *x)
{
    struct ir_step program[4];
    const int n = ir_step_operands(map);
    for (int i = 0; i < n; i++)
        program[i] = (struct ir_step){IR_STEP_OPERAND, i, 0};
    program[n] = (struct ir_step){map, 0, 0};
    return ir_program_eval(program, n + 1, x, dtype);
}

double pass_fold_value(const struct fold_function *f, int step, double v)
{
    double value[FOLD_MAX_STEPS], x[3];
    for (int i = 0; i <= step; i++) {
        const struct fold_step *s = &f->step[i];
        switch (s->kind) {
        case FOLD_SOURCE:
            value[i] = v;
            break;
        case FOLD_NUMBER:
            value[i] = s->number;
            break;
        case FOLD_ROUND:
            value[i] = (double)(float)value[s->x[0]];
            break;
        case FOLD_ELEMENT:
            value[i] = ir_element(s->op, value[s->x[0]]);
            break;
        case FOLD_MAP:
            for (int k = 0; k < ir_step_operands(s->map); k++)
                x[k] = value[s->x[k]];
            value[i] = pass_fold_apply(s->map, s->dtype, x);
            break;
        }
    }
    return value[step];
}

/* ---------------------------------------------------------------- ranges -- */

static const struct fold_range anything = {-INFINITY, INFINITY, true, true};
static const struct fold_range nothing = {0};

static struct fold_range between(double low, double high)
{
    if (isnan(low) || isnan(high))
        return anything;
    return (struct fold_range){low, high, true, false};
}

static struct fold_range join(struct fold_range a, struct fold_range b)
{
    const bool nan = a.nan || b.nan;
    if (a.number && b.number)
        a = between(fmin(a.low, b.low), fmax(a.high, b.high));
    else if (b.number)
        a = b;
    a.nan = nan;
    return a;
}

static struct fold_range join_value(struct fold_range a, double v)
{
    return join(a, isnan(v) ? (struct fold_range){.nan = true}
                            : between(v, v));
}

static bool holds(struct fold_range a, double v)
{
    return a.number && a.low <= v && v <= a.high;
}

static bool holds_infinity(struct fold_range a)
{
    return a.number && (isinf(a.low) || isinf(a.high));
}

/* ----------------------------------------------- steps that never turn -- */

static double apply1(const struct fold_step *s, double x)
{
    return pass_fold_apply(s->map, s->dtype, &x);
}

static double apply2(const struct fold_step *s, double x, double y)
{
    return pass_fold_apply(s->map, s->dtype, (const double[]){x, y});
}

/* Rises with its operand, as computed. */
static struct fold_range rising(const struct fold_step *s, struct fold_range a)
{
    struct fold_range r = nothing;
    if (a.number)
        r = between(apply1(s, a.low), apply1(s, a.high));
    return a.nan ? join_value(r, apply1(s, NAN)) : r;
}

static double nudged(double v, int by, enum ir_dtype dtype)
{
    const int64_t last = pass_last_order(dtype);
    const int64_t order = pass_order(v, dtype) + by;
    return pass_at_order(order > last ? last : order < -last ? -last : order,
                         dtype);
}

/* What lies within `slack` floats of [low, high], rounded to the step's
 * dtype: functions are computed in f64 and then rounded. */
static struct fold_range about(const struct fold_step *s, double low,
                               double high, int slack)
{
    if (isnan(low) || isnan(high))
        return anything;
    low = nudged(low, -slack, IR_F64);
    high = nudged(high, slack, IR_F64);
    return s->dtype == IR_F32 ? between((double)(float)low,
                                        (double)(float)high)
                              : between(low, high);
}

/* What lies within `slack` floats, of the step's own dtype, of [low, high]. */
static struct fold_range around(const struct fold_step *s, double low,
                                double high, int slack)
{
    if (isnan(low) || isnan(high))
        return anything;
    return between(nudged(low, -slack, s->dtype),
                   nudged(high, slack, s->dtype));
}

/* Rises from `domain` on and is a NaN below. As computed it may step back by
 * `slack` floats. */
static struct fold_range rising_from(const struct fold_step *s,
                                     struct fold_range a, double domain,
                                     int slack)
{
    struct fold_step exact = *s;
    struct fold_range r = {.nan = a.nan || (a.number && a.low < domain)};
    exact.dtype = IR_F64;
    if (!a.number || a.high < domain)
        return r;
    if (a.low == a.high)
        return join_value(r, apply1(s, a.low));
    const double low = apply1(&exact, a.low < domain ? domain : a.low);
    return join(r, about(s, low, apply1(&exact, a.high), slack));
}

/* Rises all along, but is computed in the step's own dtype and may step back by
 * some floats of that. */
static struct fold_range rising_about(const struct fold_step *s,
                                      struct fold_range a)
{
    struct fold_range r = {.nan = a.nan};
    if (!a.number)
        return r;
    if (a.low == a.high)
        return join_value(r, apply1(s, a.low));
    return join(r, around(s, apply1(s, a.low), apply1(s, a.high), SLACK));
}

/* Of f32 it never steps back (test_pass_fold goes through all of exp,
 * test_math_f32 of fast_exp); that of f64 is never negative. */
static struct fold_range exp_range(const struct fold_step *s,
                                   struct fold_range a)
{
    if (s->dtype == IR_F32)
        return rising(s, a);
    struct fold_range r = rising_from(s, a, -INFINITY, SLACK);
    r.low = fmax(r.low, 0);
    return r;
}

/* A NaN below 0. */
static struct fold_range fast_log_range(const struct fold_step *s,
                                        struct fold_range a)
{
    const bool below = a.number && a.low < 0;
    if (!below)
        return rising_about(s, a);
    struct fold_range r = {.nan = true};
    a.low = 0;
    return a.high < 0 ? r : join(r, rising_about(s, a));
}

/* Of f32 it never steps back (test_math_f32 goes through all). */
static struct fold_range tanh_range(const struct fold_step *s,
                                    struct fold_range a)
{
    return s->dtype == IR_F32 ? rising(s, a) : rising_about(s, a);
}

/* For a base that is not negative pow is monotone in base and in exponent.
 * The base 0 may be -0, whose powers below the 0th have another sign. A NaN
 * to the power of 0 is 1, and so is 1 to that of a NaN. */
static struct fold_range pow_range(const struct fold_step *s,
                                   struct fold_range a, struct fold_range b)
{
    struct fold_step exact = *s;
    struct fold_range r = nothing;
    exact.dtype = IR_F64;
    if (a.nan || b.nan)
        r = (struct fold_range){1, 1, true, true};
    if (!a.number || !b.number)
        return r;
    if (a.low < 0 || (a.low == 0 && b.low <= 0))
        return anything;
    const bool one = a.low == a.high && b.low == b.high;
    for (int i = 0; i < 4; i++) {
        const double x = i & 1 ? a.high : a.low, y = i & 2 ? b.high : b.low;
        const double v = apply2(&exact, x, y), here = apply2(s, x, y);
        r = join(r, s->map == IR_STEP_FAST_POW
                        ? around(s, here, here, one ? 0 : SLACK)
                        : about(s, v, v, one ? 0 : SLACK));
    }
    r.low = fmax(r.low, 0);
    return r;
}

/* ------------------------------------------------------------ arithmetic -- */

static struct fold_range add_ranges(const struct fold_step *s,
                                    struct fold_range a, struct fold_range b)
{
    const bool sub = s->map == IR_STEP_SUB;
    const double b_low = sub ? b.high : b.low, b_high = sub ? b.low : b.high;
    struct fold_range r = between(apply2(s, a.low, b_low),
                                  apply2(s, a.high, b_high));
    /* Infinities of opposite signs, where they meet. */
    r.nan = r.nan || isnan(apply2(s, a.low, b_high)) ||
            isnan(apply2(s, a.high, b_low));
    return r;
}

/* Least and greatest are at the corners; 0 times infinity lies between what is
 * near it. */
static struct fold_range corners(const struct fold_step *s,
                                 struct fold_range a, struct fold_range b)
{
    struct fold_range r = nothing;
    for (int i = 0; i < 4; i++) {
        const double v = apply2(s, i & 1 ? a.high : a.low,
                                i & 2 ? b.high : b.low);
        r = join_value(r, isnan(v) ? 0 : v);
    }
    return r;
}

static struct fold_range multiply_ranges(const struct fold_step *s,
                                         struct fold_range a,
                                         struct fold_range b)
{
    struct fold_range r = corners(s, a, b);
    r.nan = (holds(a, 0) && holds_infinity(b)) ||
            (holds(b, 0) && holds_infinity(a));
    return r;
}

/* The sign of a zero divisor is not known. */
static struct fold_range divide_ranges(const struct fold_step *s,
                                       struct fold_range a,
                                       struct fold_range b)
{
    if (holds(b, 0) || (holds_infinity(a) && holds_infinity(b)))
        return anything;
    return corners(s, a, b);
}

static struct fold_range arithmetic(const struct fold_step *s,
                                    struct fold_range a, struct fold_range b)
{
    struct fold_range r = nothing;
    if (a.number && b.number) {
        if (s->map == IR_STEP_MUL)
            r = multiply_ranges(s, a, b);
        else if (s->map == IR_STEP_DIV)
            r = divide_ranges(s, a, b);
        else
            r = add_ranges(s, a, b);
    }
    r.nan = r.nan || a.nan || b.nan;
    return r;
}

/* -------------------------------------------------------------- choosing -- */

static struct fold_range least_or_most(const struct fold_step *s,
                                       struct fold_range a,
                                       struct fold_range b)
{
    struct fold_range r = nothing;
    if (a.number && b.number)
        r = between(apply2(s, a.low, b.low), apply2(s, a.high, b.high));
    if (a.nan)
        r = join(r, b);
    r.nan = r.nan || b.nan;
    return r;
}

static struct fold_range compare_ranges(const struct fold_step *s,
                                        struct fold_range a,
                                        struct fold_range b)
{
    struct fold_range r = nothing;
    if (a.nan || b.nan)
        r = between(0, 0);
    if (!a.number || !b.number)
        return r;
    /* A comparison that holds for the corners where it is hardest always
     * does, and one that fails where it is easiest never does. */
    if (s->map == IR_STEP_EQ) {
        if (a.low <= b.high && b.low <= a.high)
            r = join_value(r, 1);
        if (!(a.low == a.high && b.low == b.high && a.low == b.low))
            r = join_value(r, 0);
        return r;
    }
    r = join_value(r, apply2(s, a.low, b.high));
    return join_value(r, apply2(s, a.high, b.low));
}

static struct fold_range choose(struct fold_range c, struct fold_range a,
                                struct fold_range b)
{
    struct fold_range r = nothing;
    if (c.nan || (c.number && !(c.low == 0 && c.high == 0)))
        r = a;
    return holds(c, 0) ? join(r, b) : r;
}

static struct fold_range absolute(struct fold_range a)
{
    if (!a.number)
        return a;
    const double low = fabs(a.low), high = fabs(a.high);
    struct fold_range r = between(holds(a, 0) ? 0 : fmin(low, high),
                                  fmax(low, high));
    r.nan = a.nan;
    return r;
}

static struct fold_range round_range(struct fold_range a)
{
    struct fold_range r = nothing;
    if (a.number)
        r = between((double)(float)a.low, (double)(float)a.high);
    r.nan = a.nan;
    return r;
}

static struct fold_range is_nan(struct fold_range a)
{
    struct fold_range r = nothing;
    if (a.number)
        r = between(0, 0);
    return a.nan ? join_value(r, 1) : r;
}

static struct fold_range map_range(const struct fold_step *s,
                                   const struct fold_range *range)
{
    const struct fold_range a = range[s->x[0]];
    const struct fold_range b = range[s->x[1]], c = range[s->x[2]];
    switch (s->map) {
    case IR_STEP_NEG:
        return (struct fold_range){-a.high, -a.low, a.number, a.nan};
    case IR_STEP_ABS:
        return absolute(a);
    case IR_STEP_ISNAN:
        return is_nan(a);
    case IR_STEP_SIGN:
    case IR_STEP_FLOOR:
    case IR_STEP_CEIL:
    case IR_STEP_RINT:
        return rising(s, a);
    case IR_STEP_SQRT:
        return rising_from(s, a, 0, 0);
    case IR_STEP_EXP:
    case IR_STEP_FAST_EXP:
        return exp_range(s, a);
    case IR_STEP_LOG1P:
        return rising_from(s, a, -1, SLACK);
    case IR_STEP_LOG:
        return rising_from(s, a, 0, SLACK);
    case IR_STEP_FAST_LOG:
        return fast_log_range(s, a);
    case IR_STEP_EXPM1:
        return rising_from(s, a, -INFINITY, SLACK);
    case IR_STEP_TANH:
        return tanh_range(s, a);
    case IR_STEP_SIGMOID:
    case IR_STEP_SOFTPLUS:
    case IR_STEP_ERF:
    case IR_STEP_FAST_EXPM1:
        return rising_about(s, a);
    case IR_STEP_POW:
    case IR_STEP_FAST_POW:
        return pow_range(s, a, b);
    case IR_STEP_ADD:
    case IR_STEP_SUB:
    case IR_STEP_MUL:
    case IR_STEP_DIV:
        return arithmetic(s, a, b);
    case IR_STEP_MIN:
    case IR_STEP_MAX:
        return least_or_most(s, a, b);
    case IR_STEP_GT:
    case IR_STEP_GE:
    case IR_STEP_LT:
    case IR_STEP_LE:
    case IR_STEP_EQ:
        return compare_ranges(s, a, b);
    case IR_STEP_WHERE:
        return choose(a, b, c);
    default:
        return anything;
    }
}

/* ---------------------------------------------------------------- tables -- */

int64_t pass_fold_count_below(const struct ir_tensor *t, double v,
                              bool or_equal)
{
    int64_t low = 0, high = t->type.dim[0];
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const double at = ir_real(t->data, t->type.dtype, (size_t)middle);
        if (or_equal ? at <= v : at < v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct fold_range lookup_range(const struct ir_op *op,
                                      struct fold_range a)
{
    const struct ir_tensor *keys = ir_attr_tensor(op, "keys");
    const int64_t from = pass_fold_count_below(keys, a.low, false);
    const int64_t to = pass_fold_count_below(keys, a.high, true);
    struct fold_range r = nothing;
    if (to - from > MAX_JOINED)
        return anything;
    for (int64_t i = from; i < to; i++)
        r = join_value(r, ir_element(op, ir_real(keys->data, keys->type.dtype,
                                                 (size_t)i)));
    if (a.low == a.high)
        return join_value(nothing, ir_element(op, a.low));
    const double other = ir_attr_float(op, "default");
    return join_value(r, op->result[0].type.dtype == IR_F32
                             ? (double)(float)other
                             : other);
}

static struct fold_range bucketize_range(const struct ir_op *op,
                                         struct fold_range a)
{
    return between(ir_element(op, a.low), ir_element(op, a.high));
}

static double table_at(const struct ir_op *op, const char *name, int64_t i)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    return ir_real(t->data, t->type.dtype, (size_t)i);
}

/* More than a line between two points can pass the second one by, as it is
 * computed: each step rounds by at most an ulp, the slope perhaps by a
 * denormal, which the distance between the points multiplies. */
static double overshoot(const struct ir_op *op)
{
    const bool f32 = op->result[0].type.dtype == IR_F32;
    const int64_t last = ir_attr_tensor(op, "x")->type.dim[0] - 1;
    const double x = fmax(fabs(table_at(op, "x", 0)),
                          fabs(table_at(op, "x", last)));
    const double y = fmax(fabs(table_at(op, "y", 0)),
                          fabs(table_at(op, "y", last)));
    return 16 * y * (f32 ? 0x1p-23 : 0x1p-52) +
           8 * (x + 1) * (f32 ? 0x1p-149 : 0x1p-1074);
}

/* Between two points all steps of the line are monotone as computed; what is
 * no number there is one at no number past the first point. */
static struct fold_range interp_range(const struct fold_step *s,
                                      struct fold_range a)
{
    const struct ir_tensor *x = ir_attr_tensor(s->op, "x");
    const double low = ir_element(s->op, a.low);
    const double high = ir_element(s->op, a.high);
    if (pass_fold_count_below(x, a.low, true) ==
        pass_fold_count_below(x, a.high, true))
        return isnan(low) || isnan(high)
                   ? anything
                   : between(fmin(low, high), fmax(low, high));
    if (!s->ascending)
        return anything;
    return between(low - overshoot(s->op), high + overshoot(s->op));
}

static struct fold_range element_range(const struct fold_step *s,
                                       struct fold_range a)
{
    struct fold_range r = nothing;
    if (a.number)
        r = s->op->kind == IR_OP_lookup      ? lookup_range(s->op, a)
            : s->op->kind == IR_OP_bucketize ? bucketize_range(s->op, a)
                                             : interp_range(s, a);
    return a.nan ? join_value(r, ir_element(s->op, NAN)) : r;
}

struct fold_range pass_fold_range(const struct fold_function *f, double low,
                                  double high)
{
    struct fold_range range[FOLD_MAX_STEPS];
    range[0] = nothing;
    for (int i = 0; i < f->n; i++) {
        const struct fold_step *s = &f->step[i];
        const struct fold_range a = range[s->x[0]];
        switch (s->kind) {
        case FOLD_SOURCE:
            range[i] = between(low, high);
            break;
        case FOLD_NUMBER:
            range[i] = join_value(nothing, s->number);
            break;
        case FOLD_ROUND:
            range[i] = round_range(a);
            break;
        case FOLD_ELEMENT:
            range[i] = element_range(s, a);
            break;
        case FOLD_MAP:
            range[i] = map_range(s, range);
            break;
        }
    }
    return range[f->n - 1];
}

/* --------------------------------------------------------------- guesses -- */

/* How many steps a guess may look at: with `where` there are two ways back. */
#define MAX_GUESSES 1000

struct guesser {
    const struct fold_function *f;
    int left;
};

static double guess(struct guesser *g, int step, double target);

static double guess_element(struct guesser *g, const struct fold_step *s,
                            double target)
{
    if (s->op->kind == IR_OP_lookup)
        return NAN;
    if (s->op->kind == IR_OP_bucketize) {
        const int64_t n = ir_attr_tensor(s->op, "edges")->type.dim[0];
        if (!(target >= 0 && target < (double)n))
            return NAN;
        return guess(g, s->x[0], table_at(s->op, "edges", (int64_t)target));
    }
    const struct ir_tensor *y = ir_attr_tensor(s->op, "y");
    const int64_t at = pass_fold_count_below(y, target, true) - 1;
    if (!s->ascending || at < 0 || at + 1 >= y->type.dim[0])
        return NAN;
    const double x0 = table_at(s->op, "x", at), y0 = table_at(s->op, "y", at);
    const double x1 = table_at(s->op, "x", at + 1);
    const double y1 = table_at(s->op, "y", at + 1);
    return guess(g, s->x[0], x0 + (target - y0) / (y1 - y0) * (x1 - x0));
}

/* Back through a step of two operands, one of them the constant c. */
static double back(enum ir_step_kind map, double c, bool c_first, double t)
{
    switch (map) {
    case IR_STEP_ADD: return t - c;
    case IR_STEP_SUB: return c_first ? c - t : t + c;
    case IR_STEP_MUL: return t / c;
    case IR_STEP_DIV: return c_first ? c / t : t * c;
    case IR_STEP_MIN:
    case IR_STEP_MAX: return t;
    case IR_STEP_POW:
    case IR_STEP_FAST_POW:
        return c_first ? log(t) / log(c) : pow(t, 1 / c);
    default: return c; /* a comparison */
    }
}

static double guess_where(struct guesser *g, const struct fold_step *s,
                          double target)
{
    const double v = guess(g, s->x[1], target);
    if (!isnan(v) && pass_fold_value(g->f, s->x[0], v) != 0)
        return v;
    return guess(g, s->x[2], target);
}

static double guess_map(struct guesser *g, const struct fold_step *s,
                        double t)
{
    const struct fold_step *x = &g->f->step[s->x[0]];
    const struct fold_step *y = &g->f->step[s->x[1]];
    switch (s->map) {
    case IR_STEP_NEG: return guess(g, s->x[0], -t);
    case IR_STEP_SQRT: return guess(g, s->x[0], t * t);
    case IR_STEP_EXP:
    case IR_STEP_FAST_EXP: return guess(g, s->x[0], log(t));
    case IR_STEP_LOG:
    case IR_STEP_FAST_LOG: return guess(g, s->x[0], exp(t));
    case IR_STEP_LOG1P: return guess(g, s->x[0], expm1(t));
    case IR_STEP_EXPM1:
    case IR_STEP_FAST_EXPM1: return guess(g, s->x[0], log1p(t));
    case IR_STEP_TANH: return guess(g, s->x[0], atanh(t));
    case IR_STEP_SIGMOID: return guess(g, s->x[0], log(t / (1 - t)));
    case IR_STEP_SOFTPLUS: return guess(g, s->x[0], log(expm1(t)));
    case IR_STEP_WHERE: return guess_where(g, s, t);
    default: break;
    }
    if (ir_step_operands(s->map) == 1)
        return guess(g, s->x[0], t);
    if (y->kind == FOLD_NUMBER)
        return guess(g, s->x[0], back(s->map, y->number, false, t));
    if (x->kind == FOLD_NUMBER)
        return guess(g, s->x[1], back(s->map, x->number, true, t));
    return NAN;
}

static double guess(struct guesser *g, int step, double target)
{
    const struct fold_step *s = &g->f->step[step];
    if (isnan(target) || g->left-- <= 0)
        return NAN;
    switch (s->kind) {
    case FOLD_SOURCE: return target;
    case FOLD_ROUND: /* what is rounded to it ends half a step on */
        return guess(g, s->x[0],
                     (target + nextafterf((float)target, INFINITY)) / 2);
    case FOLD_ELEMENT: return guess_element(g, s, target);
    case FOLD_MAP: return guess_map(g, s, target);
    default: return NAN;
    }
}

double pass_fold_guess(const struct fold_function *f, int step, double target)
{
    struct guesser g = {f, MAX_GUESSES};
    return guess(&g, step, target);
}
