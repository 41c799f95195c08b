/* epilogue.c: what passes add to the ops of nets: a program for what becomes of
 * each element of the result (`epilogue`), and images with channels last
 * (`channels_last`). Neither is there in a model as it is built. */
#include "ir/ir_impl.h"

#include <stdlib.h>
#include <string.h>

/* Operand o of an epilogue has all of the result's elements, one for each
 * column of its last dim, or one. */
static int64_t element_of(const struct ir_op *op, int o, int64_t i)
{
    const struct ir_type *y = &op->result[0].type;
    const int64_t n = ir_type_volume(&op->operand[o]->type);
    return n == 1 ? 0 : n == ir_type_volume(y) ? i : i % y->dim[y->rank - 1];
}

bool ir_check_epilogue(const struct ir_op *op, int first, struct ir_diag *diag)
{
    const struct ir_attr *program = ir_find_attr(op, "epilogue");
    const struct ir_type *y = &op->result[0].type;
    if (!program)
        return op->n_operands == first ||
               ir_op_error(op, diag, "%d operands without an epilogue",
                           op->n_operands);
    for (int o = first; o < op->n_operands; o++) {
        const struct ir_type *x = &op->operand[o]->type;
        const int64_t n = ir_type_volume(x);
        const enum ir_dtype dtype = x->dtype == IR_U8 ? IR_F32 : x->dtype;
        if (dtype != ir_compute_dtype(op) ||
            (n != 1 && n != ir_type_volume(y) && n != y->dim[y->rank - 1]))
            return ir_op_error(op, diag, "operand %d has %lld elements of %s, "
                               "which the epilogue cannot take", o,
                               (long long)n, ir_dtype_name(x->dtype));
    }
    return ir_check_program(op, program->s, op->n_operands, diag);
}

void ir_eval_epilogue(struct ir_eval_context *c, const struct ir_op *op,
                      const void *made)
{
    const struct ir_attr *program = ir_find_attr(op, "epilogue");
    const struct ir_value *y = &op->result[0];
    const enum ir_dtype dtype = ir_compute_dtype(op);
    struct ir_step steps[IR_MAX_STEPS];
    struct ir_diag diag;
    double x[4] = {0};
    if (!program && made == ir_eval_data(c, y))
        return;
    ir_diag_init(&diag);
    const int n = ir_program_parse(program ? program->s : "x0", NULL, steps,
                                   &diag);
    ir_diag_release(&diag);
    for (int64_t i = 0; i < ir_type_volume(&y->type); i++) {
        x[0] = ir_real(made, dtype, (size_t)i);
        for (int o = 1; o < op->n_operands; o++)
            x[o] = ir_eval_get(c, op->operand[o], element_of(op, o, i));
        ir_eval_set(c, y, i, ir_program_eval(steps, n, x, dtype));
    }
}

/* --------------------------------------------------------- channels last -- */

/* to[i][j] = from[j][i], n rows of m elements of `bytes` bytes. */
static void turn(const uint8_t *from, uint8_t *to, int64_t n, int64_t m,
                 size_t bytes)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++)
            memcpy(to + (size_t)(i * m + j) * bytes,
                   from + (size_t)(j * n + i) * bytes, bytes);
}

static void *room(const struct ir_type *type, size_t bytes)
{
    return ir_realloc_array(NULL, (size_t)ir_type_volume(type), bytes);
}

void ir_eval_turned(struct ir_eval_context *c, const struct ir_op *op,
                    void *y, size_t bytes, ir_eval_image *eval)
{
    const void *x = ir_eval_data(c, op->operand[0]);
    const struct ir_type *in = &op->operand[0]->type;
    const struct ir_type *out = &op->result[0].type;
    const size_t x_bytes = ir_dtype_bytes(in->dtype);
    if (!ir_attr_int_or(op, "channels_last", 0)) {
        eval(c, op, x, y);
        return;
    }
    const int64_t channels = in->dim[in->rank - 1];
    const int64_t results = out->dim[out->rank - 1];
    void *turned = room(in, x_bytes), *result = room(out, bytes);
    turn(x, turned, channels, ir_type_volume(in) / channels, x_bytes);
    eval(c, op, turned, result);
    turn(result, y, ir_type_volume(out) / results, results, bytes);
    free(turned);
    free(result);
}
