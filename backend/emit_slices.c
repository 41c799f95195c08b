/* emit_slices.c: reduce over slices, and maps whose operands are broadcast.
 *
 * A slice is `size` elements, `inner` apart. Where inner is more than one,
 * slices lie side by side and are in lanes; each is reduced in ascending order
 * anyhow.
 *
 * A broadcast map is a nest of loops over the result's dims, joined where every
 * operand's places go on evenly; along the last dim an operand is dense, or one
 * number for all. */
#include "backend/llvm.h"

#include <string.h>

/* ------------------------------------------------------------------ reduce */

struct reduce {
    struct be_emitter *e;
    struct ir_slices s;
    enum ir_dtype in, sum, out;
    bool adds, multiplies, largest, finds, last;
    LLVMValueRef x, y; /* of this row and outer number */
};

/* The total with v: computed in the wider of both dtypes, then rounded. */
static LLVMValueRef add_to(const struct reduce *r, LLVMValueRef total,
                           LLVMValueRef v)
{
    struct be_emitter *e = r->e;
    const enum ir_dtype wide =
        r->in == IR_F64 || r->sum == IR_F64 ? IR_F64 : IR_F32;
    total = be_convert(e, total, r->sum, wide);
    v = be_convert(e, v, r->in, wide);
    total = r->adds ? LLVMBuildFAdd(e->b, total, v, "")
                    : LLVMBuildFMul(e->b, total, v, "");
    return be_convert(e, total, wide, r->sum);
}

/* Slices `inner` [index, index + lanes). */
static void reduce_lanes(const struct reduce *r, LLVMValueRef index, int lanes)
{
    struct be_emitter *e = r->e;
    LLVMTypeRef element = be_type(e, r->in);
    const bool totals = r->adds || r->multiplies;
    const enum ir_dtype kept = totals ? r->sum : r->in;
    LLVMTypeRef vector = be_vector(be_type(e, kept), lanes);
    LLVMTypeRef number = be_vector(e->i32, lanes);
    LLVMValueRef x = be_at(e, element, r->x, index), start, which = NULL;
    if (r->adds)
        start = LLVMConstNull(vector);
    else if (r->multiplies)
        start = be_splat(e, be_real(e, kept, 1), lanes);
    else
        start = be_load(e, be_vector(element, lanes), x);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, totals ? 0 : 1), be_i64(e, r->s.size),
                  1);
    LLVMValueRef so_far = be_carry(e, &loop, start, before);
    if (r->finds)
        which = be_carry(e, &loop, LLVMConstNull(number), before);
    LLVMValueRef v =
        be_load(e, be_vector(element, lanes),
                be_at_times(e, element, x, loop.index, r->s.inner));
    if (totals) {
        be_carried(e, so_far, add_to(r, so_far, v));
    } else {
        const bool equal = r->finds && r->last;
        LLVMRealPredicate wanted =
            r->largest ? equal ? LLVMRealOGE : LLVMRealOGT
                       : equal ? LLVMRealOLE : LLVMRealOLT;
        LLVMValueRef better = LLVMBuildFCmp(e->b, wanted, v, so_far, "");
        be_carried(e, so_far, LLVMBuildSelect(e->b, better, v, so_far, ""));
        if (r->finds) {
            LLVMValueRef here = be_splat(
                e, LLVMBuildTrunc(e->b, loop.index, e->i32, ""), lanes);
            be_carried(e, which,
                       LLVMBuildSelect(e->b, better, here, which, ""));
        }
    }
    be_loop_end(e, &loop);
    LLVMValueRef y = be_at(e, be_type(e, r->out), r->y, index);
    be_store(e, r->finds ? which : be_convert(e, so_far, kept, r->out), y);
}

static void reduce_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const char *kind = ir_attr_string(k->op, "kind");
    const struct ir_type *x = &k->op->operand[0]->type;
    const struct ir_type *y = &k->op->result[0].type;
    struct reduce r = {
        .e = e, .s = ir_slices_of(k->op), .in = x->dtype, .out = y->dtype,
        .sum = ir_sum_dtype(k->op, x->dtype), .adds = !strcmp(kind, "sum"),
        .multiplies = !strcmp(kind, "prod"),
        .largest = !strcmp(kind, "max") || !strcmp(kind, "argmax"),
        .finds = !strncmp(kind, "arg", 3),
        .last = ir_attr_int_or(k->op, "last", 0)};
    LLVMTypeRef in = be_type(e, r.in), out = be_type(e, r.out);
    struct be_loop row, outer;
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    LLVMValueRef from =
        be_at_times(e, in, k->x[0].base, row.index, k->x[0].stride);
    LLVMValueRef to =
        be_at_times(e, out, k->y[0], row.index, ir_type_volume(y));
    be_loop_begin(e, &outer, be_i64(e, 0), be_i64(e, r.s.outer), 1);
    r.x = be_at_times(e, in, from, outer.index, r.s.size * r.s.inner);
    r.y = be_at_times(e, out, to, outer.index, r.s.inner);
    int64_t done = 0;
    for (int lanes = be_lanes(e, r.in); lanes > 0; lanes /= 2) {
        const int64_t end = done + (r.s.inner - done) / lanes * lanes;
        struct be_loop inner;
        if (end == done)
            continue;
        be_loop_begin(e, &inner, be_i64(e, done), be_i64(e, end), lanes);
        reduce_lanes(&r, inner.index, lanes);
        be_loop_end(e, &inner);
        done = end;
    }
    be_loop_end(e, &outer);
    be_loop_end(e, &row);
}

void be_reduce_slices(struct be_emitter *e, const struct ir_op *op)
{
    be_kernel_call(e, op, reduce_body);
}

/* --------------------------------------------------------------------- map */

/* By dim of the result: its size, and from place to place of each operand. */
struct dims {
    int n;
    int64_t size[IR_MAX_RANK];
    int64_t stride[IR_MAX_RANK][BE_KERNEL_OPERANDS];
};

struct map {
    struct be_kernel *k;
    struct ir_step steps[IR_MAX_STEPS];
    int n_steps;
    enum ir_dtype in, out;
    LLVMValueRef x[BE_KERNEL_OPERANDS], y;
};

/* The strides of x along the result's dim i. */
static int64_t stride_of(const struct ir_type *x, const struct ir_type *y,
                         int i)
{
    const int own = i - (y->rank - x->rank);
    int64_t stride = 1;
    if (ir_type_volume(x) == 1 || own < 0 || x->dim[own] == 1)
        return 0;
    for (int d = own + 1; d < x->rank; d++)
        stride *= x->dim[d];
    return stride;
}

static struct dims dims_of(const struct ir_op *op)
{
    const struct ir_type *y = &op->result[0].type;
    struct dims dims = {0};
    for (int i = 0; i < y->rank; i++) {
        int64_t stride[BE_KERNEL_OPERANDS];
        bool joins = dims.n > 0;
        if (y->dim[i] == 1)
            continue;
        for (int o = 0; o < op->n_operands; o++) {
            stride[o] = stride_of(&op->operand[o]->type, y, i);
            joins = joins &&
                    dims.stride[dims.n - 1][o] == stride[o] * y->dim[i];
        }
        if (!joins)
            dims.size[dims.n++] = 1;
        dims.size[dims.n - 1] *= y->dim[i];
        memcpy(dims.stride[dims.n - 1], stride, sizeof(stride));
    }
    if (dims.n == 0)
        dims.size[dims.n++] = 1;
    return dims;
}

/* Elements [index, index + n) along the last dim, in `lanes` lanes. */
static void map_lanes(const struct map *m, const struct dims *dims,
                      LLVMValueRef index, int lanes, int n)
{
    struct be_emitter *e = m->k->e;
    LLVMTypeRef in = be_type(e, m->in), out = be_type(e, m->out);
    LLVMValueRef x[BE_KERNEL_OPERANDS];
    for (int o = 0; o < m->k->op->n_operands; o++) {
        const int64_t stride = dims->stride[dims->n - 1][o];
        if (stride == 0)
            x[o] = be_load_splat(e, in, m->x[o], 0, lanes);
        else
            x[o] = be_load_part(e, in,
                                be_at_times(e, in, m->x[o], index, stride),
                                lanes, n);
    }
    LLVMValueRef v = be_program(e, m->steps, m->n_steps, m->in, lanes, x);
    be_store_part(e, out, be_convert(e, v, m->in, m->out),
                  be_at(e, out, m->y, index), lanes, n);
}

/* The last dim: in vectors where all operands are dense or one number. */
static void map_across(const struct map *m, const struct dims *dims)
{
    struct be_emitter *e = m->k->e;
    const int64_t n = dims->size[dims->n - 1];
    int lanes = be_lanes(e, m->in);
    for (int o = 0; o < m->k->op->n_operands; o++)
        if (dims->stride[dims->n - 1][o] > 1)
            lanes = 1;
    const int64_t whole = n / lanes * lanes;
    struct be_loop loop;
    if (whole) {
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole), lanes);
        map_lanes(m, dims, loop.index, lanes, lanes);
        be_loop_end(e, &loop);
    }
    if (whole < n)
        map_lanes(m, dims, be_i64(e, whole), lanes, (int)(n - whole));
}

static void map_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const struct dims dims = dims_of(k->op);
    const int64_t n = ir_type_volume(&k->op->result[0].type);
    struct map m = {.k = k, .in = k->op->operand[0]->type.dtype,
                    .out = k->op->result[0].type.dtype};
    struct be_loop row, loop[IR_MAX_RANK];
    struct ir_diag diag;
    ir_diag_init(&diag);
    m.n_steps = ir_program_parse(ir_attr_string(k->op, "program"), k->op,
                                 m.steps, &diag);
    ir_diag_release(&diag);
    LLVMTypeRef in = be_type(e, m.in), out = be_type(e, m.out);
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    for (int o = 0; o < k->op->n_operands; o++)
        m.x[o] = be_at_times(e, in, k->x[o].base, row.index, k->x[o].stride);
    m.y = be_at_times(e, out, k->y[0], row.index, n);
    int64_t dense = n;
    for (int i = 0; i + 1 < dims.n; i++) {
        dense /= dims.size[i];
        be_loop_begin(e, &loop[i], be_i64(e, 0), be_i64(e, dims.size[i]), 1);
        for (int o = 0; o < k->op->n_operands; o++)
            m.x[o] = be_at_times(e, in, m.x[o], loop[i].index,
                                 dims.stride[i][o]);
        m.y = be_at_times(e, out, m.y, loop[i].index, dense);
    }
    map_across(&m, &dims);
    for (int i = dims.n - 1; i-- > 0;)
        be_loop_end(e, &loop[i]);
    be_loop_end(e, &row);
}

void be_map_broadcast(struct be_emitter *e, const struct ir_op *op)
{
    be_kernel_call(e, op, map_body);
}
