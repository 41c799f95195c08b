/* onnx_fold.c: nodes whose inputs are all constants. They are built as any
 * other, in a module of their own, which the interpreter then computes: so a
 * constant has the very bits that its value would have had in each row. What a
 * file may have computed here is limited by its size.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <stdlib.h>

/* Multiply-adds and the like that an element of the budget stands for. */
#define STEPS_PER_ELEMENT 64

static bool take_work(struct fe_onnx *g)
{
    for (int i = 0; i < g->module->n_ops; i++) {
        const int64_t work = ir_op_work(g->module->ops[i]);
        if (!fe_onnx_take_elements(g, 1 + work / STEPS_PER_ELEMENT))
            return false;
    }
    return true;
}

static double number(const void *data, enum ir_dtype dtype, int64_t i)
{
    return dtype == IR_I32 ? (double)((const int32_t *)data)[i]
                           : ir_real(data, dtype, (size_t)i);
}

/* The numbers of `rows` as a constant of the value's type and dims. */
static const struct fe_onnx_tensor *evaluate(struct fe_onnx *g,
                                             const struct fe_onnx_value *value,
                                             struct ir_value *rows)
{
    const enum ir_dtype dtype = rows->type.dtype;
    const double none = 0;
    const struct ir_rows row = {.dtype = IR_F64, .data = &none, .n_rows = 1,
                                .row_stride = 0, .column_stride = 1};
    const int output = g->module->n_outputs;
    if (!fe_onnx_take_elements(g, value->n))
        return NULL;
    ir_add_output(g->module, ir_sprintf(&g->scratch, "o%d", output), rows);
    void *data =
        ir_alloc_array(&g->scratch, (size_t)value->n, ir_dtype_bytes(dtype));
    ir_eval(g->module, output, &row, data);
    struct fe_onnx_tensor *t =
        fe_onnx_new_tensor(g, value->type, value->rank, value->dim);
    for (int64_t i = 0; i < t->n; i++) {
        t->real[i] = number(data, dtype, i);
        if (t->whole && !(fabs(t->real[i]) < 0x1p63)) {
            fe_onnx_error(g, "%g is no whole number that can be kept",
                          t->real[i]);
            return NULL;
        }
        if (t->whole)
            t->whole[i] = (int64_t)t->real[i];
    }
    return t;
}

/* A class is its label. */
static bool make_constant(struct fe_onnx *g, struct fe_onnx_value *value)
{
    if (value->type == FE_ONNX_STRING)
        return fe_onnx_error(g, "a constant class of strings is not read");
    struct ir_value *rows =
        value->labels ? fe_onnx_numbers(g, value) : value->rows;
    struct fe_onnx_linear *const linear =
        fe_onnx_linear_of(value) ? value->linear : NULL;
    value->constant = rows ? evaluate(g, value, rows) : NULL;
    value->rows = value->index = NULL;
    value->linear = linear;
    fe_onnx_keep_linear(value);
    value->labels = NULL;
    value->is_probability = false;
    return value->constant != NULL;
}

struct fe_onnx_aside fe_onnx_set_aside(struct fe_onnx *g, const char *name)
{
    const struct fe_onnx_aside aside = {g->module, g->values_left,
                                        g->n_ensembles, g->raw, g->leaf};
    g->module = ir_module_new(name);
    return aside;
}

void fe_onnx_take_back(struct fe_onnx *g, const struct fe_onnx_aside *aside)
{
    ir_module_free(g->module);
    g->module = aside->module;
    g->values_left = aside->values_left;
    g->n_ensembles = aside->n_ensembles;
    g->raw = aside->raw;
    g->leaf = aside->leaf;
}

bool fe_onnx_fold(struct fe_onnx *g, fe_onnx_builder *build)
{
    const struct fe_onnx_aside aside = fe_onnx_set_aside(g, "constants");
    bool good = build(g) && take_work(g);
    for (size_t i = 0; good && i < g->node->n_output; i++) {
        struct fe_onnx_value *value =
            *g->node->output[i] ? fe_onnx_find(g, g->node->output[i]) : NULL;
        if (value && !value->constant)
            good = make_constant(g, value);
    }
    fe_onnx_take_back(g, &aside);
    return good;
}
