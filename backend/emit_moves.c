/* emit_moves.c: the ops that move elements and compute nothing: view, pad,
 * take, and concat along an axis. What lies side by side on both sides is
 * copied in whole registers. */
#include "backend/llvm.h"

static const int64_t *ints(const struct ir_op *op, const char *name)
{
    return ir_attr_tensor(op, name)->data;
}

/* Loops over the places of some dims; `from` and `to` move along. */
struct nest {
    struct be_emitter *e;
    enum ir_dtype dtype;
    LLVMTypeRef type;
    int n;
    struct be_loop loop[IR_MAX_RANK + 1];
    LLVMValueRef from, to;
};

static void enter(struct nest *nest, LLVMValueRef n, int64_t from, int64_t to)
{
    struct be_emitter *e = nest->e;
    struct be_loop *loop = &nest->loop[nest->n++];
    be_loop_begin(e, loop, be_i64(e, 0), n, 1);
    nest->from = be_at_times(e, nest->type, nest->from, loop->index, from);
    nest->to = be_at_times(e, nest->type, nest->to, loop->index, to);
}

static void leave(struct nest *nest)
{
    while (nest->n > 0)
        be_loop_end(nest->e, &nest->loop[--nest->n]);
}

/* The rows of the tile, from x to y. */
static struct nest rows_of(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const struct ir_type *y = &k->op->result[0].type;
    struct nest nest = {.e = e, .dtype = y->dtype,
                        .type = be_type(e, y->dtype),
                        .from = k->x[0].base, .to = k->y[0]};
    enter(&nest, k->n_rows, k->x[0].stride, ir_type_volume(y));
    return nest;
}

/* -------------------------------------------------------------------- view */

/* The dims of a view, those that are one in x and in the result joined. */
struct dims {
    int n;
    int64_t size[IR_MAX_RANK], stride[IR_MAX_RANK];
};

static struct dims dims_of(const struct ir_op *op)
{
    const struct ir_type *y = &op->result[0].type;
    struct dims dims = {0};
    for (int i = 0; i < y->rank; i++) {
        const int64_t size = y->dim[i], stride = ints(op, "strides")[i];
        const int last = dims.n - 1;
        if (size == 1)
            continue;
        if (last >= 0 && dims.stride[last] == size * stride) {
            dims.size[last] *= size;
            dims.stride[last] = stride;
            continue;
        }
        dims.size[dims.n] = size;
        dims.stride[dims.n++] = stride;
    }
    return dims;
}

/* A dim whose elements are side by side in x, or -1. */
static int find_dense(const struct dims *dims)
{
    for (int i = 0; i < dims->n; i++)
        if (dims->stride[i] == 1)
            return i;
    return -1;
}

static void view_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const struct dims dims = dims_of(k->op);
    struct nest nest = rows_of(k);
    int64_t dense = ir_type_volume(&k->op->result[0].type);
    nest.from = be_at(e, nest.type, nest.from,
                      be_i64(e, ir_attr_int(k->op, "offset")));
    const int inner = dims.n - 1;
    const int across = inner > 0 && dims.stride[inner] != 1
                           ? find_dense(&dims) : -1;
    int64_t y_far = 0;
    for (int i = 0; i < inner; i++) {
        dense /= dims.size[i];
        if (i == across)
            y_far = dense;
        else
            enter(&nest, be_i64(e, dims.size[i]), dims.stride[i], dense);
    }
    if (across >= 0) {
        be_turn(e, nest.dtype, nest.from, dims.stride[inner], nest.to, y_far,
                dims.size[across], dims.size[inner]);
        leave(&nest);
        return;
    }
    if (inner >= 0 && dims.stride[inner] != 1) {
        enter(&nest, be_i64(e, dims.size[inner]), dims.stride[inner], 1);
        dense = 1;
    }
    be_copy(e, nest.dtype, nest.from, nest.to, dense);
    leave(&nest);
}

/* Readers of an alias read its operand: only an output is written. */
void be_lower_view(struct be_emitter *e, const struct ir_op *op)
{
    if (!ir_is_alias(op) || e->out_value == &op->result[0])
        be_kernel_call(e, op, view_body);
}

/* --------------------------------------------------------------------- pad */

static void pad_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const struct ir_type *x = &k->op->operand[0]->type;
    const struct ir_type *y = &k->op->result[0].type;
    const int64_t *before = ints(k->op, "before");
    struct nest nest = rows_of(k);
    int64_t from = 1, to = 1, skip = 0, x_far[IR_MAX_RANK], y_far[IR_MAX_RANK];
    for (int i = y->rank; i-- > 0; from *= x->dim[i], to *= y->dim[i]) {
        x_far[i] = from;
        y_far[i] = to;
        skip += before[i] * to;
    }
    be_fill(e, nest.dtype,
            be_real(e, nest.dtype, ir_attr_float(k->op, "value")), nest.to,
            to);
    nest.to = be_at(e, nest.type, nest.to, be_i64(e, skip));
    /* What is copied at once: dims that are not padded, and the next. */
    int whole = y->rank - 1;
    while (whole > 0 && x->dim[whole] == y->dim[whole])
        whole--;
    for (int i = 0; i < whole; i++)
        enter(&nest, be_i64(e, x->dim[i]), x_far[i], y_far[i]);
    be_copy(e, nest.dtype, nest.from, nest.to, x->dim[whole] * x_far[whole]);
    leave(&nest);
}

void be_lower_pad(struct be_emitter *e, const struct ir_op *op)
{
    be_kernel_call(e, op, pad_body);
}

/* -------------------------------------------------------------------- take */

/* The row of n that v is of; moves.c says which. */
static LLVMValueRef row_of(struct be_emitter *e, LLVMValueRef v, int64_t n)
{
    LLVMTypeRef type = e->f64;
    LLVMValueRef zero = LLVMConstNull(type), many = be_real(e, IR_F64, n);
    v = be_intrinsic(e, "llvm.trunc", type, &v, 1);
    LLVMValueRef low = LLVMBuildFCmp(e->b, LLVMRealOLT, v, zero, "");
    v = LLVMBuildSelect(e->b, low, LLVMBuildFAdd(e->b, v, many, ""), v, "");
    LLVMValueRef some = LLVMBuildFCmp(e->b, LLVMRealOGT, v, zero, "");
    v = LLVMBuildSelect(e->b, some, v, zero, "");
    LLVMValueRef few = LLVMBuildFCmp(e->b, LLVMRealOLT, v, many, "");
    v = LLVMBuildSelect(e->b, few, v, be_real(e, IR_F64, (double)(n - 1)),
                        "");
    return LLVMBuildFPToSI(e->b, v, e->i64, "");
}

static void take_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const struct ir_tensor *table = ir_attr_tensor(k->op, "table");
    const struct ir_type *x = &k->op->operand[0]->type;
    const int64_t n = ir_type_volume(x);
    const int64_t each = ir_type_volume(&k->op->result[0].type) / n;
    LLVMTypeRef type = be_type(e, table->type.dtype);
    struct be_loop row, element;
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    LLVMValueRef from = be_at_times(e, be_type(e, x->dtype), k->x[0].base,
                                    row.index, k->x[0].stride);
    LLVMValueRef to = be_at_times(e, type, k->y[0], row.index, n * each);
    be_loop_begin(e, &element, be_i64(e, 0), be_i64(e, n), 1);
    LLVMValueRef v =
        be_load(e, be_type(e, x->dtype),
                be_at(e, be_type(e, x->dtype), from, element.index));
    LLVMValueRef which =
        row_of(e, be_convert(e, v, x->dtype, IR_F64), table->type.dim[0]);
    be_copy(e, table->type.dtype,
            be_at_times(e, type, be_attr_table(e, k->op, "table"), which,
                        each),
            be_at_times(e, type, to, element.index, each), each);
    be_loop_end(e, &element);
    be_loop_end(e, &row);
}

void be_lower_take(struct be_emitter *e, const struct ir_op *op)
{
    be_kernel_call(e, op, take_body);
}

/* ------------------------------------------------------------------ concat */

void be_concat_axis(struct be_emitter *e, const struct ir_op *op)
{
    const struct ir_value *y = &op->result[0];
    const int64_t n = ir_type_volume(&y->type);
    int64_t pieces = 1, skip = 0;
    for (int64_t i = 0; i < ir_attr_int_or(op, "axis", 0); i++)
        pieces *= y->type.dim[i];
    for (int i = 0; i < op->n_operands; i++) {
        const struct be_dense x = be_dense_of(e, op->operand[i]);
        const int64_t each = ir_type_volume(&op->operand[i]->type) / pieces;
        struct nest nest = {.e = e, .dtype = y->type.dtype,
                            .type = be_type(e, y->type.dtype),
                            .from = x.base, .to = be_buffer(e, y)};
        nest.to = be_at(e, nest.type, nest.to, be_i64(e, skip));
        enter(&nest, e->n_rows, x.stride, n);
        enter(&nest, be_i64(e, pieces), each, n / pieces);
        be_copy(e, nest.dtype, nest.from, nest.to, each);
        leave(&nest);
        skip += each;
    }
}
