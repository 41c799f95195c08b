/* emit_planes.c: leaf values out of registers, for levels whose permutes choose
 * among the elements of two registers by a third one (AVX-512).
 *
 * A tree of up to 256 leaves is a table of planes: plane k has piece number k,
 * of 16 or 32 bits, of every leaf's value. One permute fetches a piece of the
 * leaves of 32 or 16 rows, and be_interleave puts the pieces of a value
 * together: no row has a load or an addition of its own. That brings rows out
 * of their order, always in the same way. So sums are kept in the order that
 * comes out, [block][target][row of the block] with a few rows' places changed,
 * and are read back row by row when all trees were added. Each row's values are
 * added one by one in the order of the trees as everywhere else.
 *
 * Up to 32 leaves pieces have 32 bits, since the two registers then are one
 * table; else 16, with 64 leaves to two registers, and twice or four times that
 * with a choice between the results by the bits of the index left.
 */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum {
    register_bytes = 64,
    most_entries = 256,
    most_padding = 32, /* entries a leaf */
};

bool be_planes_init(struct be_planes *l, struct be_emitter *e,
                    const struct be_forest *forest, int most_leaves, int block)
{
    const struct ir_forest *f = &forest->f;
    bool any = false;
    for (int i = 0; i < e->n_levels; i++)
        any |= e->levels[i]->has_masks;
    if (!any || f->leaf_width != 1 || f->stop_every ||
        most_leaves > most_entries || forest->tile_rows % block != 0)
        return false;
    const int bytes = (int)ir_dtype_bytes(f->sum_dtype);
    const int unit = most_leaves <= 32 ? 4 : 2;
    *l = (struct be_planes){
        .sum = be_type(e, f->sum_dtype), .sum_bytes = bytes, .unit = unit,
        .n_planes = bytes / unit, .lanes = register_bytes / bytes,
        .n_sums = BE_PLANES_ROWS * bytes / register_bytes, .block = block};
    /* All trees' tables are as large: not where one is far above the others. */
    return (int64_t)be_planes_entries(l, most_leaves) * f->n_trees <=
           (int64_t)most_padding * f->n_leaves;
}

bool be_looks_up(const struct be_emitter *e, const struct be_forest *forest)
{
    return forest->planes && e->level->has_masks;
}

int be_planes_entries(const struct be_planes *l, int n_leaves)
{
    int n = l->unit == 4 ? 32 : 64;
    while (n < n_leaves)
        n *= 2;
    return n;
}

void be_planes_append(const struct be_planes *l, int entries,
                      const void *values, int n, struct ir_text *to)
{
    static const uint8_t none[8];
    for (int k = 0; k < l->n_planes; k++)
        for (int i = 0; i < entries; i++) {
            const uint8_t *v = i < n ? (const uint8_t *)values +
                                           (size_t)i * (size_t)l->sum_bytes
                                     : none;
            ir_text_append(to, v + k * l->unit, (size_t)l->unit);
        }
}

/* Which row of BE_PLANES_ROWS lane `lane` of sum number `i` is of: the order
 * that be_planes_add has by its shifts and by be_interleave. */
static int row_of(const struct be_planes *l, int i, int lane)
{
    const int per_16 = 16 / l->sum_bytes; /* sums */
    const int part = i / l->n_planes, k = i % l->n_planes;
    const int from = lane / per_16 * (16 / l->unit) + k * per_16 +
                     lane % per_16;
    return from * l->unit + part;
}

/* ---------------------------------------------------------------- adding -- */

/* index with `by` bits shifted out, as lanes of a unit. */
static LLVMValueRef index_part(const struct be_planes *l, struct be_emitter *e,
                               LLVMValueRef index, int part)
{
    LLVMTypeRef unit = l->unit == 4 ? e->i32 : e->i16;
    const int lanes = register_bytes / l->unit;
    index = LLVMBuildBitCast(e->b, index, be_vector(unit, lanes), "");
    if (part == 0)
        return index;
    return LLVMBuildLShr(
        e->b, index, be_splat_const(unit, 8 * (unsigned)part, lanes), "");
}

/* The registers number `i` and i + 1 of `table`, as one: its elements number
 * index, of whose bits those that are too many do not count. */
static LLVMValueRef permute(const struct be_planes *l, struct be_emitter *e,
                            LLVMValueRef table, int64_t i, LLVMValueRef index)
{
    LLVMValueRef half[2];
    for (int h = 0; h < 2; h++) {
        half[h] = LLVMBuildLoad2(
            e->b, LLVMTypeOf(index),
            be_offset(e, table, be_i64(e, (i + h) * register_bytes)), "");
        LLVMSetAlignment(half[h], register_bytes);
    }
    LLVMValueRef args[] = {half[0], index, half[1]};
    return be_intrinsic(e, l->unit == 4 ? "llvm.x86.avx512.vpermi2var.d.512"
                                        : "llvm.x86.avx512.vpermi2var.hi.512",
                        NULL, args, 3);
}

/* Which lanes' index has `bit`. */
static LLVMValueRef has_bit(struct be_emitter *e, LLVMValueRef index,
                            unsigned bit)
{
    LLVMTypeRef type = LLVMTypeOf(index);
    LLVMValueRef v = LLVMBuildAnd(
        e->b, index,
        be_splat_const(LLVMGetElementType(type), bit,
                       (int)LLVMGetVectorSize(type)), "");
    return LLVMBuildICmp(e->b, LLVMIntNE, v, LLVMConstNull(type), "");
}

/* The pieces, from plane `plane`, of the leaves that `index` has. */
static LLVMValueRef pieces(const struct be_planes *l, struct be_emitter *e,
                           int entries, LLVMValueRef plane, LLVMValueRef index)
{
    LLVMValueRef v[most_entries / 64];
    const int per_permute = 2 * register_bytes / l->unit;
    int n = entries / per_permute;
    for (int i = 0; i < n; i++)
        v[i] = permute(l, e, plane, 2 * (int64_t)i, index);
    for (unsigned bit = (unsigned)per_permute; n > 1; n /= 2, bit *= 2) {
        LLVMValueRef upper = has_bit(e, index, bit);
        for (int i = 0; i < n / 2; i++)
            v[i] = LLVMBuildSelect(e->b, upper, v[2 * i + 1], v[2 * i], "");
    }
    return v[0];
}

void be_planes_add(const struct be_planes *l, struct be_emitter *e, int entries,
                   LLVMValueRef table, LLVMValueRef index, LLVMValueRef *sums)
{
    LLVMTypeRef type = be_vector(l->sum, l->lanes);
    for (int part = 0; part < l->unit; part++) {
        LLVMValueRef v[BE_PLANES_SUMS];
        LLVMValueRef at = index_part(l, e, index, part);
        for (int k = 0; k < l->n_planes; k++)
            v[k] = pieces(l, e, entries,
                          be_offset(e, table, be_i64(e, (int64_t)k * entries *
                                                            l->unit)), at);
        be_interleave(e, v, l->n_planes, l->unit, register_bytes);
        for (int k = 0; k < l->n_planes; k++) {
            LLVMValueRef *sum = &sums[part * l->n_planes + k];
            *sum = LLVMBuildFAdd(
                e->b, *sum, LLVMBuildBitCast(e->b, v[k], type, ""), "");
        }
    }
}

void be_planes_begin(const struct be_planes *l, struct be_emitter *e,
                     struct be_planes_loop *loop, LLVMValueRef sums,
                     LLVMValueRef from, LLVMValueRef to)
{
    LLVMTypeRef type = be_vector(l->sum, l->lanes);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    loop->at = sums;
    for (int i = 0; i < l->n_sums; i++) {
        LLVMValueRef at = be_at(e, l->sum, sums, be_i64(e, i * l->lanes));
        loop->sum[i] = LLVMBuildLoad2(e->b, type, at, "");
        LLVMSetAlignment(loop->sum[i], register_bytes);
    }
    be_loop_begin(e, &loop->trees, from, to, 1);
    for (int i = 0; i < l->n_sums; i++)
        loop->sum[i] = loop->carried[i] =
            be_carry(e, &loop->trees, loop->sum[i], before);
}

void be_planes_end(const struct be_planes *l, struct be_emitter *e,
                   struct be_planes_loop *loop)
{
    for (int i = 0; i < l->n_sums; i++)
        be_carried(e, loop->carried[i], loop->sum[i]);
    be_loop_end(e, &loop->trees);
    for (int i = 0; i < l->n_sums; i++) {
        LLVMValueRef store = LLVMBuildStore(
            e->b, loop->carried[i],
            be_at(e, l->sum, loop->at, be_i64(e, i * l->lanes)));
        LLVMSetAlignment(store, register_bytes);
    }
}

/* ------------------------------------------------------------------ sums -- */

int64_t be_planes_room(const struct be_forest *forest)
{
    return forest->planes ? forest->tile_rows * forest->f.n_targets *
                                forest->planes->sum_bytes
                          : 0;
}

void be_planes_start(struct be_emitter *e, const struct be_forest *forest,
                     LLVMValueRef sums, LLVMValueRef n_rows)
{
    const struct ir_forest *f = &forest->f;
    const struct be_planes *l = forest->planes;
    struct be_loop block, target, row;
    LLVMValueRef base = be_bytes(e, "base", f->base,
                                 (size_t)(f->n_targets * l->sum_bytes), 8);
    be_loop_begin(e, &block, be_i64(e, 0), n_rows, l->block);
    LLVMValueRef first = LLVMBuildNSWMul(e->b, block.index,
                                         be_i64(e, f->n_targets), "");
    be_loop_begin(e, &target, be_i64(e, 0), be_i64(e, f->n_targets), 1);
    LLVMValueRef v = be_splat(
        e, be_load(e, l->sum, be_at(e, l->sum, base, target.index)), l->lanes);
    LLVMValueRef at = LLVMBuildNSWAdd(
        e->b, first, LLVMBuildNSWMul(e->b, target.index, be_i64(e, l->block),
                                     ""), "");
    be_loop_begin(e, &row, be_i64(e, 0), be_i64(e, l->block), l->lanes);
    LLVMValueRef store = LLVMBuildStore(
        e->b, v, be_at(e, l->sum, sums,
                       LLVMBuildNSWAdd(e->b, at, row.index, "")));
    LLVMSetAlignment(store, register_bytes);
    be_loop_end(e, &row);
    be_loop_end(e, &target);
    be_loop_end(e, &block);
}

/* u8[64]: where the sums of the row are whose index was byte i. */
static LLVMValueRef places_of_bytes(struct be_emitter *e,
                                    const struct be_planes *l)
{
    uint8_t place[BE_PLANES_ROWS];
    for (int i = 0; i < BE_PLANES_ROWS; i++)
        place[row_of(l, i / l->lanes, i % l->lanes)] = (uint8_t)i;
    return be_bytes(e, "row_place", place, sizeof(place), 64);
}

/* Which byte of its block's indices row `in` of the block had: its own, or with
 * slice, where bytes 8 rows apart lie side by side, that of its eighth, of
 * `eighth_bytes`. */
static LLVMValueRef byte_of_row(struct be_emitter *e, const struct be_planes *l,
                                LLVMValueRef in, LLVMValueRef eighth_bytes)
{
    if (l->block == BE_PLANES_ROWS)
        return in;
    LLVMValueRef eighth = LLVMBuildAnd(e->b, in, be_i64(e, 7), "");
    return LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, eighth, eighth_bytes, ""),
        LLVMBuildLShr(e->b, in, be_i64(e, 3), ""), "");
}

void be_planes_finish(struct be_emitter *e, const struct be_forest *forest,
                      LLVMValueRef sums, LLVMValueRef to, LLVMValueRef n_rows)
{
    const struct ir_forest *f = &forest->f;
    const struct be_planes *l = forest->planes;
    LLVMValueRef places = places_of_bytes(e, l);
    LLVMValueRef eighth_bytes = be_slice_slot_bytes(e, l->block, n_rows);
    struct be_loop row, target;
    be_loop_begin(e, &row, be_i64(e, 0), n_rows, 1);
    LLVMValueRef in =
        LLVMBuildAnd(e->b, row.index, be_i64(e, l->block - 1), "");
    LLVMValueRef byte = byte_of_row(e, l, in, eighth_bytes);
    LLVMValueRef low =
        LLVMBuildAnd(e->b, byte, be_i64(e, BE_PLANES_ROWS - 1), "");
    LLVMValueRef place = LLVMBuildZExt(
        e->b, be_load(e, e->i8, be_offset(e, places, low)), e->i64, "");
    place = LLVMBuildNSWAdd(e->b, place, LLVMBuildNSWSub(e->b, byte, low, ""),
                            "");
    LLVMValueRef block = LLVMBuildNSWMul(
        e->b, LLVMBuildNSWSub(e->b, row.index, in, ""),
        be_i64(e, f->n_targets), "");
    place = LLVMBuildNSWAdd(e->b, place, block, "");
    LLVMValueRef out =
        LLVMBuildNSWMul(e->b, row.index, be_i64(e, f->n_targets), "");
    be_loop_begin(e, &target, be_i64(e, 0), be_i64(e, f->n_targets), 1);
    LLVMValueRef from = LLVMBuildNSWMul(e->b, target.index,
                                        be_i64(e, l->block), "");
    LLVMValueRef v = be_load(
        e, l->sum, be_at(e, l->sum, sums,
                         LLVMBuildNSWAdd(e->b, place, from, "")));
    if (f->divisor != 1)
        v = LLVMBuildFDiv(e->b, v, be_real(e, f->sum_dtype, f->divisor), "");
    be_store(e, v, be_at(e, l->sum, to,
                         LLVMBuildNSWAdd(e->b, out, target.index, "")));
    be_loop_end(e, &target);
    be_loop_end(e, &row);
}
