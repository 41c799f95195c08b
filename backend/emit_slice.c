/* emit_slice.c: the batch strategy `slice`, which works on bits: one register
 * holds a bit for each row of a tile.
 *
 * First the tests of a group of trees are answered: a forest asks the same ones
 * again and again. All cuts of a column are answered together: a row sets its
 * bit in the bucket of its code, then each bucket takes over the bits of those
 * before it, and holds the rows that are left of its cut. Then each tree is a
 * circuit over the answers (ir/circuits.c), of some two operations a node for
 * all rows, which yields the bits of the leaves' codes; these are turned into
 * numbers by transposing bits, and leaf values are added row by row, in the
 * order of the trees. All of it is loops over tables (slice_tables.c), so that
 * code and the time to compile do not grow with the forest.
 */
#include "backend/slice_tables.h"

enum {
    rows_8 = 8, /* a byte of a slot: rows whose sums are in registers */
    code_bits = 8, /* that are transposed at once */
    strip_rows = 32, /* whose cuts and sets are tested at a time */
    narrow_rows = 128, narrow_step = 2, /* what is less than a tile */
};

/* The function being emitted. */
struct slice {
    struct be_emitter *e;
    struct be_forest *forest;
    struct be_slice_tables t;
    LLVMTypeRef code; /* of a test: i8 or i16 */
    LLVMTypeRef leaf_code; /* the same, of a leaf */
    LLVMTypeRef bits; /* a slot, as bytes */
    int rows; /* that the function takes at most: a tile, or fewer */
    int64_t slot_bytes;
    bool wants_leaf;
    LLVMValueRef codes, margin, leaf, n_rows; /* parameters */
    LLVMValueRef slots;
    LLVMValueRef records; /* emit_records' function */
    LLVMValueRef eights; /* of rows, that there are */
    LLVMValueRef bucket; /* of each row: codes */
    LLVMValueRef found;  /* leaf codes of a batch's trees */
    LLVMValueRef done; /* with early exit, u8 by row: it stopped; else NULL */
};

/* The 32 bits at `offset` of an entry, as i64. */
static LLVMValueRef field(const struct slice *s, LLVMValueRef entry,
                          size_t offset)
{
    struct be_emitter *e = s->e;
    LLVMValueRef at = be_offset(e, entry, be_i64(e, (int64_t)offset));
    return LLVMBuildZExt(e->b, be_load(e, e->i32, at), e->i64, "");
}

static LLVMValueRef entry_at(const struct slice *s, LLVMValueRef table,
                             LLVMValueRef index, size_t stride)
{
    struct be_emitter *e = s->e;
    return be_offset(e, table,
                     LLVMBuildNSWMul(e->b, index,
                                     be_i64(e, (int64_t)stride), ""));
}

/* Bytes between slots, which the tables count as of a whole tile. */
static LLVMValueRef narrowed(const struct slice *s, LLVMValueRef bytes)
{
    const int64_t by = s->t.slot_bytes / s->slot_bytes;
    return LLVMBuildUDiv(s->e->b, bytes, be_i64(s->e, by), "");
}

#define FIELD(s, entry, type, name)                                           \
    field((s), (entry), offsetof(struct type, name))

/* A loop over the entries of `table` from `first` to `end`; `entry` is one. */
#define BEGIN_ENTRIES(s, loop, first, end, table, type, entry)                \
    be_loop_begin((s)->e, (loop), (first), (end), 1);                         \
    LLVMValueRef entry =                                                      \
        entry_at((s), (table), (loop)->index, sizeof(struct type))

static LLVMValueRef load_vector(const struct slice *s, LLVMTypeRef type,
                                LLVMValueRef at, unsigned align)
{
    LLVMValueRef v = LLVMBuildLoad2(s->e->b, type, at, "");
    LLVMSetAlignment(v, align);
    return v;
}

static void store_vector(const struct slice *s, LLVMValueRef v,
                         LLVMValueRef at, unsigned align)
{
    LLVMSetAlignment(LLVMBuildStore(s->e->b, v, at), align);
}

/* Slots are aligned to themselves, or to 64. */
static unsigned slot_align(const struct slice *s)
{
    return s->slot_bytes < 64 ? (unsigned)s->slot_bytes : 64;
}

static LLVMValueRef load_slot(const struct slice *s, LLVMValueRef at)
{
    return load_vector(s, s->bits, at, slot_align(s));
}

static void store_slot(const struct slice *s, LLVMValueRef v, LLVMValueRef at)
{
    store_vector(s, v, at, slot_align(s));
}

static LLVMValueRef slot_at(const struct slice *s, LLVMValueRef base,
                            LLVMValueRef index)
{
    return entry_at(s, base, index, (size_t)s->slot_bytes);
}

/* --------------------------------------------------------------- buckets -- */

/* bucket[r] = what the row's code counts, at most `most`. */
static void count_codes(const struct slice *s, LLVMValueRef codes,
                        LLVMValueRef most)
{
    struct be_emitter *e = s->e;
    LLVMTypeRef type = be_vector(s->code, strip_rows);
    const unsigned half = s->forest->code_bytes == 1 ? 0x80 : 0x8000;
    LLVMValueRef top = be_splat(
        e, LLVMBuildTrunc(e->b, most, s->code, ""), strip_rows);
    for (int r = 0; r < s->rows; r += strip_rows) {
        LLVMValueRef at = be_i64(e, r);
        LLVMValueRef v =
            load_vector(s, type, be_at(e, s->code, codes, at), 32);
        v = LLVMBuildXor(e->b, v, be_splat_const(s->code, half, strip_rows),
                         "");
        LLVMValueRef args[] = {v, top};
        store_vector(s, be_intrinsic(e, "llvm.umin", type, args, 2),
                     be_at(e, s->code, s->bucket, at), 32);
    }
}

/* Sets the bit of each row in its bucket. A byte of a bucket is eight rows. */
static void fill_buckets(const struct slice *s, LLVMValueRef test,
                         LLVMValueRef buckets)
{
    struct be_emitter *e = s->e;
    struct be_loop loop;
    LLVMValueRef map = be_at(e, e->i16, s->t.bucket,
                             FIELD(s, test, be_slice_test, buckets));
    be_loop_begin(e, &loop, be_i64(e, 0), s->eights, 1);
    LLVMValueRef first =
        LLVMBuildNSWMul(e->b, loop.index, be_i64(e, rows_8), "");
    LLVMValueRef from = be_at(e, s->code, s->bucket, first);
    LLVMValueRef to = be_offset(e, buckets, loop.index);
    for (int i = 0; i < rows_8; i++) {
        LLVMValueRef v = be_load(e, s->code, be_at(e, s->code, from,
                                                   be_i64(e, i)));
        v = LLVMBuildZExt(e->b, v, e->i64, "");
        if (s->t.maps_codes)
            v = LLVMBuildZExt(e->b, be_load(e, e->i16,
                                            be_at(e, e->i16, map, v)),
                              e->i64, "");
        LLVMValueRef at = slot_at(s, to, v);
        be_store(e,
                 LLVMBuildOr(e->b, be_load(e, e->i8, at),
                             LLVMConstInt(e->i8, 1u << i, 0), ""), at);
    }
    be_loop_end(e, &loop);
}

/* All tests of a column. */
static void answer_column(const struct slice *s, LLVMValueRef test)
{
    struct be_emitter *e = s->e;
    struct be_loop clear, sum;
    LLVMValueRef zero = LLVMConstNull(s->bits);
    LLVMValueRef n = FIELD(s, test, be_slice_test, n);
    LLVMValueRef buckets =
        be_offset(e, s->slots,
                  narrowed(s, FIELD(s, test, be_slice_test, slot)));
    count_codes(s, be_offset(e, s->codes, FIELD(s, test, be_slice_test, codes)),
                FIELD(s, test, be_slice_test, what));
    be_loop_begin(e, &clear, be_i64(e, 0), n, 1);
    store_slot(s, zero, slot_at(s, buckets, clear.index));
    be_loop_end(e, &clear);
    fill_buckets(s, test, buckets);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &sum, be_i64(e, 0), n, 1);
    LLVMValueRef acc = be_carry(e, &sum, zero, before);
    LLVMValueRef at = slot_at(s, buckets, sum.index);
    LLVMValueRef next = LLVMBuildOr(e->b, acc, load_slot(s, at), "");
    store_slot(s, next, at);
    be_carried(e, acc, next);
    be_loop_end(e, &sum);
}

/* ---------------------------------------------------------- single tests -- */

/* One test: of rows' codes by a comparison, or of a bit of them. */
static void answer_test(const struct slice *s, LLVMValueRef test, int kind)
{
    struct be_emitter *e = s->e;
    /* A whole register of answers is one store where compares give masks. */
    const int strip = e->level->has_masks && s->rows % 64 == 0
                          ? 64 / s->forest->code_bytes : strip_rows;
    LLVMTypeRef answers = LLVMIntTypeInContext(e->context, (unsigned)strip);
    LLVMTypeRef type = be_vector(s->code, strip);
    LLVMValueRef codes =
        be_offset(e, s->codes, FIELD(s, test, be_slice_test, codes));
    LLVMValueRef to =
        be_offset(e, s->slots,
                  narrowed(s, FIELD(s, test, be_slice_test, slot)));
    LLVMValueRef what =
        be_splat(e, LLVMBuildTrunc(e->b, FIELD(s, test, be_slice_test, what),
                                   e->i16, ""), strip);
    if (kind == BE_SLICE_CUTS)
        what = LLVMBuildTrunc(e->b, what, type, "");
    for (int r = 0; r < s->rows; r += strip) {
        LLVMValueRef v = load_vector(
            s, type, be_at(e, s->code, codes, be_i64(e, r)), 32);
        LLVMValueRef left;
        if (kind == BE_SLICE_CUTS) {
            left = LLVMBuildICmp(e->b, LLVMIntSGT, what, v, "");
        } else { /* shifted as words: what comes from a neighbour is below */
            const int n = strip * s->forest->code_bytes / 2;
            LLVMTypeRef words = be_vector(e->i16, n);
            LLVMValueRef by = be_splat(
                e, LLVMBuildTrunc(e->b, FIELD(s, test, be_slice_test, what),
                                  e->i16, ""), n);
            v = LLVMBuildShl(e->b, LLVMBuildBitCast(e->b, v, words, ""), by,
                             "");
            left = LLVMBuildICmp(e->b, LLVMIntSLT,
                                 LLVMBuildBitCast(e->b, v, type, ""),
                                 LLVMConstNull(type), "");
        }
        be_store(e, LLVMBuildBitCast(e->b, left, answers, ""),
                 be_offset(e, to, be_i64(e, r / 8)));
    }
}

static void answer_tests(const struct slice *s, LLVMValueRef group)
{
    for (int kind = 0; kind < BE_SLICE_KINDS; kind++) {
        struct be_loop loop;
        const size_t of = (size_t)kind * sizeof(int32_t);
        LLVMValueRef first = field(
            s, group, offsetof(struct be_slice_group, first) + of);
        LLVMValueRef end =
            field(s, group, offsetof(struct be_slice_group, end) + of);
        BEGIN_ENTRIES(s, &loop, first, end, s->t.test[kind], be_slice_test,
                      test);
        if (kind == BE_SLICE_BUCKETS)
            answer_column(s, test);
        else
            answer_test(s, test, kind);
        be_loop_end(s->e, &loop);
    }
}

/* -------------------------------------------------------------- circuits -- */

/* The slot that is at `units`, an i64. */
static LLVMValueRef slot_of(const struct slice *s, LLVMValueRef slots,
                            LLVMValueRef units)
{
    return entry_at(s, slots, units,
                    (size_t)(BE_SLICE_UNIT * s->slot_bytes / s->t.slot_bytes));
}

/* The slot that the 16 bits number i of an entry say. */
static LLVMValueRef place(const struct slice *s, LLVMValueRef entry, int i)
{
    struct be_emitter *e = s->e;
    LLVMValueRef v =
        be_load(e, e->i16, be_at(e, e->i16, entry, be_i64(e, i)));
    return slot_of(s, s->slots, LLVMBuildZExt(e->b, v, e->i64, ""));
}

/* fn(slots, record, end): the operations of a turn. A function of its own, so
 * that all it needs is in registers; a record is one load, since loads are what
 * limits it. */
static LLVMValueRef emit_records(struct slice *s)
{
    struct be_emitter *e = s->e;
    char name[64];
    snprintf(name, sizeof(name), "slice_%d_records_%lld_%d", s->forest->number,
             (long long)s->slot_bytes * rows_8, e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->i64};
    LLVMValueRef fn = be_function(e, name, e->none, params, 3, e->level);
    be_noinline(e, fn);
    LLVMValueRef slots = LLVMGetParam(fn, 0);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), LLVMGetParam(fn, 2), 1);
    LLVMValueRef record = be_load(
        e, e->i64, be_at(e, e->i64, LLVMGetParam(fn, 1), loop.index));
    LLVMValueRef at[4];
    for (int i = 0; i < 4; i++) {
        LLVMValueRef v =
            LLVMBuildLShr(e->b, record, be_i64(e, 16 * i), "");
        at[i] = slot_of(s, slots,
                        LLVMBuildAnd(e->b, v, be_i64(e, 0xffff), ""));
    }
    LLVMValueRef test = load_slot(s, at[0]);
    LLVMValueRef left = load_slot(s, at[1]);
    LLVMValueRef right = load_slot(s, at[2]);
    LLVMValueRef differ = LLVMBuildXor(e->b, left, right, "");
    LLVMValueRef v = LLVMBuildXor(
        e->b, LLVMBuildAnd(e->b, differ, test, ""), right, "");
    store_slot(s, v, at[3]);
    be_loop_end(e, &loop);
    LLVMBuildRetVoid(e->b);
    return fn;
}

static void run_records(const struct slice *s, LLVMValueRef turn)
{
    struct be_emitter *e = s->e;
    LLVMValueRef first = FIELD(s, turn, be_slice_turn, first_record);
    LLVMValueRef n = LLVMBuildNSWSub(
        e->b, FIELD(s, turn, be_slice_turn, end_record), first, "");
    LLVMValueRef args[] = {s->slots,
                           entry_at(s, s->t.record, first,
                                    sizeof(struct be_slice_record)), n};
    be_call(e, s->records, args, 3);
}

/* x[i] bit k and x[k] bit i change places, in each byte. */
static void transpose(const struct slice *s, LLVMValueRef x[code_bits])
{
    struct be_emitter *e = s->e;
    static const unsigned masks[] = {[4] = 0x0f, [2] = 0x33, [1] = 0x55};
    LLVMTypeRef words = be_vector(e->i16, (int)s->slot_bytes / 2);
    const int n = (int)s->slot_bytes / 2;
    for (int k = 0; k < code_bits; k++)
        x[k] = LLVMBuildBitCast(e->b, x[k], words, "");
    for (int by = code_bits / 2; by > 0; by /= 2) {
        LLVMValueRef mask =
            be_splat_const(e->i16, masks[by] * 0x101u, n);
        LLVMValueRef shift = be_splat_const(e->i16, (unsigned)by, n);
        for (int k = 0; k < code_bits; k++) {
            if (k & by)
                continue;
            LLVMValueRef t = LLVMBuildXor(
                e->b, LLVMBuildLShr(e->b, x[k], shift, ""), x[k + by], "");
            t = LLVMBuildAnd(e->b, t, mask, "");
            x[k + by] = LLVMBuildXor(e->b, x[k + by], t, "");
            x[k] = LLVMBuildXor(e->b, x[k],
                                LLVMBuildShl(e->b, t, shift, ""), "");
        }
    }
    for (int k = 0; k < code_bits; k++)
        x[k] = LLVMBuildBitCast(e->b, x[k], s->bits, "");
}

/* Where the codes of rows k, 8 + k, 16 + k... lie: eighth number k. */
static int64_t eighth(const struct slice *s, int k)
{
    return k * s->slot_bytes;
}

/* The two bytes of codes, which are by row, as one. */
static void store_words(const struct slice *s, LLVMValueRef low,
                        LLVMValueRef high, LLVMValueRef to)
{
    struct be_emitter *e = s->e;
    const int n = (int)s->slot_bytes;
    LLVMTypeRef words = be_vector(e->i16, n);
    LLVMValueRef v = LLVMBuildOr(
        e->b, LLVMBuildZExt(e->b, low, words, ""),
        LLVMBuildShl(e->b, LLVMBuildZExt(e->b, high, words, ""),
                     be_splat_const(e->i16, 8, n), ""), "");
    store_vector(s, v, to, slot_align(s));
}

/* Codes of a tree's leaves, as numbers. */
static void store_codes(const struct slice *s, LLVMValueRef tree,
                        LLVMValueRef to)
{
    struct be_emitter *e = s->e;
    LLVMValueRef x[2][code_bits];
    for (int half = 0; half < s->t.code_bytes; half++) {
        for (int k = 0; k < code_bits; k++)
            x[half][k] = load_slot(s, place(s, tree, half * code_bits + k));
        transpose(s, x[half]);
    }
    for (int k = 0; k < code_bits; k++) {
        LLVMValueRef at =
            be_at(e, s->leaf_code, to, be_i64(e, eighth(s, k)));
        if (s->t.code_bytes == 1)
            store_slot(s, x[0][k], at);
        else
            store_words(s, x[0][k], x[1][k], at);
    }
}

/* Finds the leaves of a batch's trees. */
static void find_leaves(const struct slice *s, LLVMValueRef batch)
{
    struct be_emitter *e = s->e;
    struct be_loop turns, trees;
    LLVMValueRef first = FIELD(s, batch, be_slice_batch, first_tree);
    BEGIN_ENTRIES(s, &turns, FIELD(s, batch, be_slice_batch, first_turn),
                  FIELD(s, batch, be_slice_batch, end_turn), s->t.turn,
                  be_slice_turn, turn);
    run_records(s, turn);
    BEGIN_ENTRIES(s, &trees, FIELD(s, turn, be_slice_turn, first_tree),
                  FIELD(s, turn, be_slice_turn, end_tree), s->t.tree,
                  be_slice_tree, tree);
    LLVMValueRef number = LLVMBuildNSWSub(e->b, trees.index, first, "");
    LLVMValueRef to = LLVMBuildNSWMul(
        e->b, number, be_i64(e, rows_8 * s->slot_bytes), "");
    store_codes(s, tree, be_at(e, s->leaf_code, s->found, to));
    be_loop_end(e, &trees);
    be_loop_end(e, &turns);
}

/* ---------------------------------------------------------------- leaves -- */

/* Loops over a batch's runs. */
static LLVMValueRef begin_runs(const struct slice *s, LLVMValueRef batch,
                               struct be_loop *loop)
{
    BEGIN_ENTRIES(s, loop, FIELD(s, batch, be_slice_batch, first_run),
                  FIELD(s, batch, be_slice_batch, end_run), s->t.run,
                  be_slice_run, run);
    return run;
}

static LLVMValueRef begin_adds(const struct slice *s, LLVMValueRef run,
                               struct be_loop *loop)
{
    BEGIN_ENTRIES(s, loop, FIELD(s, run, be_slice_run, first),
                  FIELD(s, run, be_slice_run, end), s->t.add, be_slice_add,
                  add);
    return add;
}

/* Where the margins of `target` are, of row `row`. */
static LLVMValueRef margin_at(const struct slice *s, LLVMValueRef row,
                              LLVMValueRef target)
{
    struct be_emitter *e = s->e;
    const struct ir_forest *f = &s->forest->f;
    LLVMValueRef at =
        LLVMBuildNSWMul(e->b, row, be_i64(e, f->n_targets), "");
    return be_at(e, be_type(e, f->sum_dtype), s->margin,
                 LLVMBuildNSWAdd(e->b, at, target, ""));
}

/* Leaves of one value: the sums of eight rows stay in registers. */
static void add_values(const struct slice *s, LLVMValueRef batch)
{
    struct be_emitter *e = s->e;
    LLVMTypeRef sum = be_type(e, s->forest->f.sum_dtype);
    struct be_loop runs, rows, adds;
    LLVMValueRef run = begin_runs(s, batch, &runs);
    LLVMValueRef target = FIELD(s, run, be_slice_run, target);
    be_loop_begin(e, &rows, be_i64(e, 0), s->eights, 1);
    LLVMValueRef first =
        LLVMBuildNSWMul(e->b, rows.index, be_i64(e, rows_8), "");
    LLVMValueRef to[rows_8], acc[rows_8];
    for (int i = 0; i < rows_8; i++) {
        to[i] = margin_at(s, LLVMBuildNSWAdd(e->b, first, be_i64(e, i), ""),
                          target);
        acc[i] = be_load(e, sum, to[i]);
    }
    LLVMValueRef found = be_at(e, s->leaf_code, s->found, rows.index);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMValueRef add = begin_adds(s, run, &adds);
    LLVMValueRef codes =
        be_offset(e, found, narrowed(s, FIELD(s, add, be_slice_add, codes)));
    LLVMTypeRef stored = be_leaf_type(e, s->forest);
    LLVMValueRef values = be_at(e, stored, s->t.value,
                                FIELD(s, add, be_slice_add, first_leaf));
    for (int i = 0; i < rows_8; i++) {
        LLVMValueRef code = be_load(
            e, s->leaf_code,
            be_at(e, s->leaf_code, codes, be_i64(e, eighth(s, i))));
        code = LLVMBuildZExt(e->b, code, e->i64, "");
        acc[i] = be_carry(e, &adds, acc[i], before);
        LLVMValueRef v = be_load_leaf(e, s->forest, 1, 0,
                                      be_at(e, stored, values, code));
        be_carried(e, acc[i], LLVMBuildFAdd(e->b, acc[i], v, ""));
    }
    be_loop_end(e, &adds);
    for (int i = 0; i < rows_8; i++)
        be_store(e, acc[i], to[i]);
    be_loop_end(e, &rows);
    be_loop_end(e, &runs);
}

/* The same where leaf values are looked up in registers (emit_planes.c): those
 * of 64 rows at once, in the order in which their codes lie. */
static void look_values_up(const struct slice *s, LLVMValueRef batch)
{
    struct be_emitter *e = s->e;
    const struct be_planes *l = s->forest->planes;
    const int64_t n_rows = rows_8 * s->slot_bytes;
    struct be_loop runs, parts;
    struct be_planes_loop loop;
    LLVMValueRef run = begin_runs(s, batch, &runs);
    LLVMValueRef sums = be_at(
        e, l->sum, s->margin,
        LLVMBuildNSWMul(e->b, FIELD(s, run, be_slice_run, target),
                        be_i64(e, l->block), ""));
    be_loop_begin(e, &parts, be_i64(e, 0), be_i64(e, n_rows), BE_PLANES_ROWS);
    LLVMValueRef found = be_offset(e, s->found, parts.index);
    be_planes_begin(l, e, &loop, be_at(e, l->sum, sums, parts.index),
                    FIELD(s, run, be_slice_run, first),
                    FIELD(s, run, be_slice_run, end));
    LLVMValueRef add = entry_at(s, s->t.add, loop.trees.index,
                                sizeof(struct be_slice_add));
    LLVMValueRef index = load_vector(
        s, be_vector(e->i8, BE_PLANES_ROWS),
        be_offset(e, found, narrowed(s, FIELD(s, add, be_slice_add, codes))),
        BE_PLANES_ROWS);
    LLVMValueRef table = be_offset(
        e, s->t.plane,
        LLVMBuildNSWMul(e->b, FIELD(s, add, be_slice_add, tree),
                        be_i64(e, (int64_t)s->t.plane_entries * l->sum_bytes),
                        ""));
    be_planes_add(l, e, s->t.plane_entries, table, index, loop.sum);
    be_planes_end(l, e, &loop);
    be_loop_end(e, &parts);
    be_loop_end(e, &runs);
}

/* The leaf that row `row` has in the tree of `add`, numbered over all codes. */
static LLVMValueRef leaf_of(const struct slice *s, LLVMValueRef add,
                            LLVMValueRef row)
{
    struct be_emitter *e = s->e;
    LLVMValueRef codes =
        be_offset(e, s->found, narrowed(s, FIELD(s, add, be_slice_add, codes)));
    LLVMValueRef at = LLVMBuildNSWMul(
        e->b, LLVMBuildAnd(e->b, row, be_i64(e, rows_8 - 1), ""),
        be_i64(e, s->slot_bytes), "");
    at = LLVMBuildNSWAdd(e->b, at,
                         LLVMBuildLShr(e->b, row, be_i64(e, 3), ""), "");
    LLVMValueRef code = LLVMBuildZExt(
        e->b, be_load(e, s->leaf_code, be_at(e, s->leaf_code, codes, at)),
        e->i64, "");
    return LLVMBuildNSWAdd(e->b, code,
                           FIELD(s, add, be_slice_add, first_leaf), "");
}

/* What follows is for rows that did not stop; the others go to the block that
 * is returned. */
static LLVMBasicBlockRef skip_if_done(const struct slice *s, LLVMValueRef row)
{
    struct be_emitter *e = s->e;
    LLVMBasicBlockRef go_on = be_block(e, "go_on"), next = be_block(e, "next");
    LLVMValueRef done = be_load(e, e->i8, be_offset(e, s->done, row));
    LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, done, ""), go_on, next);
    LLVMPositionBuilderAtEnd(e->b, go_on);
    return next;
}

/* Leaves of any width, of rows that did not stop. */
static void add_leaves(const struct slice *s, LLVMValueRef batch)
{
    struct be_emitter *e = s->e;
    struct be_loop runs, adds, rows;
    LLVMValueRef run = begin_runs(s, batch, &runs);
    LLVMValueRef target = FIELD(s, run, be_slice_run, target);
    LLVMValueRef add = begin_adds(s, run, &adds);
    be_loop_begin(e, &rows, be_i64(e, 0), s->n_rows, 1);
    LLVMBasicBlockRef next = s->done ? skip_if_done(s, rows.index) : NULL;
    be_add_leaf(e, s->forest, s->t.value, leaf_of(s, add, rows.index),
                margin_at(s, rows.index, target));
    if (next) {
        LLVMBuildBr(e->b, next);
        LLVMPositionBuilderAtEnd(e->b, next);
    }
    be_loop_end(e, &rows);
    be_loop_end(e, &adds);
    be_loop_end(e, &runs);
}

/* leaf[row][tree] = the leaf's own number. */
static void store_leaves(const struct slice *s, LLVMValueRef batch)
{
    struct be_emitter *e = s->e;
    struct be_loop runs, adds, rows;
    LLVMValueRef run = begin_runs(s, batch, &runs);
    LLVMValueRef add = begin_adds(s, run, &adds);
    LLVMValueRef tree = FIELD(s, add, be_slice_add, tree);
    be_loop_begin(e, &rows, be_i64(e, 0), s->n_rows, 1);
    LLVMValueRef to = LLVMBuildNSWMul(
        e->b, rows.index, be_i64(e, s->forest->f.n_trees), "");
    to = be_at(e, e->i32, s->leaf, LLVMBuildNSWAdd(e->b, to, tree, ""));
    LLVMValueRef number =
        be_at(e, e->i32, s->t.number, leaf_of(s, add, rows.index));
    be_store(e, be_load(e, e->i32, number), to);
    be_loop_end(e, &rows);
    be_loop_end(e, &adds);
    be_loop_end(e, &runs);
}

static void use_leaves(const struct slice *s, LLVMValueRef batch)
{
    struct be_emitter *e = s->e;
    LLVMBasicBlockRef next = NULL;
    if (s->wants_leaf) {
        LLVMBasicBlockRef write = be_block(e, "leaf");
        LLVMBasicBlockRef add = be_block(e, "margin");
        next = be_block(e, "next");
        LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, s->leaf, ""), write,
                        add);
        LLVMPositionBuilderAtEnd(e->b, write);
        store_leaves(s, batch);
        LLVMBuildBr(e->b, next);
        LLVMPositionBuilderAtEnd(e->b, add);
    }
    if (be_looks_up(e, s->forest))
        look_values_up(s, batch);
    else if (s->forest->f.leaf_width == 1 && !s->done)
        add_values(s, batch);
    else
        add_leaves(s, batch);
    if (next) {
        LLVMBuildBr(e->b, next);
        LLVMPositionBuilderAtEnd(e->b, next);
    }
}

/* ------------------------------------------------------------ early exit -- */

/* Marks the rows that are sure; returns how many go on. */
static LLVMValueRef stop_rows(const struct slice *s)
{
    struct be_emitter *e = s->e;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop rows;
    be_loop_begin(e, &rows, be_i64(e, 0), s->n_rows, 1);
    LLVMValueRef left = be_carry(e, &rows, be_i64(e, 0), before);
    LLVMValueRef at = be_offset(e, s->done, rows.index);
    LLVMValueRef sure = be_is_sure(
        e, s->forest, margin_at(s, rows.index, be_i64(e, 0)));
    LLVMValueRef done = LLVMBuildOr(e->b, be_load(e, e->i8, at),
                                    LLVMBuildZExt(e->b, sure, e->i8, ""), "");
    be_store(e, done, at);
    LLVMValueRef goes_on =
        LLVMBuildZExt(e->b, LLVMBuildIsNull(e->b, done, ""), e->i64, "");
    be_carried(e, left, LLVMBuildNSWAdd(e->b, left, goes_on, ""));
    be_loop_end(e, &rows);
    return left;
}

static void start_rows(struct slice *s)
{
    struct be_emitter *e = s->e;
    struct be_loop rows;
    s->done = LLVMBuildAlloca(
        e->b, LLVMArrayType2(e->i8, (uint64_t)s->rows), "");
    be_loop_begin(e, &rows, be_i64(e, 0), s->n_rows, 1);
    be_store(e, LLVMConstNull(e->i8), be_offset(e, s->done, rows.index));
    be_loop_end(e, &rows);
}

/* Leaves for `done` once all rows have stopped, after a batch that ends where
 * that is asked. */
static void maybe_stop(const struct slice *s, LLVMValueRef batch,
                       LLVMBasicBlockRef done)
{
    struct be_emitter *e = s->e;
    LLVMBasicBlockRef ask = be_block(e, "ask"), go_on = be_block(e, "go_on");
    LLVMValueRef end = FIELD(s, batch, be_slice_batch, end_tree);
    LLVMValueRef may = LLVMBuildAnd(e->b, be_stops_before(e, s->forest, end),
                                    LLVMBuildIsNull(e->b, s->leaf, ""), "");
    LLVMBuildCondBr(e->b, may, ask, go_on);
    LLVMPositionBuilderAtEnd(e->b, ask);
    LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, stop_rows(s), ""), done,
                    go_on);
    LLVMPositionBuilderAtEnd(e->b, go_on);
}

/* ----------------------------------------------------------------- whole -- */

static LLVMValueRef aligned_room(const struct slice *s, LLVMTypeRef type,
                                 int64_t n)
{
    LLVMValueRef room = LLVMBuildAlloca(
        s->e->b, LLVMArrayType2(type, (uint64_t)n), "");
    LLVMSetAlignment(room, 64);
    return room;
}

static void prepare(struct slice *s)
{
    struct be_emitter *e = s->e;
    s->slots = be_offset(
        e, s->codes, be_i64(e, be_code_columns(s->forest) *
                                   s->forest->tile_rows *
                                   s->forest->code_bytes));
    store_slot(s, LLVMConstNull(s->bits), s->slots);
    store_slot(s, LLVMConstAllOnes(s->bits),
               be_offset(e, s->slots, be_i64(e, s->slot_bytes)));
    s->eights = LLVMBuildLShr(
        e->b, LLVMBuildNSWAdd(e->b, s->n_rows, be_i64(e, rows_8 - 1), ""),
        be_i64(e, 3), "");
    s->bucket = aligned_room(s, s->code, s->rows);
    s->found = aligned_room(s, s->leaf_code,
                            BE_SLICE_TREES * rows_8 * s->slot_bytes);
}

/* fn(codes, margin, leaf, n_rows), as select's chunks are, for at most `rows`
 * rows. */
static LLVMValueRef emit_function(struct slice *s, int rows)
{
    struct be_emitter *e = s->e;
    struct be_loop groups, batches;
    char name[64];
    snprintf(name, sizeof(name), "slice_%d_%d_%d", s->forest->number, rows,
             e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr, e->i64};
    s->rows = rows < s->forest->tile_rows ? rows : (int)s->forest->tile_rows;
    s->slot_bytes = rows / rows_8;
    s->bits = be_vector(e->i8, rows / rows_8);
    s->records = emit_records(s);
    LLVMValueRef fn = be_function(e, name, e->none, params, 4, e->level);
    for (int i = 0; i < 3; i++)
        be_noalias(e, fn, i);
    s->codes = LLVMGetParam(fn, 0);
    s->margin = LLVMGetParam(fn, 1);
    s->leaf = LLVMGetParam(fn, 2);
    s->n_rows = LLVMGetParam(fn, 3);
    s->done = NULL;
    prepare(s);
    if (s->forest->f.stop_every)
        start_rows(s);
    BEGIN_ENTRIES(s, &groups, be_i64(e, 0), be_i64(e, s->t.n_groups),
                  s->t.group, be_slice_group, group);
    answer_tests(s, group);
    BEGIN_ENTRIES(s, &batches, FIELD(s, group, be_slice_group, first_batch),
                  FIELD(s, group, be_slice_group, end_batch), s->t.batch,
                  be_slice_batch, batch);
    find_leaves(s, batch);
    use_leaves(s, batch);
    if (s->done)
        maybe_stop(s, batch, groups.done);
    be_loop_end(e, &batches);
    be_loop_end(e, &groups);
    LLVMBuildRetVoid(e->b);
    return fn;
}

LLVMValueRef be_slice_slot_bytes(struct be_emitter *e, int tile_rows,
                                 LLVMValueRef n_rows)
{
    LLVMValueRef bytes = be_i64(e, narrow_rows / rows_8);
    for (int rows = narrow_rows; rows < tile_rows; rows *= narrow_step)
        bytes = LLVMBuildSelect(
            e->b, LLVMBuildICmp(e->b, LLVMIntSGT, n_rows, be_i64(e, rows), ""),
            be_i64(e, rows * narrow_step / rows_8), bytes, "");
    return bytes;
}

/* The same for a tile: calls the function for as few rows as will do. */
static LLVMValueRef emit_choice(struct slice *s)
{
    struct be_emitter *e = s->e;
    const int tile_rows = 8 * (int)s->t.slot_bytes;
    LLVMValueRef fns[4];
    int n = 0;
    for (int rows = narrow_rows; rows < tile_rows; rows *= narrow_step)
        fns[n++] = emit_function(s, rows);
    fns[n] = emit_function(s, tile_rows);
    char name[64];
    snprintf(name, sizeof(name), "slice_%d_%d", s->forest->number,
             e->level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr, e->i64};
    LLVMValueRef fn = be_function(e, name, e->none, params, 4, e->level);
    LLVMValueRef args[4];
    for (int i = 0; i < 4; i++)
        args[i] = LLVMGetParam(fn, (unsigned)i);
    for (int i = 0, rows = narrow_rows; i < n; i++, rows *= narrow_step) {
        LLVMBasicBlockRef here = be_block(e, "narrow");
        LLVMBasicBlockRef wider = be_block(e, "wider");
        LLVMValueRef fit = LLVMBuildICmp(e->b, LLVMIntSLE, args[3],
                                         be_i64(e, rows), "");
        LLVMBuildCondBr(e->b, fit, here, wider);
        LLVMPositionBuilderAtEnd(e->b, here);
        be_call(e, fns[i], args, 4);
        LLVMBuildRetVoid(e->b);
        LLVMPositionBuilderAtEnd(e->b, wider);
    }
    be_call(e, fns[n], args, 4);
    LLVMBuildRetVoid(e->b);
    return fn;
}

void be_slice_emit(struct be_emitter *e, struct be_forest *forest)
{
    struct slice s = {
        .e = e, .forest = forest,
        .code = forest->code_bytes == 1 ? e->i8 : e->i16,
        .wants_leaf = ir_value_used(e->module, &forest->op->result[1])};
    int few_bits = IR_BYTE_BITS;
    forest->planes = be_slice_planes(e, forest, &few_bits);
    struct be_slice_tables tables[2] = {{.slot_bytes = 0}};
    for (int l = 0; l < e->n_levels; l++) {
        e->level = e->levels[l];
        const bool looks_up = be_looks_up(e, forest);
        if (tables[looks_up].slot_bytes == 0)
            be_slice_plan(e, forest, looks_up ? forest->planes : NULL,
                          looks_up ? few_bits : IR_BYTE_BITS,
                          &tables[looks_up]);
        s.t = tables[looks_up];
        s.leaf_code = s.t.code_bytes == 1 ? e->i8 : e->i16;
        if (s.t.n_slots * s.t.slot_bytes > forest->slot_room)
            forest->slot_room = s.t.n_slots * s.t.slot_bytes;
        forest->select_chunks[l] =
            ir_alloc_array(&e->arena, 1, sizeof(LLVMValueRef));
        forest->select_chunks[l][0] = emit_choice(&s);
    }
    forest->n_select_chunks = 1;
}
