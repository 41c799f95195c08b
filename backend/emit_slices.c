/* emit_slices.c: reduce over slices, and maps whose operands are broadcast.
 *
 * A slice is `size` elements, `inner` apart. Where inner is more than one,
 * slices lie side by side and are in lanes. Else they follow one another, and
 * blocks of as many elements of as many slices as there are lanes are turned in
 * registers. Each slice is reduced in ascending order anyhow.
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
    bool from_zero; /* 0 is one of the elements that it is the largest of */
    LLVMValueRef x, y; /* of this row, or of the slices that are reduced */
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

/* What is known of some slices, one a lane, after some of their elements. */
struct so_far {
    LLVMValueRef best; /* or the total */
    LLVMValueRef which; /* the element it is, of the kinds that find one */
};

static bool is_total(const struct reduce *r)
{
    return r->adds || r->multiplies;
}

/* The dtype of so_far.best. */
static enum ir_dtype kept_dtype(const struct reduce *r)
{
    return is_total(r) ? r->sum : r->in;
}

/* Whether it starts from a number, and not from the first element. */
static bool has_start(const struct reduce *r)
{
    return is_total(r) || r->from_zero;
}

/* Before any element; or, without a start, with the first, v, being one. */
static struct so_far before_all(const struct reduce *r, LLVMValueRef v,
                                int lanes)
{
    struct be_emitter *e = r->e;
    LLVMValueRef one = be_real(e, kept_dtype(r), r->multiplies ? 1 : 0);
    return (struct so_far){has_start(r) ? be_splat(e, one, lanes) : v,
                           LLVMConstNull(be_vector(e->i32, lanes))};
}

/* With element `index`, an i64, of each slice. */
static struct so_far with(const struct reduce *r, struct so_far s,
                          LLVMValueRef v, LLVMValueRef index, int lanes)
{
    struct be_emitter *e = r->e;
    const bool equal = r->finds && r->last;
    const LLVMRealPredicate wanted =
        r->largest ? equal ? LLVMRealOGE : LLVMRealOGT
                   : equal ? LLVMRealOLE : LLVMRealOLT;
    if (is_total(r))
        return (struct so_far){add_to(r, s.best, v), s.which};
    LLVMValueRef better = LLVMBuildFCmp(e->b, wanted, v, s.best, "");
    s.best = LLVMBuildSelect(e->b, better, v, s.best, "");
    if (r->finds) {
        LLVMValueRef here =
            be_splat(e, LLVMBuildTrunc(e->b, index, e->i32, ""), lanes);
        s.which = LLVMBuildSelect(e->b, better, here, s.which, "");
    }
    return s;
}

static void store_reduced(const struct reduce *r, const struct so_far *s,
                          LLVMValueRef index)
{
    struct be_emitter *e = r->e;
    be_store(e,
             r->finds ? s->which
                      : be_convert(e, s->best, kept_dtype(r), r->out),
             be_at(e, be_type(e, r->out), r->y, index));
}

/* A loop over elements of the slices, and what it carries. */
struct elements {
    struct be_loop loop;
    struct so_far phi, now;
};

static void elements_begin(const struct reduce *r, struct elements *l,
                           struct so_far start, int64_t from, int64_t to,
                           int64_t by)
{
    struct be_emitter *e = r->e;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &l->loop, be_i64(e, from), be_i64(e, to), by);
    l->phi = start;
    l->phi.best = be_carry(e, &l->loop, start.best, before);
    if (r->finds)
        l->phi.which = be_carry(e, &l->loop, start.which, before);
    l->now = l->phi;
}

static struct so_far elements_end(const struct reduce *r, struct elements *l)
{
    be_carried(r->e, l->phi.best, l->now.best);
    if (r->finds)
        be_carried(r->e, l->phi.which, l->now.which);
    be_loop_end(r->e, &l->loop);
    return l->phi;
}

/* Slices `inner` [index, index + lanes), which lie side by side. */
static void reduce_lanes(const struct reduce *r, LLVMValueRef index, int lanes)
{
    struct be_emitter *e = r->e;
    LLVMTypeRef element = be_type(e, r->in);
    LLVMTypeRef vector = be_vector(element, lanes);
    LLVMValueRef x = be_at(e, element, r->x, index);
    struct elements l;
    elements_begin(r, &l, before_all(r, be_load(e, vector, x), lanes),
                   has_start(r) ? 0 : 1, r->s.size, 1);
    LLVMValueRef v = be_load(
        e, vector, be_at_times(e, element, x, l.loop.index, r->s.inner));
    l.now = with(r, l.now, v, l.loop.index, lanes);
    const struct so_far all = elements_end(r, &l);
    store_reduced(r, &all, index);
}

/* Elements [first, first + n) of `lanes` slices that lie one after the other,
 * from r->x on. */
static struct so_far with_block(const struct reduce *r, struct so_far s,
                                LLVMValueRef first, int lanes, int n)
{
    struct be_emitter *e = r->e;
    LLVMTypeRef element = be_type(e, r->in);
    LLVMValueRef v[16], x = be_at(e, element, r->x, first);
    for (int i = 0; i < lanes; i++)
        v[i] = be_load_part(e, element,
                            be_at(e, element, x, be_i64(e, i * r->s.size)),
                            lanes, n);
    be_transpose(e, v, lanes);
    for (int j = 0; j < n; j++)
        s = with(r, s, v[j],
                 LLVMBuildNSWAdd(e->b, first, be_i64(e, j), ""), lanes);
    return s;
}

/* `lanes` slices at r->x, one after the other: their elements are turned in
 * blocks, so that a slice is a lane here too. */
static void reduce_block(const struct reduce *r, int lanes)
{
    struct be_emitter *e = r->e;
    LLVMTypeRef element = be_type(e, r->in);
    const int64_t whole = r->s.size / lanes * lanes;
    LLVMValueRef v = LLVMGetPoison(be_vector(element, lanes));
    for (int i = 0; i < lanes && !has_start(r); i++)
        v = LLVMBuildInsertElement(
            e->b, v,
            be_load(e, element,
                    be_at(e, element, r->x, be_i64(e, i * r->s.size))),
            be_i32(e, i), "");
    struct so_far s = before_all(r, v, lanes);
    if (whole) {
        struct elements l;
        elements_begin(r, &l, s, 0, whole, lanes);
        l.now = with_block(r, l.now, l.loop.index, lanes, lanes);
        s = elements_end(r, &l);
    }
    if (r->s.size > whole)
        s = with_block(r, s, be_i64(e, whole), lanes,
                       (int)(r->s.size - whole));
    store_reduced(r, &s, be_i64(e, 0));
}

/* The farther of two numbers in each lane; from_zero: neither is a NaN or -0,
 * so that any order will do. */
static LLVMValueRef farther(const struct reduce *r, LLVMValueRef a,
                            LLVMValueRef b, int lanes)
{
    return with(r, (struct so_far){a, NULL}, b, NULL, lanes).best;
}

/* Lane i + n of v in lane i. */
static LLVMValueRef moved_down(struct be_emitter *e, LLVMValueRef v, int n,
                               int lanes)
{
    LLVMValueRef mask[64];
    for (int i = 0; i < lanes; i++)
        mask[i] = be_i32(e, (i + n) % lanes);
    return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)),
                                  LLVMConstVector(mask, (unsigned)lanes), "");
}

/* The slice at r->x, from zero: its elements are in lanes, of some registers
 * that do not wait for each other. */
static void reduce_along(const struct reduce *r)
{
    enum { chains = 4 };
    struct be_emitter *e = r->e;
    LLVMTypeRef element = be_type(e, r->in);
    const int lanes = be_lanes(e, r->in), step = chains * lanes;
    const int64_t whole = r->s.size / step * step;
    LLVMValueRef best[chains], phi[chains];
    for (int i = 0; i < chains; i++)
        best[i] = before_all(r, NULL, lanes).best;
    if (whole) {
        struct be_loop loop;
        LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole), step);
        for (int i = 0; i < chains; i++)
            phi[i] = be_carry(e, &loop, best[i], before);
        LLVMValueRef x = be_at(e, element, r->x, loop.index);
        for (int i = 0; i < chains; i++)
            be_carried(e, phi[i],
                       farther(r, phi[i],
                               be_load(e, be_vector(element, lanes),
                                       be_at(e, element, x,
                                             be_i64(e, i * lanes))), lanes));
        be_loop_end(e, &loop);
        memcpy(best, phi, sizeof(best));
    }
    for (int64_t at = whole; at < r->s.size; at += lanes) {
        const int64_t left = r->s.size - at;
        best[0] = farther(
            r, best[0],
            be_load_part(e, element, be_at(e, element, r->x, be_i64(e, at)),
                         lanes, left < lanes ? (int)left : lanes), lanes);
    }
    for (int i = 1; i < chains; i++)
        best[0] = farther(r, best[0], best[i], lanes);
    for (int n = lanes / 2; n > 0; n /= 2)
        best[0] = farther(r, best[0], moved_down(e, best[0], n, lanes), lanes);
    const struct so_far all = {
        LLVMBuildExtractElement(e->b, best[0], be_i32(e, 0), ""), NULL};
    store_reduced(r, &all, be_i64(e, 0));
}

static void reduce_all_along(const struct reduce *r, LLVMValueRef n)
{
    struct be_emitter *e = r->e;
    struct be_loop loop;
    struct reduce one = *r;
    be_loop_begin(e, &loop, be_i64(e, 0), n, 1);
    one.x = be_at_times(e, be_type(e, r->in), r->x, loop.index, r->s.size);
    one.y = be_at(e, be_type(e, r->out), r->y, loop.index);
    reduce_along(&one);
    be_loop_end(e, &loop);
}

/* n slices, an i64, one after the other: as many at once as a register has
 * lanes, then four, then one. */
static void reduce_adjacent(const struct reduce *r, LLVMValueRef n)
{
    struct be_emitter *e = r->e;
    const bool known = LLVMIsAConstantInt(n);
    int64_t left = known ? LLVMConstIntGetSExtValue(n) : INT64_MAX;
    LLVMValueRef from = be_i64(e, 0);
    if (r->from_zero && r->s.size >= be_lanes(e, r->in)) {
        reduce_all_along(r, n);
        return;
    }
    for (int lanes = be_lanes(e, r->in); lanes > 0;
         lanes = lanes > 4 ? 4 : lanes > 1 ? 1 : 0) {
        struct be_loop loop;
        struct reduce some = *r;
        if (left < lanes)
            continue;
        be_loop_begin(e, &loop, from,
                      LLVMBuildNSWSub(e->b, n, be_i64(e, lanes - 1), ""),
                      lanes);
        some.x = be_at_times(e, be_type(e, r->in), r->x, loop.index,
                             r->s.size);
        some.y = be_at(e, be_type(e, r->out), r->y, loop.index);
        if (lanes > 1)
            reduce_block(&some, lanes);
        else
            reduce_lanes(&some, be_i64(e, 0), 1);
        be_loop_end(e, &loop);
        from = loop.index;
        left = known ? left % lanes : left;
    }
}

/* The slices of one row where they lie side by side. */
static void reduce_inner(const struct reduce *r)
{
    struct be_emitter *e = r->e;
    struct be_loop outer, inner;
    struct reduce some = *r;
    int64_t done = 0;
    be_loop_begin(e, &outer, be_i64(e, 0), be_i64(e, r->s.outer), 1);
    some.x = be_at_times(e, be_type(e, r->in), r->x, outer.index,
                         r->s.size * r->s.inner);
    some.y = be_at_times(e, be_type(e, r->out), r->y, outer.index,
                         r->s.inner);
    for (int lanes = be_lanes(e, r->in); lanes > 0; lanes /= 2) {
        const int64_t end = done + (r->s.inner - done) / lanes * lanes;
        if (end == done)
            continue;
        be_loop_begin(e, &inner, be_i64(e, done), be_i64(e, end), lanes);
        reduce_lanes(&some, inner.index, lanes);
        be_loop_end(e, &inner);
        done = end;
    }
    be_loop_end(e, &outer);
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
        .largest = !strcmp(kind, "max") || !strcmp(kind, "argmax") ||
                   !strcmp(kind, "high"),
        .from_zero = !strcmp(kind, "high") || !strcmp(kind, "low"),
        .finds = !strncmp(kind, "arg", 3),
        .last = ir_attr_int_or(k->op, "last", 0)};
    LLVMTypeRef in = be_type(e, r.in), out = be_type(e, r.out);
    const int64_t n = ir_type_volume(y);
    struct be_loop row;
    if (r.s.inner == 1 && k->x[0].stride == ir_type_volume(x)) {
        r.x = k->x[0].base;
        r.y = k->y[0];
        reduce_adjacent(&r, LLVMIsAConstantInt(k->n_rows)
                                ? be_i64(e, n)
                                : LLVMBuildNSWMul(e->b, k->n_rows,
                                                  be_i64(e, n), ""));
        return;
    }
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    r.x = be_at_times(e, in, k->x[0].base, row.index, k->x[0].stride);
    r.y = be_at_times(e, out, k->y[0], row.index, n);
    if (r.s.inner == 1)
        reduce_adjacent(&r, be_i64(e, n));
    else
        reduce_inner(&r);
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
    LLVMTypeRef out = be_type(e, m->out);
    LLVMValueRef x[BE_KERNEL_OPERANDS];
    for (int o = 0; o < m->k->op->n_operands; o++) {
        const enum ir_dtype of = m->k->op->operand[o]->type.dtype;
        LLVMTypeRef in = be_type(e, of);
        const int64_t stride = dims->stride[dims->n - 1][o];
        if (stride == 0)
            x[o] = be_load_splat(e, in, m->x[o], 0, lanes);
        else
            x[o] = be_load_part(e, in,
                                be_at_times(e, in, m->x[o], index, stride),
                                lanes, n);
        x[o] = be_convert(e, x[o], of, m->in);
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
    struct map m = {.k = k, .in = ir_compute_dtype(k->op),
                    .out = k->op->result[0].type.dtype};
    struct be_loop row, loop[IR_MAX_RANK];
    struct ir_diag diag;
    ir_diag_init(&diag);
    m.n_steps = ir_program_parse(ir_attr_string(k->op, "program"), k->op,
                                 m.steps, &diag);
    ir_diag_release(&diag);
    LLVMTypeRef in[BE_KERNEL_OPERANDS], out = be_type(e, m.out);
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    for (int o = 0; o < k->op->n_operands; o++)
        in[o] = be_type(e, k->op->operand[o]->type.dtype);
    for (int o = 0; o < k->op->n_operands; o++)
        m.x[o] = be_at_times(e, in[o], k->x[o].base, row.index, k->x[o].stride);
    m.y = be_at_times(e, out, k->y[0], row.index, n);
    int64_t dense = n;
    for (int i = 0; i + 1 < dims.n; i++) {
        dense /= dims.size[i];
        be_loop_begin(e, &loop[i], be_i64(e, 0), be_i64(e, dims.size[i]), 1);
        for (int o = 0; o < k->op->n_operands; o++)
            m.x[o] = be_at_times(e, in[o], m.x[o], loop[i].index,
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
