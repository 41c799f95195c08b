/* model.c: what a learner found -> a module, through the calls that importers
 * use: columns, the op `trees`, a link, outputs. Nets are in net_export.c.
 */
#include "trainer/private.h"

#include <string.h>

static struct ir_value *apply(struct ir_module *module, enum ir_op_kind kind,
                              struct ir_value *x, const struct ir_attr *attr,
                              struct ir_diag *diag)
{
    struct ir_op *op =
        x ? ir_add_op(module, kind, 1, &x, attr ? 1 : 0, attr, diag) : NULL;
    return op ? &op->result[0] : NULL;
}

/* Sums -> predictions. */
static struct ir_value *link(const struct tr_fit_job *job,
                             struct ir_module *module, struct ir_value *x,
                             struct ir_diag *diag)
{
    const struct ir_attr alpha = ir_float("alpha", 1);
    if (!job->has_link || job->task == TR_REGRESSION)
        return x;
    return job->task == TR_BINARY
               ? apply(module, IR_OP_sigmoid, x, &alpha, diag)
               : apply(module, IR_OP_softmax, x, NULL, diag);
}

bool tr_model_outputs(const struct tr_fit_job *job, struct ir_module *module,
                      struct ir_value *raw, struct ir_diag *diag)
{
    struct ir_value *value = link(job, module, raw, diag);
    if (!value)
        return false;
    ir_add_output(module, "value", value);
    if (job->task != TR_REGRESSION) {
        const struct ir_attr bound = ir_float("bound", 0.5);
        const bool two = job->task == TR_BINARY;
        struct ir_value *class =
            apply(module, two ? IR_OP_above : IR_OP_argmax, value,
                  two ? &bound : NULL, diag);
        if (!class)
            return false;
        ir_add_output(module, "probability", value);
        ir_set_labels(module, ir_add_output(module, "class", class),
                      job->n_classes, job->labels);
    }
    ir_add_output(module, "raw", raw);
    return true;
}

struct ir_module *tr_model_start(const struct tr_fit_job *job,
                                 const char *name)
{
    struct ir_module *module = ir_module_new(name);
    ir_set_fact(module, "source_format", "treenail");
    ir_set_fact(module, "source_sha256", job->frame->sha256);
    ir_set_fact(module, "learner", job->params->learner->name);
    ir_set_fact(module, "objective", job->objective->name);
    for (int i = 0; i < job->n_features; i++) {
        const struct ir_column *from = &job->frame->columns[job->columns[i]];
        struct ir_column *to = ir_add_column(module, from->name, from->kind,
                                             from->n_elements);
        if (from->n_categories > 0)
            ir_set_categories(module, to, from->n_categories,
                              (const char *const *)from->categories);
    }
    return module;
}

static struct ir_op *add_trees(const struct tr_fit_job *job,
                               struct ir_module *module, struct ir_value *x,
                               struct ir_diag *diag)
{
    struct ir_forest_builder *forest =
        ir_forest_begin(IR_F64, IR_F64, job->n_outputs);
    for (int t = 0; t < job->n_trees; t++) {
        const struct tr_tree *tree = &job->tree[t];
        if (tree->n_values == 1)
            tr_tree_emit(tree, &job->bins, forest, t % job->n_outputs, 0);
        else
            for (int k = 0; k < tree->n_values; k++)
                tr_tree_emit(tree, &job->bins, forest, k, k);
    }
    return ir_forest_finish(forest, module, x, "le", job->base, job->divisor,
                            0, ir_loc_file(NULL), diag);
}

struct ir_module *tr_model_trees(const struct tr_fit_job *job,
                                 const char *name, struct ir_diag *diag)
{
    struct ir_module *module = tr_model_start(job, name);
    const struct ir_attr attrs[] = {ir_int("first", 0),
                                    ir_int("count", job->n_features),
                                    ir_string("dtype", "f64")};
    struct ir_op *x =
        ir_add_op(module, IR_OP_input, 0, NULL, 3, attrs, diag);
    struct ir_op *trees =
        x ? add_trees(job, module, &x->result[0], diag) : NULL;
    if (trees && tr_model_outputs(job, module, &trees->result[0], diag)) {
        ir_add_output(module, "leaf", &trees->result[1]);
        if (ir_verify(module, diag))
            return module;
    }
    ir_module_free(module);
    return NULL;
}
