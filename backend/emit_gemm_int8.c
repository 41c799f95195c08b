/* emit_gemm_int8.c: the op `gemm` with weights of i8: its rows are first made
 * whole numbers, in the room that it works in, unless they are, and then
 * multiplied. */
#include "backend/llvm.h"

struct product {
    struct be_kernel *k;
    LLVMValueRef x, y; /* of the first row: numbers; the result */
    LLVMValueRef n_rows;
    enum ir_dtype to;
    int64_t pitch, columns; /* bytes from row to row; numbers of a result */
    const struct be_epilogue *epilogue;
    bool by_row; /* rows have numbers of their own that it reads, and zeros; */
    LLVMValueRef zero; /* else all rows have this, or NULL */
};

/* Bytes of a row. */
static int64_t pitch_of(const struct ir_op *op)
{
    return (ir_attr_tensor(op, "weights")->type.dim[0] + 3) / 4 * 4;
}

static int64_t rows_of(const struct ir_op *op)
{
    return ir_type_volume(&op->operand[0]->type) /
           ir_attr_tensor(op, "weights")->type.dim[0];
}

/* Whether rows are multiplied where they are: numbers already, whose last four
 * are there. */
static bool is_in_place(const struct ir_op *op)
{
    return op->operand[0]->type.dtype == IR_U8 &&
           ir_attr_tensor(op, "weights")->type.dim[0] % 4 == 0;
}

int64_t be_gemm_work(const struct ir_op *op, int64_t rows)
{
    return ir_is_int8(op) && !is_in_place(op)
               ? rows * rows_of(op) * pitch_of(op) : 0;
}

static void emit_tile(const struct product *p, const struct be_dot *d,
                      const struct be_dot_strip *s, LLVMValueRef row, int rows)
{
    struct be_emitter *e = d->e;
    LLVMValueRef y[BE_DOT_SUMS];
    struct be_epilogue *own =
        ir_alloc_array(&e->arena, (size_t)rows, sizeof(*own));
    struct be_dot_tile t = {.x = be_at_times(e, e->i8, p->x, row, p->pitch),
                            .rows = rows};
    for (int r = 0; r < rows; r++)
        t.skip[r] = r * p->pitch;
    for (int r = 0; r < rows; r++) {
        LLVMValueRef at = LLVMBuildNSWAdd(e->b, row, be_i64(e, r), "");
        t.zero[r] = p->zero ? p->zero : be_dot_zero(p->k, at);
        own[r] = p->by_row ? be_epilogue_of_row(e, p->epilogue, at)
                           : *p->epilogue;
    }
    be_dot_sum(d, s, &t, y);
    for (int i = 0; i < rows * s->vectors; i++) {
        const int r = i / s->vectors, v = i % s->vectors;
        const int n = v + 1 < s->vectors ? s->lanes : s->last;
        LLVMValueRef column = LLVMBuildNSWAdd(
            e->b, s->column, be_i64(e, (int64_t)v * s->lanes), "");
        LLVMValueRef at = LLVMBuildNSWMul(
            e->b, LLVMBuildNSWAdd(e->b, row, be_i64(e, r), ""),
            be_i64(e, p->columns), "");
        at = LLVMBuildNSWAdd(e->b, at, column, "");
        y[i] = be_epilogue_apply(e, &own[r], y[i], at, column, s->lanes,
                                 n);
        LLVMTypeRef to = be_type(e, p->to);
        be_store_part(e, to, y[i], be_at(e, to, p->y, at), s->lanes, n);
    }
}

/* Whole tiles, then smaller ones. */
static void emit_rows(void *of, const struct be_dot *d,
                      const struct be_dot_strip *s)
{
    const struct product *p = of;
    struct be_emitter *e = d->e;
    LLVMValueRef from = be_i64(e, 0);
    if (LLVMIsAConstantInt(p->n_rows) &&
        LLVMConstIntGetSExtValue(p->n_rows) == 1) {
        emit_tile(p, d, s, from, 1);
        return;
    }
    for (int rows = be_dot_rows(e, s->vectors); rows > 0;) {
        struct be_loop loop;
        LLVMValueRef end =
            LLVMBuildNSWSub(e->b, p->n_rows, be_i64(e, rows - 1), "");
        be_loop_begin(e, &loop, from, end, rows);
        emit_tile(p, d, s, loop.index, rows);
        be_loop_end(e, &loop);
        from = loop.index;
        int less = 1;
        while (2 * less < rows)
            less *= 2;
        rows = rows > 1 ? less : 0;
    }
}

static void quantise_rows(const struct product *p, LLVMValueRef x,
                          int64_t x_stride)
{
    const struct ir_op *op = p->k->op;
    struct be_emitter *e = p->k->e;
    LLVMTypeRef from = be_type(e, op->operand[0]->type.dtype);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), p->n_rows, 1);
    be_dot_quantise(e, op, be_at_times(e, from, x, loop.index, x_stride),
                    be_at_times(e, e->i8, p->x, loop.index, p->pitch),
                    ir_attr_tensor(op, "weights")->type.dim[0], 1);
    be_loop_end(e, &loop);
}

static void emit_product(struct product *p, const struct be_dot *d,
                         LLVMValueRef x, int64_t x_stride)
{
    struct be_emitter *e = d->e;
    const bool one = LLVMIsAConstantInt(p->n_rows) &&
                     LLVMConstIntGetSExtValue(p->n_rows) == 1;
    if (is_in_place(p->k->op)) {
        p->x = x;
        p->pitch = x_stride;
    } else {
        quantise_rows(p, x, x_stride);
    }
    be_dot_columns(d, be_i64(e, 0), be_dot_vectors(e, one), emit_rows, p);
}

void be_gemm_int8(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const int64_t *dim = ir_attr_tensor(k->op, "weights")->type.dim;
    const int64_t depth = dim[0], columns = dim[1], rows = rows_of(k->op);
    int64_t *order =
        ir_alloc_array(&e->arena, (size_t)depth, sizeof(*order));
    static const int64_t at_once[] = {0};
    for (int64_t i = 0; i < depth; i++)
        order[i] = i;
    struct be_dot d = {.op = k->op, .runs = 1, .length = depth,
                       .skip = at_once, .groups = 1, .columns = columns,
                       .column_step = 1, .term_step = columns,
                       .order = order};
    be_dot_init(e, &d, k->op);
    struct be_epilogue epilogue = be_epilogue_of(k);
    struct product p = {.k = k, .x = k->work, .y = k->y[0],
                        .pitch = pitch_of(k->op), .columns = columns,
                        .epilogue = &epilogue,
                        .to = k->op->result[0].type.dtype};
    const bool has_zeros = ir_has_zero_operand(k->op) && k->x[1].stride != 0;
    if (rows == 1 ? epilogue.flat_by_row
                  : epilogue.flat && !has_zeros &&
                        k->x[0].stride == rows * depth) {
        p.by_row = rows == 1 && (has_zeros || !epilogue.flat);
        p.zero = p.by_row ? NULL : be_dot_zero(k, be_i64(e, 0));
        p.n_rows = LLVMIsAConstantInt(k->n_rows)
                       ? be_i64(e, rows)
                       : LLVMBuildNSWMul(e->b, k->n_rows, be_i64(e, rows),
                                         "");
        emit_product(&p, &d, k->x[0].base,
                     rows == 1 ? k->x[0].stride : depth);
        return;
    }
    const struct be_epilogue all = epilogue;
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), k->n_rows, 1);
    p.n_rows = be_i64(e, rows);
    p.y = be_at_times(e, be_type(e, p.to), k->y[0], loop.index,
                      rows * columns);
    epilogue = all;
    be_epilogue_skip(e, &epilogue, loop.index);
    p.zero = be_dot_zero(k, loop.index);
    emit_product(&p, &d,
                 be_at_times(e, be_type(e, k->op->operand[0]->type.dtype),
                             k->x[0].base, loop.index, k->x[0].stride),
                 depth);
    be_loop_end(e, &loop);
}
