/* onnx_linear.c: the linear models of ai.onnx.ml. ONNX Runtime sums products in
 * an order of its own, so results agree but for the last bits. */
#include "frontend/onnx_tree.h"

#include <string.h>

/* x times weights[j * row + i * column] of n_out x n_in, plus bias. */
static struct ir_value *dense(struct fe_onnx *g, struct ir_value *x,
                              int64_t n_out, const double *weights,
                              int64_t row, int64_t column, const double *bias)
{
    if (!x)
        return NULL;
    const enum ir_dtype dtype = x->type.dtype;
    const int64_t n_in = ir_type_volume(&x->type);
    struct ir_tensor *w = ir_alloc(&g->module->arena, sizeof *w);
    void *data = ir_alloc_array(&g->module->arena, (size_t)(n_out * n_in),
                                ir_dtype_bytes(dtype));
    for (int64_t j = 0; j < n_out; j++)
        for (int64_t i = 0; i < n_in; i++) {
            const double v = weights[j * row + i * column];
            if (dtype == IR_F64)
                ((double *)data)[j * n_in + i] = v;
            else
                ((float *)data)[j * n_in + i] = (float)v;
        }
    *w = (struct ir_tensor){.type = {.dtype = dtype, .rank = 2,
                                     .dim = {n_out, n_in}},
                            .data = data};
    const struct ir_attr attr = ir_tensor_attr("weights", w);
    struct ir_value *y = fe_onnx_op(g, IR_OP_dense, 1, &x, 1, &attr);
    return bias ? fe_onnx_map(g, "x0 x1 add", dtype, y,
                              fe_onnx_vector(g, dtype, n_out, bias), NULL)
                : y;
}

static const double *floats_of(struct fe_onnx *g, const char *name, size_t *n)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    *n = a ? a->n_floats : 0;
    double *list = ir_alloc_array(&g->scratch, *n, sizeof *list);
    for (size_t i = 0; i < *n; i++)
        list[i] = (double)a->floats[i];
    return list;
}

/* Scores of n_out targets by coefficients and intercepts. */
static struct ir_value *linear(struct fe_onnx *g, size_t n_out,
                               const double *intercepts)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    size_t n;
    const double *coefs = floats_of(g, "coefficients", &n);
    if (!x)
        return NULL;
    struct ir_value *rows =
        fe_onnx_convert(g, fe_onnx_numbers(g, x), IR_F32);
    if (!rows)
        return NULL;
    if (n != n_out * (size_t)x->n || n_out == 0) {
        fe_onnx_error(g, "coefficients has %zu elements, not %zu x %lld", n,
                      n_out, (long long)x->n);
        return NULL;
    }
    return dense(g, rows, (int64_t)n_out, coefs, x->n, 1, intercepts);
}

bool fe_onnx_linear_regressor(struct fe_onnx *g)
{
    const int64_t n_out = fe_onnx_int(g, "targets", 1);
    enum fe_onnx_post post;
    size_t n;
    const double *intercepts = floats_of(g, "intercepts", &n);
    if (n_out < 1 || n_out > IR_MAX_ELEMENTS)
        return fe_onnx_error(g, "targets is %lld", (long long)n_out);
    if (n != 0 && n != (size_t)n_out)
        return fe_onnx_error(g, "intercepts has %zu elements, not %lld or 0",
                             n, (long long)n_out);
    if (!fe_onnx_read_post(g, &post))
        return false;
    struct ir_value *scores = linear(g, (size_t)n_out, n ? intercepts : NULL);
    return scores &&
           fe_onnx_give_targets(g, scores, post, n_out, FE_ONNX_FLOAT);
}

bool fe_onnx_linear_classifier(struct fe_onnx *g)
{
    const struct fe_onnx_tensor *labels = fe_onnx_labels(g);
    struct fe_onnx_value class;
    enum fe_onnx_post post;
    size_t n;
    const double *intercepts = floats_of(g, "intercepts", &n);
    if (!labels || !fe_onnx_read_post(g, &post))
        return false;
    const bool one_of_two = n == 1 && labels->n == 2;
    if (labels->n < 2 || (n != (size_t)labels->n && !one_of_two))
        return fe_onnx_error(g, "intercepts has %zu elements, there are %lld "
                             "classes", n, (long long)labels->n);
    struct ir_value *scores = linear(g, n, intercepts);
    if (!scores || !fe_onnx_class_of(g, scores, 0, labels, &class))
        return false;
    if (n > 1) {
        scores = fe_onnx_post(g, post, scores);
    } else {
        /* One score of two classes is taken for a probability. */
        if (post == FE_ONNX_PROBIT)
            return fe_onnx_error(g, "PROBIT of one score of two classes "
                                 "leaves the other undefined");
        struct ir_value *parts[] = {
            fe_onnx_map(g, "1 x0 sub", IR_F32, scores, NULL, NULL), scores};
        scores = parts[0] ? fe_onnx_concat(g, 2, parts) : NULL;
    }
    return fe_onnx_give_classes(g, &class, scores);
}
