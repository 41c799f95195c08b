/* onnx_post.c: what becomes of scores: the post transforms of ai.onnx.ml as
 * ONNX Runtime computes them, in f32 also where the scores are f64, and the
 * outputs of classifiers. */
#include "frontend/onnx.h"

#include <string.h>

bool fe_onnx_read_post(struct fe_onnx *g, enum fe_onnx_post *post)
{
    static const char *const names[FE_ONNX_N_POSTS] = {
        "NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
    *post = FE_ONNX_NONE;
    if (!fe_onnx_attribute(g, "post_transform"))
        return true;
    for (int i = 0; i < FE_ONNX_N_POSTS; i++)
        if (fe_onnx_says(g, "post_transform", names[i], false)) {
            *post = (enum fe_onnx_post)i;
            return true;
        }
    return fe_onnx_error(g, "post_transform is not NONE, SOFTMAX, LOGISTIC, "
                         "SOFTMAX_ZERO or PROBIT");
}

struct ir_value *fe_onnx_logistic(struct fe_onnx *g, struct ir_value *x)
{
    struct ir_value *v =
        fe_onnx_map(g, "1 1 x0 abs neg exp add div", IR_F32,
                    fe_onnx_convert(g, x, IR_F32), NULL, NULL);
    return fe_onnx_map(g, "x1 0 lt 1 x0 sub x0 where", IR_F32, v,
                       fe_onnx_convert(g, x, IR_F32), NULL);
}

/* The inverse of the normal distribution function, by Winitzki's approximation
 * of the inverse of erf; its constants are those of ONNX Runtime, in f32. */
struct ir_value *fe_onnx_probit(struct fe_onnx *g, struct ir_value *x)
{
    const double a = (double)(2 / (3.14159265f * 0.147f));
    const double b = (double)(1 / 0.147f);
    x = fe_onnx_map(g, "2 x0 mul 1 sub", IR_F32,
                    fe_onnx_convert(g, x, IR_F32), NULL, NULL);
    struct ir_value *log = fe_onnx_map(
        g, "1 x0 sub 1 x0 add mul log", IR_F32, x, NULL, NULL);
    struct ir_value *v = fe_onnx_map(
        g, ir_sprintf(&g->scratch, "%.17g 0.5 x0 mul add", a), IR_F32, log,
        NULL, NULL);
    struct ir_value *root = fe_onnx_map(
        g, ir_sprintf(&g->scratch,
                      "x0 neg x0 x0 mul %.17g x1 mul sub sqrt add sqrt", b),
        IR_F32, v, log, NULL);
    return fe_onnx_map(
        g, ir_sprintf(&g->scratch, "%.17g x1 0 lt -1 1 where x0 mul mul",
                      (double)1.41421356f),
        IR_F32, root, x, NULL);
}

/* The exp of scores that are not 0, over their sum; what is 0 stays it. */
static struct ir_value *softmax_zero(struct fe_onnx *g, struct ir_value *x)
{
    struct ir_value *largest = fe_onnx_reduce(g, x, "max");
    const char *is_zero =
        ir_sprintf(&g->scratch, "x0 abs %.17g gt", (double)0.0000001f);
    const char *counted =
        ir_sprintf(&g->scratch, "%s x0 x1 sub exp 0 where", is_zero);
    const char *power = ir_sprintf(
        &g->scratch, "%s x0 x1 sub exp x0 x1 neg exp mul where", is_zero);
    struct ir_value *sum = fe_onnx_reduce(
        g, fe_onnx_map(g, counted, IR_F32, x, largest, NULL), "sum");
    return fe_onnx_map(g, "x0 x1 div", IR_F32,
                       fe_onnx_map(g, power, IR_F32, x, largest, NULL), sum,
                       NULL);
}

struct ir_value *fe_onnx_post(struct fe_onnx *g, enum fe_onnx_post post,
                              struct ir_value *scores)
{
    struct ir_value *x =
        post == FE_ONNX_NONE ? scores : fe_onnx_convert(g, scores, IR_F32);
    switch (post) {
    case FE_ONNX_SOFTMAX: return fe_onnx_op(g, IR_OP_softmax, 1, &x, 0, NULL);
    case FE_ONNX_LOGISTIC: return fe_onnx_logistic(g, x);
    case FE_ONNX_SOFTMAX_ZERO: return softmax_zero(g, x);
    case FE_ONNX_PROBIT: return fe_onnx_probit(g, x);
    default: return x;
    }
}

/* -------------------------------------------------------------- classes -- */

const struct fe_onnx_tensor *fe_onnx_labels(struct fe_onnx *g)
{
    bool ok = true;
    struct fe_onnx_tensor *words =
        fe_onnx_strings(g, "classlabels_strings", &ok);
    const Onnx__AttributeProto *whole =
        fe_onnx_attribute(g, "classlabels_int64s");
    if (!whole)
        whole = fe_onnx_attribute(g, "classlabels_ints");
    if (!ok)
        return NULL;
    if (words && words->n)
        return words;
    if (!whole || whole->n_ints == 0) {
        fe_onnx_error(g, "it has no labels of classes");
        return NULL;
    }
    const int64_t n = (int64_t)whole->n_ints;
    struct fe_onnx_tensor *labels =
        fe_onnx_new_tensor(g, FE_ONNX_INT64, 1, &n);
    for (int64_t i = 0; i < n; i++) {
        labels->whole[i] = whole->ints[i];
        labels->real[i] = (double)whole->ints[i];
    }
    return labels;
}

/* The index of the first largest as f64: the least index of those that are. */
static struct ir_value *first_largest(struct fe_onnx *g, struct ir_value *x)
{
    if (!x)
        return NULL;
    const enum ir_dtype dtype = x->type.dtype;
    const int64_t n = ir_type_volume(&x->type);
    double *count = ir_alloc_array(&g->scratch, (size_t)n, sizeof *count);
    for (int64_t i = 0; i < n; i++)
        count[i] = (double)i;
    struct ir_value *which =
        fe_onnx_map(g, "x0 x1 eq x2 inf where", dtype, x,
                    fe_onnx_reduce(g, x, "max"),
                    fe_onnx_vector(g, dtype, n, count));
    return fe_onnx_convert(g, fe_onnx_reduce(g, which, "min"), IR_F64);
}

bool fe_onnx_class_of(struct fe_onnx *g, struct ir_value *scores,
                      double bound, const struct fe_onnx_tensor *labels,
                      struct fe_onnx_value *class)
{
    if (!scores)
        return false;
    *class = (struct fe_onnx_value){.type = labels->type, .n = 1,
                                    .is_row = true, .labels = labels};
    if (ir_type_volume(&scores->type) == 1) {
        const struct ir_attr attr = ir_float("bound", bound);
        class->rows = fe_onnx_op(g, IR_OP_above, 1, &scores, 1, &attr);
        class->index = fe_onnx_convert(
            g, fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %.17g gt", bound),
                           scores->type.dtype, scores, NULL, NULL), IR_F64);
    } else {
        class->rows = fe_onnx_op(g, IR_OP_argmax, 1, &scores, 0, NULL);
        class->index = first_largest(g, scores);
    }
    return class->rows && class->index;
}

bool fe_onnx_give_classes(struct fe_onnx *g,
                          const struct fe_onnx_value *class,
                          struct ir_value *scores)
{
    scores = fe_onnx_convert(g, scores, IR_F32);
    if (!scores)
        return false;
    struct fe_onnx_value all = {.type = FE_ONNX_FLOAT, .rows = scores,
                                .rank = 1, .is_row = true,
                                .is_probability = true};
    all.dim[0] = all.n = ir_type_volume(&scores->type);
    return fe_onnx_give(g, 0, class) && fe_onnx_give(g, 1, &all);
}
