/* onnx_math.c: ops that compute element by element. Each is a program of the
 * IR's `map`. Broadcasting is numpy's. Whole numbers are computed as f64, exact
 * below 2^53.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

/* ---------------------------------------------------------------- unary -- */

/* Programs of f32 and f64; of whole numbers where they are the same. In them
 * "alpha" and "beta" stand for the attributes; with these come what they are
 * when they are absent. */
static const struct {
    const char *name, *program;
    bool to_bool;
    double alpha, beta;
} unaries[] = {
    {"Neg", "x0 neg", false, 0, 0},
    {"Abs", "x0 abs", false, 0, 0},
    {"Sign", "x0 sign", false, 0, 0},
    {"Exp", "x0 fast_exp", false, 0, 0},
    {"Log", "x0 fast_log", false, 0, 0},
    {"Sqrt", "x0 sqrt", false, 0, 0},
    {"Reciprocal", "1 x0 div", false, 0, 0},
    {"Floor", "x0 floor", false, 0, 0},
    {"Ceil", "x0 ceil", false, 0, 0},
    {"Round", "x0 rint", false, 0, 0},
    {"Erf", "x0 erf", false, 0, 0},
    {"Sin", "x0 sin", false, 0, 0},
    {"Cos", "x0 cos", false, 0, 0},
    {"Tan", "x0 tan", false, 0, 0},
    {"Atan", "x0 atan", false, 0, 0},
    {"Asin", "x0 1 x0 sub 1 x0 add mul sqrt div atan", false, 0, 0},
    {"Acos", "2 1 x0 sub 1 x0 add div sqrt atan mul", false, 0, 0},
    {"Sinh", "x0 sign x0 abs fast_expm1 x0 abs fast_expm1 x0 abs fast_expm1 "
             "1 add div add mul 2 div", false, 0, 0},
    {"Cosh", "x0 fast_exp x0 neg fast_exp add 2 div", false, 0, 0},
    {"Asinh", "x0 sign x0 abs x0 x0 mul 1 x0 x0 mul 1 add sqrt add div add "
              "log1p mul", false, 0, 0},
    {"Acosh", "x0 1 sub x0 1 sub x0 1 add mul sqrt add log1p", false, 0, 0},
    {"Atanh", "2 x0 mul 1 x0 sub div log1p 2 div", false, 0, 0},
    {"Relu", "x0 0 gt x0 x0 isnan x0 0 where where", false, 0, 0},
    {"Sigmoid", "x0 sigmoid", false, 0, 0},
    {"Tanh", "x0 tanh", false, 0, 0},
    {"Softplus", "x0 softplus", false, 0, 0},
    {"Softsign", "x0 1 x0 abs add div", false, 0, 0},
    {"Mish", "x0 x0 softplus tanh mul", false, 0, 0},
    {"HardSwish", "x0 x0 6 div 0.5 add 0 max 1 min mul", false, 0, 0},
    {"LeakyRelu", "x0 0 lt alpha x0 mul x0 where", false, 0.01, 0},
    {"ThresholdedRelu", "x0 alpha le 0 x0 where", false, 1, 0},
    {"Elu", "x0 0 lt alpha x0 fast_expm1 mul x0 where", false, 1, 0},
    {"Celu", "x0 0 lt alpha x0 alpha div fast_expm1 mul x0 where", false, 1,
     0},
    {"Swish", "x0 alpha x0 mul sigmoid mul", false, 1, 0},
    {"HardSigmoid", "alpha x0 mul beta add 0 lt 0 alpha x0 mul beta add 1 gt "
                    "1 alpha x0 mul beta add where where", false, 0.2, 0.5},
    {"Not", "1 x0 sub", true, 0, 0},
    {"IsNaN", "x0 isnan", true, 0, 0},
};

/* The program with the numbers of alpha and beta in it. */
static const char *with_numbers(struct fe_onnx *g, const char *program,
                                double alpha, double beta)
{
    struct ir_text text;
    ir_text_init(&text);
    while (*program) {
        const size_t n = strcspn(program, " ");
        if (n == 5 && !memcmp(program, "alpha", n))
            ir_text_double(&text, alpha);
        else if (n == 4 && !memcmp(program, "beta", n))
            ir_text_double(&text, beta);
        else
            ir_text_append(&text, program, n);
        program += n;
        if (*program == ' ')
            ir_text_puts(&text, " ");
        program += *program == ' ';
    }
    const char *kept = ir_strdup(&g->scratch, text.data);
    ir_text_release(&text);
    return kept;
}

const char *fe_onnx_activation(struct fe_onnx *g, const char *name,
                               const double *alpha, const double *beta)
{
    if (!strcmp(name, "ScaledTanh"))
        return with_numbers(g, "alpha beta x0 mul tanh mul",
                            alpha ? *alpha : 1, beta ? *beta : 1);
    if (!strcmp(name, "Affine"))
        return with_numbers(g, "alpha x0 mul beta add", alpha ? *alpha : 1,
                            beta ? *beta : 0);
    static const char *const allowed[] = {
        "Relu", "Tanh", "Sigmoid", "LeakyRelu", "ThresholdedRelu",
        "HardSigmoid", "Elu", "Softsign", "Softplus"};
    for (size_t k = 0; k < sizeof allowed / sizeof *allowed; k++)
        for (size_t i = 0; i < sizeof unaries / sizeof *unaries; i++)
            if (!strcmp(name, allowed[k]) && !strcmp(name, unaries[i].name))
                return with_numbers(g, unaries[i].program,
                                    alpha ? *alpha : unaries[i].alpha,
                                    beta ? *beta : unaries[i].beta);
    return NULL;
}

static bool give_unary(struct fe_onnx *g, const char *program, bool to_bool)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    if (!x)
        return false;
    struct ir_value *y = fe_onnx_map(g, program, fe_onnx_dtype(x->type),
                                     x->rows, NULL, NULL);
    if (!to_bool)
        return fe_onnx_give_like(g, 0, x->type, y, x);
    return fe_onnx_give_like(g, 0, FE_ONNX_BOOL,
                             fe_onnx_convert(g, y, IR_F64), x);
}

bool fe_onnx_unary(struct fe_onnx *g)
{
    size_t i = 0;
    while (strcmp(unaries[i].name, g->node->op_type) != 0)
        i++;
    const bool given = give_unary(g, with_numbers(
        g, unaries[i].program, fe_onnx_float(g, "alpha", unaries[i].alpha),
        fe_onnx_float(g, "beta", unaries[i].beta)), unaries[i].to_bool);
    return given && (strcmp(unaries[i].name, "Relu") != 0 ||
                     fe_onnx_know_relu(g));
}

/* Those whose attributes have other names. */
bool fe_onnx_selu(struct fe_onnx *g)
{
    const double alpha = fe_onnx_float(g, "alpha", 1.67326319217681884765625);
    return give_unary(g, with_numbers(
        g, "beta x0 0 gt x0 alpha x0 fast_expm1 mul where mul", alpha,
        fe_onnx_float(g, "gamma", 1.05070102214813232421875)), false);
}

bool fe_onnx_shrink(struct fe_onnx *g)
{
    const double lambda = fe_onnx_float(g, "lambd", 0.5);
    const char *program = ir_sprintf(
        &g->scratch, "x0 %.17g lt x0 %.17g add x0 %.17g gt x0 %.17g sub 0 "
        "where where", -lambda, fe_onnx_float(g, "bias", 0), lambda,
        fe_onnx_float(g, "bias", 0));
    return give_unary(g, program, false);
}

bool fe_onnx_gelu(struct fe_onnx *g)
{
    if (fe_onnx_says(g, "approximate", "tanh", false))
        return give_unary(g, "0.5 x0 mul 1 0.7978845608028654 x0 0.044715 x0 "
                          "mul x0 mul x0 mul add mul tanh add mul", false);
    if (!fe_onnx_says(g, "approximate", "none", true))
        return fe_onnx_error(g, "approximate is not none or tanh");
    return give_unary(g, "0.5 x0 mul 1 x0 0.7071067811865476 mul erf add mul",
                      false);
}

bool fe_onnx_is_inf(struct fe_onnx *g)
{
    const bool below = fe_onnx_int(g, "detect_negative", 1);
    const bool above = fe_onnx_int(g, "detect_positive", 1);
    return give_unary(g, below && above ? "x0 abs inf eq"
                         : below ? "x0 -inf eq"
                         : above ? "x0 inf eq" : "x0 x0 lt", true);
}

/* --------------------------------------------------------------- binary -- */

static const struct {
    const char *name, *program;
    bool to_bool;
} binaries[] = {
    {"Add", "x0 x1 add", false},
    {"Sub", "x0 x1 sub", false},
    {"Mul", "x0 x1 mul", false},
    {"Div", "x0 x1 div", false},
    {"Pow", "x0 x1 fast_pow", false},
    {"PRelu", "x0 0 lt x1 x0 mul x0 where", false},
    {"Less", "x0 x1 lt", true},
    {"LessOrEqual", "x0 x1 le", true},
    {"Greater", "x0 x1 gt", true},
    {"GreaterOrEqual", "x0 x1 ge", true},
    {"Equal", "x0 x1 eq", true},
    {"And", "x0 x1 mul", true},
    {"Or", "x0 x1 max", true},
    {"Xor", "x0 x1 sub abs", true},
};

/* A square or a cube, which nets take of each number of a norm or a gelu. */
static const char *small_power(const struct fe_onnx_value *x,
                               const struct fe_onnx_value *to)
{
    const struct fe_onnx_tensor *t = to->constant;
    if (fe_onnx_is_whole(x->type) || !t || t->n != 1 || !t->real)
        return NULL;
    return t->real[0] == 2 ? "x0 x0 mul" : t->real[0] == 3 ? "x0 x0 x0 mul mul"
                                                           : NULL;
}

/* Whole numbers are divided towards zero. */
static const char *program_of(size_t i, int type)
{
    if (!strcmp(binaries[i].name, "Div") && fe_onnx_is_whole(type))
        return "x0 x1 div 0 lt x0 x1 div neg floor neg x0 x1 div floor where";
    return binaries[i].program;
}

/* Strings of the row compared with one constant string. */
static bool equal_strings(struct fe_onnx *g, const struct fe_onnx_value *x,
                          const struct fe_onnx_value *to)
{
    if (x->constant || !x->words || !to->constant || to->n != 1 ||
        !to->constant->text)
        return fe_onnx_error(g, "strings are compared with one constant "
                             "string");
    if (!fe_onnx_take_elements(g, x->n))
        return false;
    double *code = ir_alloc_array(&g->scratch, (size_t)x->n, sizeof *code);
    for (int64_t i = 0; i < x->n; i++)
        code[i] = fe_onnx_code(g, x->words[i], to->constant->text[0]);
    struct ir_value *equal =
        fe_onnx_map(g, "x0 x1 eq", IR_F64, x->rows,
                    fe_onnx_vector(g, IR_F64, x->n, code), NULL);
    return fe_onnx_give_like(g, 0, FE_ONNX_BOOL, equal, x);
}

/* Inputs 0 to n - 1, of numbers, and the shape of the result. */
static bool read_inputs(struct fe_onnx *g, size_t n,
                        struct fe_onnx_value **x, struct fe_onnx_shape *shape)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = fe_onnx_input(g, i);
        if (!x[i])
            return false;
    }
    return fe_onnx_broadcast(g, n, x, shape);
}

static bool same_types(struct fe_onnx *g, const struct fe_onnx_value *a,
                       const struct fe_onnx_value *b)
{
    return a->type == b->type ||
           fe_onnx_error(g, "its inputs are of types %s and %s",
                         fe_onnx_type_name(a->type),
                         fe_onnx_type_name(b->type));
}

static bool give_binary(struct fe_onnx *g, struct fe_onnx_value *const *x,
                        const struct fe_onnx_shape *shape,
                        const char *program, bool to_bool)
{
    const enum ir_dtype dtype = fe_onnx_dtype(x[0]->type);
    const bool two = strstr(program, "x1") != NULL;
    struct ir_value *y = fe_onnx_map(
        g, program, dtype, fe_onnx_spread(g, shape, x[0], dtype),
        two ? fe_onnx_spread(g, shape, x[1], dtype) : NULL, NULL);
    if (to_bool)
        return fe_onnx_give_shape(g, 0, FE_ONNX_BOOL,
                                  fe_onnx_convert(g, y, IR_F64), shape);
    return fe_onnx_give_shape(g, 0, x[0]->type, y, shape);
}

/* The k of a list of numbers that has the batch's size among them, or 0. */
static bool has_batch(const struct fe_onnx_value *x)
{
    const struct fe_onnx_tensor *t = x->constant;
    for (int64_t i = 0; t && t->whole && i < t->n; i++)
        if (fe_onnx_batches(t->whole[i]))
            return true;
    return false;
}

/* k times the batch's size, times or over a number, for each of a list. */
static bool scale_batch(struct fe_onnx *g, const struct fe_onnx_tensor *a,
                        const struct fe_onnx_tensor *b, bool divide)
{
    struct fe_onnx_tensor *y =
        fe_onnx_new_tensor(g, FE_ONNX_INT64, a->n > 1 ? a->rank : b->rank,
                           a->n > 1 ? a->dim : b->dim);
    for (int64_t i = 0; i < y->n; i++) {
        const int64_t u = a->whole[a->n > 1 ? i : 0];
        const int64_t v = b->whole[b->n > 1 ? i : 0];
        const int64_t k = fe_onnx_batches(u), by = k || divide ? v : u;
        const int64_t times = k ? k : fe_onnx_batches(v);
        if (!times || by < 1 || by > IR_MAX_ELEMENTS ||
            (divide ? !k || times % by : times * by > IR_MAX_ELEMENTS))
            return fe_onnx_error(g, "it computes with the size of the batch");
        y->whole[i] = FE_ONNX_BATCH - ((divide ? times / by : times * by) - 1);
        y->real[i] = (double)y->whole[i];
    }
    return fe_onnx_give_constant(g, y);
}

bool fe_onnx_binary(struct fe_onnx *g)
{
    struct fe_onnx_value *x[2];
    struct fe_onnx_shape shape;
    size_t i = 0;
    if (!read_inputs(g, 2, x, &shape))
        return false;
    const bool divide = !strcmp(g->node->op_type, "Div");
    if ((divide || !strcmp(g->node->op_type, "Mul")) && x[0]->constant &&
        x[1]->constant && x[0]->constant->whole && x[1]->constant->whole &&
        (has_batch(x[0]) || has_batch(x[1])) &&
        (x[0]->n == 1 || x[1]->n == 1 || x[0]->n == x[1]->n))
        return scale_batch(g, x[0]->constant, x[1]->constant, divide);
    while (strcmp(binaries[i].name, g->node->op_type) != 0)
        i++;
    if (x[0]->type == FE_ONNX_STRING || x[1]->type == FE_ONNX_STRING) {
        if (strcmp(g->node->op_type, "Equal") != 0)
            return fe_onnx_error(g, "it is not defined for strings");
        return x[0]->constant ? equal_strings(g, x[1], x[0])
                              : equal_strings(g, x[0], x[1]);
    }
    const char *program = program_of(i, x[0]->type);
    if (!strcmp(g->node->op_type, "Pow"))
        program = small_power(x[0], x[1]) ? small_power(x[0], x[1]) : program;
    else if (!same_types(g, x[0], x[1]))
        return false;
    return give_binary(g, x, &shape, program, binaries[i].to_bool);
}

/* What is left of a division: with fmod it has the dividend's sign, else the
 * divisor's. */
bool fe_onnx_mod(struct fe_onnx *g)
{
    struct fe_onnx_value *x[2];
    struct fe_onnx_shape shape;
    const bool fmod = fe_onnx_int(g, "fmod", 0);
    if (!read_inputs(g, 2, x, &shape) || !same_types(g, x[0], x[1]))
        return false;
    if (!fmod && !fe_onnx_is_whole(x[0]->type))
        return fe_onnx_error(g, "numbers of type %s need fmod=1",
                             fe_onnx_type_name(x[0]->type));
    return give_binary(
        g, x, &shape,
        fmod ? "x0 x0 x1 div 0 lt x0 x1 div neg floor neg x0 x1 div floor "
               "where x1 mul sub"
             : "x0 x0 x1 div floor x1 mul sub", false);
}

/* Of any number of inputs, from the first on. */
bool fe_onnx_variadic(struct fe_onnx *g)
{
    const bool mean = !strcmp(g->node->op_type, "Mean");
    const char *program = mean || !strcmp(g->node->op_type, "Sum")
                              ? "x0 x1 add"
                          : !strcmp(g->node->op_type, "Min")
                              ? "x0 isnan x0 x1 isnan x1 x0 x1 min where where"
                              : "x0 isnan x0 x1 isnan x1 x0 x1 max where where";
    const size_t n = g->node->n_input;
    struct fe_onnx_value **x = ir_alloc_array(&g->scratch, n, sizeof *x);
    struct fe_onnx_shape shape;
    if (!read_inputs(g, n, x, &shape))
        return false;
    const enum ir_dtype dtype = fe_onnx_dtype(x[0]->type);
    struct ir_value *y = fe_onnx_spread(g, &shape, x[0], dtype);
    for (size_t i = 1; y && i < n; i++) {
        if (!same_types(g, x[0], x[i]))
            return false;
        y = fe_onnx_map(g, program, dtype, y,
                        fe_onnx_spread(g, &shape, x[i], dtype), NULL);
    }
    if (mean && y)
        y = fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %zu div", n), dtype, y,
                        NULL, NULL);
    return fe_onnx_give_shape(g, 0, x[0]->type, y, &shape);
}

bool fe_onnx_where(struct fe_onnx *g)
{
    struct fe_onnx_value *x[3];
    struct fe_onnx_shape shape;
    if (!read_inputs(g, 3, x, &shape))
        return false;
    if (x[0]->type != FE_ONNX_BOOL || x[1]->type != x[2]->type)
        return fe_onnx_error(g, "its inputs are of types %s, %s and %s",
                             fe_onnx_type_name(x[0]->type),
                             fe_onnx_type_name(x[1]->type),
                             fe_onnx_type_name(x[2]->type));
    const enum ir_dtype dtype = fe_onnx_dtype(x[1]->type);
    struct ir_value *y =
        fe_onnx_map(g, "x0 x1 x2 where", dtype,
                    fe_onnx_spread(g, &shape, x[0], dtype),
                    fe_onnx_spread(g, &shape, x[1], dtype),
                    fe_onnx_spread(g, &shape, x[2], dtype));
    return fe_onnx_give_shape(g, 0, x[1]->type, y, &shape);
}

/* ----------------------------------------------------------------- clip -- */

/* y held on one side of a bound, an attribute or input 1 or 2; NULL with a
 * message. Comparisons let a NaN through. */
static struct ir_value *hold(struct fe_onnx *g, struct ir_value *y,
                             const char *name, size_t input, const char *than)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    double bound = a ? (double)a->f : 0;
    if (!a && !fe_onnx_has_input(g, input))
        return y;
    if (!a) {
        const struct fe_onnx_value *x = fe_onnx_input(g, input);
        if (!x)
            return NULL;
        if (x->n != 1 || x->type == FE_ONNX_STRING) {
            fe_onnx_error(g, "the bound %s is no number", name);
            return NULL;
        }
        if (!x->constant)
            return fe_onnx_map(
                g, ir_sprintf(&g->scratch, "x0 x1 %s x1 x0 where", than),
                y->type.dtype, y,
                fe_onnx_convert(g, fe_onnx_numbers(g, x), y->type.dtype),
                NULL);
        bound = x->constant->real[0];
    }
    if (isnan(bound)) {
        fe_onnx_error(g, "the bound %s is a NaN", name);
        return NULL;
    }
    return fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %.17g %s %.17g x0 where",
                                     bound, than, bound),
                       y->type.dtype, y, NULL, NULL);
}

bool fe_onnx_clip(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    if (!x)
        return false;
    struct ir_value *y = hold(g, x->rows, "min", 1, "lt");
    y = y ? hold(g, y, "max", 2, "gt") : NULL;
    return fe_onnx_give_like(g, 0, x->type, y, x);
}
