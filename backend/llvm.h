/* llvm.h: what the files of backend/ share, and the one place that sees
 * llvm-c/. Sections are headed by the implementing file.
 *
 * Shape of the emitted code. For each ISA level and each dtype of the rows
 * there is a function run_<output>, which cuts the batch into tiles; in a tile
 * each op of the output's slice is lowered in order, from buffers of
 * [tile_rows][elements] to buffers of the same form. One-row functions are the
 * same with a tile of one row and the forest's row strategy. Everything but
 * the entry points is internal; no vector ever crosses a call.
 */
#ifndef TREENAIL_BACKEND_LLVM_H
#define TREENAIL_BACKEND_LLVM_H

#include "backend/backend.h"
#include "ir/steps.h"
#include "runtime/abi.h"
#include "runtime/abi_stream.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

/* --------------------------------------------------------- deep_stack.c -- */

/* Calls run(of), on a thread whose stack is deep, and waits for it. */
void be_on_deep_stack(void (*run)(void *of), void *of);

/* ------------------------------------------------------------- target.c -- */

/* How whole numbers are multiplied: emit_dot.c. */
enum be_dot_kind {
    BE_DOT_MULTIPLY, BE_DOT_PAIRS, BE_DOT_FOURS, BE_DOT_SIGNED_FOURS
};

/* One ISA level that code is emitted for. */
struct be_level {
    const char *name;     /* as --cpu and the header have it */
    const char *cpu;      /* LLVM's target-cpu */
    const char *features; /* LLVM's target-features */
    int vector_bytes;     /* of the registers that kernels use */
    int registers;    /* that vectors can be in */
    bool has_fma;
    bool has_masks; /* compares give mask registers (AVX-512) */
    enum be_dot_kind dot;
    bool is_for_int8; /* held only where there are whole numbers to multiply,
                         unless it is named */
};

/* How bytes are looked up in registers, if they are: emit_tests.c. */
enum be_lookup { BE_LOADS, BE_PSHUFB, BE_TBL, BE_SWIZZLE };

struct be_target {
    const char *name; /* as --target has it */
    const char *triple;
    const char *abi; /* where the triple does not say it, or NULL */
    const struct be_level *levels; /* lowest first */
    int n_levels;
    bool detects; /* levels are chosen at run time by CPUID */
    bool is_x86;  /* a mask's bits are moved to a register and counted there */
    enum be_lookup lookup;
    bool is_wasm; /* linked by wasm-ld; never position-independent */
};

const struct be_target *be_target_find(const char *name);
/* Every target's name, separated by ", ". */
char *be_target_names(struct ir_arena *arena);

/* -------------------------------------------------------------- build.c -- */

struct be_emitter {
    struct ir_arena arena;
    LLVMContextRef context;
    LLVMModuleRef llvm;
    LLVMBuilderRef b;
    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr, none;
    const struct ir_module *module; /* that is emitted: the model, or its step */
    int first_op; /* what the module's first op has for a number */
    const struct be_target *target;
    const struct be_level *levels[8]; /* those that are held, lowest first */
    int n_levels;
    const char *name; /* prefix of the exported symbols */
    struct be_forest **forests; /* by op number, NULL for other ops */
    struct be_layout *layout;   /* of a tile, and */
    struct be_layout *layout_one; /* of one row */
    const struct ir_stream *stream; /* NULL: no steps are wanted */
    struct be_layout *layout_step;  /* of one time step, or NULL */
    struct be_layout *layout_start; /* of what a state starts from, or NULL */
    bool in_step;             /* what is emitted is a time step, or a start */

    /* Of the function being emitted. */
    const struct be_level *level;
    LLVMValueRef fn;
    /* Of the tile being emitted. */
    bool one_row;
    enum ir_dtype row_dtype;
    LLVMValueRef rows, row_stride, column_stride; /* of the tile's first row */
    LLVMValueRef n_rows;    /* in this tile; i64 */
    LLVMValueRef workspace; /* where the layout's buffers start */
    LLVMValueRef out;       /* of the tile's first row */
    const struct ir_value *out_value; /* whose buffer is `out` */
    const bool *needed;     /* by value id: in this output's slice */
    LLVMValueRef *staged;   /* by value id: the rows of an input, dense */
    /* Of a time step, else NULL: where each memory is read. And by value id,
     * where what is to be remembered goes, or NULL; of a window that holds all
     * but its newest step already, where that goes as well. */
    LLVMValueRef *memory;
    LLVMValueRef *kept, *again;
};

/* Types and constants. */
LLVMTypeRef be_type(struct be_emitter *e, enum ir_dtype dtype);
LLVMTypeRef be_vector(LLVMTypeRef element, int lanes); /* 1 lane: element */
LLVMValueRef be_i32(struct be_emitter *e, int64_t v);
LLVMValueRef be_i64(struct be_emitter *e, int64_t v);
LLVMValueRef be_real(struct be_emitter *e, enum ir_dtype dtype, double v);
/* `v` in each of `lanes` lanes (the value itself for 1 lane). */
LLVMValueRef be_splat(struct be_emitter *e, LLVMValueRef v, int lanes);
LLVMValueRef be_splat_const(LLVMTypeRef element, uint64_t v, int lanes);

/* A private constant of n raw bytes. */
LLVMValueRef be_bytes(struct be_emitter *e, const char *name,
                      const void *bytes, size_t n, unsigned align);
/* A private NUL-terminated string. */
LLVMValueRef be_cstring(struct be_emitter *e, const char *s);

/* Memory: base + index elements of `type`; index is i64. */
LLVMValueRef be_at(struct be_emitter *e, LLVMTypeRef type, LLVMValueRef base,
                   LLVMValueRef index);
LLVMValueRef be_offset(struct be_emitter *e, LLVMValueRef base,
                       LLVMValueRef bytes);
/* Loads and stores that assume no more than the element's alignment. */
LLVMValueRef be_load(struct be_emitter *e, LLVMTypeRef type, LLVMValueRef at);
void be_store(struct be_emitter *e, LLVMValueRef v, LLVMValueRef at);

/* Of n vectors of `bytes` bytes each, brings the elements, of `unit` bytes,
 * that stand at the same place together, within each 16 bytes: then 16 bytes
 * number h of v[k] hold elements k * m ... k * m + m - 1 of those of all n
 * vectors, where m is 16 / (n * unit). One instruction a vector and doubling,
 * on every ISA. n and unit are powers of 2, n * unit at most 16. */
void be_interleave(struct be_emitter *e, LLVMValueRef *v, int n, int unit,
                   int bytes);

/* An internal function for level `level`; its body starts at the builder. It is
 * in the section `.text_LEVEL.PART`, so that a file says by itself how much code
 * each level and part takes; linkers treat it as they do `.text`. The part is
 * what `name` starts with, up to a number, as "select" of "select_0_1_32". */
LLVMValueRef be_function(struct be_emitter *e, const char *name,
                         LLVMTypeRef result, LLVMTypeRef *params, int n,
                         const struct be_level *level);
/* Moves the function to another part, of `length` letters. */
void be_set_part(struct be_emitter *e, LLVMValueRef fn, const char *part,
                 int length);
LLVMValueRef be_call(struct be_emitter *e, LLVMValueRef fn,
                     LLVMValueRef *args, int n);
/* A call of the intrinsic `name`, overloaded on `type` if that is not NULL. */
LLVMValueRef be_intrinsic(struct be_emitter *e, const char *name,
                          LLVMTypeRef type, LLVMValueRef *args, int n);
/* Fetches a line to come, which need not exist: to L1 if locality is 3, to L2
 * if it is 2. */
void be_prefetch(struct be_emitter *e, LLVMValueRef at, int locality);
/* Lane j of v[i] becomes lane i of v[j]: `lanes` vectors of 2 to 16 lanes. */
void be_transpose(struct be_emitter *e, LLVMValueRef *v, int lanes);
LLVMBasicBlockRef be_block(struct be_emitter *e, const char *name);
/* Marks a parameter: readonly where it is, noalias always. */
void be_noalias(struct be_emitter *e, LLVMValueRef fn, int param);
void be_noinline(struct be_emitter *e, LLVMValueRef fn);
/* The lesser of two integers. */
LLVMValueRef be_least(struct be_emitter *e, LLVMValueRef a, LLVMValueRef b);
/* The lowest bit of v that is set: one is. */
LLVMValueRef be_trailing_zeros(struct be_emitter *e, LLVMValueRef v);

/* for (i = from; i < to; i += step), with from < to not assumed. The body is
 * emitted between begin and end; `index` is i. */
struct be_loop {
    LLVMBasicBlockRef head, body, done;
    LLVMValueRef index, step;
};
void be_loop_begin(struct be_emitter *e, struct be_loop *loop,
                   LLVMValueRef from, LLVMValueRef to, int64_t step);
void be_loop_end(struct be_emitter *e, struct be_loop *loop);
/* The same, and the loop's code starts at a multiple of 64: how fast a short one
 * is depends on where it lies, by a few percent. */
void be_loop_end_aligned(struct be_emitter *e, struct be_loop *loop);
/* A loop that is gone through once at least, which saves a jump: what it
 * carries is, behind it, what was last given to be_carried(). */
void be_repeat_begin(struct be_emitter *e, struct be_loop *loop,
                     LLVMValueRef from, int64_t step);
void be_repeat_end(struct be_emitter *e, struct be_loop *loop, LLVMValueRef to);
/* A value that the loop carries: `start` before it, then what be_carried()
 * gets, in the block from which the loop goes on. `before` is the block that
 * enters the loop. */
LLVMValueRef be_carry(struct be_emitter *e, const struct be_loop *loop,
                      LLVMValueRef start, LLVMBasicBlockRef before);
void be_carried(struct be_emitter *e, LLVMValueRef phi, LLVMValueRef next);

/* -------------------------------------------------------------- rows.c -- */

/* How a value's numbers are reached: element (r, c) of the tile is at
 * base[r * row_stride + c * column_stride]. */
struct be_view {
    enum ir_dtype dtype;
    LLVMValueRef base, row_stride, column_stride;
    bool dense_columns; /* column_stride is known to be 1 */
};
/* The row itself for an `input`, read in the caller's dtype; the data of a
 * `constant`; else a buffer. */
struct be_view be_view_of(struct be_emitter *e, const struct ir_value *value);
LLVMValueRef be_view_at(struct be_emitter *e, const struct be_view *view,
                        LLVMValueRef row, LLVMValueRef column);
/* The buffer of a value: `out` when it is the output, else in workspace. */
LLVMValueRef be_buffer(struct be_emitter *e, const struct ir_value *value);
/* v as `to`: f32 or f64, or between one of these and i32 or u8. */
LLVMValueRef be_convert(struct be_emitter *e, LLVMValueRef v,
                        enum ir_dtype from, enum ir_dtype to);

/* Where the buffers of the current run are. */
const struct be_layout *be_layout_of(const struct be_emitter *e);
/* Whether the current run has a buffer for it besides the output. */
bool be_has_buffer(const struct be_emitter *e, const struct ir_value *value);

/* ------------------------------------------------------------ layout.c -- */

/* Where buffers lie in the workspace, which is on the stack or in the
 * caller's scratch. All are aligned to 64. */
struct be_layout {
    int64_t rows;       /* of a tile; 1 for one row */
    int64_t *value;     /* offset by value id, -1 without a buffer */
    int64_t *work;      /* offset of an op's own room by op number, or -1: a
                           forest's codes, or a row in its dtype */
    int64_t bytes;      /* in all */
    bool on_stack;
};
struct be_layout *be_layout_new(struct be_emitter *e, int64_t rows);
/* Of a batch's tiles: what all forests can do with. */
int64_t be_tile_rows(const struct be_emitter *e);
/* What the caller must supply, and a bound on the stack that a call takes. */
int64_t be_scratch_bytes(const struct be_emitter *e);
int64_t be_stack_bytes(const struct be_emitter *e);
/* Where the room of op number `op` is in the current run's workspace, or -1. */
int64_t be_work_at(const struct be_emitter *e, int op);

/* ------------------------------------------------------------- lower.c -- */

/* Emits the op for the current tile, from its operands' buffers to those of
 * its results. */
typedef void be_lower_fn(struct be_emitter *e, const struct ir_op *op);
extern be_lower_fn *const be_lower_table[IR_N_OPS]; /* NULL at MODEL level */
be_lower_fn be_lower_input, be_lower_forest, be_lower_map, be_lower_reduce,
    be_lower_constant, be_lower_gather, be_lower_concat, be_lower_lookup,
    be_lower_bucketize, be_lower_interp, be_lower_dense, be_lower_hash_lookup,
    be_lower_contributions, be_lower_gemm, be_lower_matmul, be_lower_conv,
    be_lower_pool, be_lower_pad, be_lower_view, be_lower_take, be_lower_scan;
int be_op_number(const struct be_emitter *e, const struct ir_op *op);
/* The tensor that the op's attribute `name` is, as a table, emitted once. */
LLVMValueRef be_attr_table(struct be_emitter *e, const struct ir_op *op,
                           const char *name);
/* The elements of a `constant`. */
LLVMValueRef be_constant_data(struct be_emitter *e, const struct ir_op *op);

/* ------------------------------------------------------------ kernel.c -- */

/* A value as the ops of nets read it: element i of row r is at
 * base[r * stride + i], of the value's dtype. */
struct be_dense {
    LLVMValueRef base;
    int64_t stride;
};
struct be_dense be_dense_of(struct be_emitter *e,
                            const struct ir_value *value);
/* Emits what be_dense_of() an input is: of the current tile. */
void be_stage_input(struct be_emitter *e, const struct ir_value *value);

/* An op as a function of its own, which be_kernel_call() emits once for a level
 * and calls for the current tile. With be_weighted_kernel_call(), which asks for
 * the op's weights as a constant, they and `bias` are arguments: the function is
 * that of all ops of the same shape. */
enum { BE_KERNEL_OPERANDS = 4, BE_KERNEL_RESULTS = 2 };
struct be_kernel {
    struct be_emitter *e;
    const struct ir_op *op;
    struct be_dense x[BE_KERNEL_OPERANDS];
    LLVMValueRef y[BE_KERNEL_RESULTS]; /* NULL: nobody wants it */
    LLVMValueRef weights, bias; /* bias: NULL where the op has none */
    LLVMValueRef work; /* room for one call, as large as layout.c says */
    LLVMValueRef n_rows;
};
typedef void be_kernel_fn(struct be_kernel *k);
void be_kernel_call(struct be_emitter *e, const struct ir_op *op,
                    be_kernel_fn *body);
typedef LLVMValueRef be_weights_fn(struct be_emitter *e,
                                   const struct ir_op *op);
void be_weighted_kernel_call(struct be_emitter *e, const struct ir_op *op,
                             be_weights_fn *weights, be_kernel_fn *body);

/* Elements of dtype that a register of the level has. */
int be_lanes(const struct be_emitter *e, enum ir_dtype dtype);
/* The first n of `lanes` elements from `at` on, then zeros; and the way back.
 */
LLVMValueRef be_load_part(struct be_emitter *e, LLVMTypeRef type,
                          LLVMValueRef at, int lanes, int n);
void be_store_part(struct be_emitter *e, LLVMTypeRef type, LLVMValueRef v,
                   LLVMValueRef at, int lanes, int n);
/* be_load_part() of weights stored as f32, f64 or bf16; the latter become f32.
 */
LLVMValueRef be_load_weights(struct be_emitter *e, enum ir_dtype stored,
                             LLVMValueRef at, int lanes, int n);
/* Copies n elements; stores `v` n times. */
void be_copy(struct be_emitter *e, enum ir_dtype dtype, LLVMValueRef from,
             LLVMValueRef to, int64_t n);
void be_fill(struct be_emitter *e, enum ir_dtype dtype, LLVMValueRef v,
             LLVMValueRef to, int64_t n);
/* to[i * to_stride + j] = from[j * from_stride + i], i below n_i, j below n_j.
 */
void be_turn(struct be_emitter *e, enum ir_dtype dtype, LLVMValueRef from,
             int64_t from_stride, LLVMValueRef to, int64_t to_stride,
             int64_t n_i, int64_t n_j);
/* base + index * times, of elements of `type`. */
LLVMValueRef be_at_times(struct be_emitter *e, LLVMTypeRef type,
                         LLVMValueRef base, LLVMValueRef index, int64_t times);
/* Element `index` from `at` on in all lanes. */
LLVMValueRef be_load_splat(struct be_emitter *e, LLVMTypeRef type,
                           LLVMValueRef at, int64_t index, int lanes);
/* a * b + c, as ops define it: of f32 fused, of f64 rounded twice. */
LLVMValueRef be_multiply_add(struct be_emitter *e, enum ir_dtype dtype,
                             int lanes, LLVMValueRef a, LLVMValueRef b,
                             LLVMValueRef c);

/* What is done to each element of a kernel's result before it is stored: the
 * attribute `epilogue`, a map's program in which x0 is that element and x1..
 * are the operands after the first. */
struct be_epilogue {
    int n; /* steps; 0: nothing */
    enum ir_dtype dtype, to; /* that steps are in; the result's */
    enum ir_dtype of[BE_KERNEL_OPERANDS]; /* that of x1.. */
    struct ir_step steps[IR_MAX_STEPS];
    /* Of x1..: all of the result's elements, one a column, or one. */
    enum { BE_EACH, BE_COLUMN, BE_SINGLE } kind[BE_KERNEL_OPERANDS];
    struct be_dense x[BE_KERNEL_OPERANDS];
    /* All elements of all rows can be counted in one; and the same, but for
     * numbers that each row has one of. */
    bool flat, flat_by_row;
};
struct be_epilogue be_epilogue_of(const struct be_kernel *k);
/* With those numbers that row `row` has one of. */
struct be_epilogue be_epilogue_of_row(struct be_emitter *e,
                                      const struct be_epilogue *epilogue,
                                      LLVMValueRef row);
/* From now on elements are counted from the start of row `row` on. */
void be_epilogue_skip(struct be_emitter *e, struct be_epilogue *epilogue,
                      LLVMValueRef row);
/* Of `lanes` elements of the result, n of which count, as the result has them:
 * the first is number `at` and in column `column`. */
LLVMValueRef be_epilogue_apply(struct be_emitter *e,
                               const struct be_epilogue *epilogue,
                               LLVMValueRef v, LLVMValueRef at,
                               LLVMValueRef column, int lanes, int n);

/* ---------------------------------------------------------- emit_gemm.c -- */

/* Panels of weights: columns in a panel of which there are so many left. */
int64_t be_panel_width(int64_t columns);
/* Numbers in all panels of that many columns. */
int64_t be_panels_size(int64_t depth, int64_t columns);
/* weights[groups][depth][columns], or with by_column [groups][columns][depth],
 * as panels, group by group, in the constant `symbol`, which is emitted once.
 */
LLVMValueRef be_pack_panels(struct be_emitter *e, const char *symbol,
                            const struct ir_tensor *w, int64_t groups,
                            int64_t depth, int64_t columns, bool by_column);
/* How many vectors of columns the sums of a tile have, with `lanes` each; and
 * how many rows, with so many vectors: what fits registers. */
int be_sum_vectors(const struct be_emitter *e, bool one_row, int lanes);
int be_sum_rows(const struct be_emitter *e, int vectors);

/* ----------------------------------------------------------- emit_dot.c -- */

/* What products of an op with weights of i8 look like. The numbers of a sum lie
 * in `runs` runs of `length` bytes, skip[r] from the first one on, and number i
 * of all has the weight order[i] * term_step of its column. */
struct be_dot {
    struct be_emitter *e;
    const struct ir_op *op;
    int64_t runs, length;
    const int64_t *skip, *order;
    int64_t groups, columns; /* columns of a group */
    int64_t column_step, term_step; /* weights from one to the next */
    /* By be_dot_init(); those after the first by column of all groups. `sum`
     * is that of the weights, where operand 1 is the zero; else NULL, as bias
     * may be. */
    LLVMValueRef packed, start, scale, bias, sum;
};
enum { BE_DOT_ROWS = 14, BE_DOT_VECTORS = 8, BE_DOT_SUMS = 128 };
/* Some columns of one panel, or of two side by side. */
struct be_dot_strip {
    LLVMValueRef weights, column, group; /* column: of all groups, the first */
    int64_t width;
    int lanes, vectors;
    int last; /* lanes of the last vector that are columns */
};
/* Rows whose numbers start at x + skip[r]. */
struct be_dot_tile {
    LLVMValueRef x;
    int rows;
    int64_t skip[BE_DOT_ROWS];
    LLVMValueRef zero[BE_DOT_ROWS]; /* operand 1 of each, as an i32 */
};
/* Emits the tables. All but what it fills in is set. */
void be_dot_init(struct be_emitter *e, struct be_dot *dot,
                 const struct ir_op *op);
/* n numbers of f32, or u8, at `from` as the op's whole numbers, a byte each, at `to`,
 * `to_step` bytes apart. */
void be_dot_quantise(struct be_emitter *e, const struct ir_op *op,
                     LLVMValueRef from, LLVMValueRef to, int64_t n,
                     int64_t to_step);
/* Vectors of columns and rows of a tile. */
int be_dot_vectors(const struct be_emitter *e, bool one_row);
int be_dot_rows(const struct be_emitter *e, int vectors);
/* Operand 1 of row `row`, the number that 0 is, as an i32; NULL when the op's
 * attribute says so. */
LLVMValueRef be_dot_zero(const struct be_kernel *k, LLVMValueRef row);
/* y[row * vectors + vector], f32 with scale and bias. */
void be_dot_sum(const struct be_dot *dot, const struct be_dot_strip *strip,
                const struct be_dot_tile *tile, LLVMValueRef *y);
/* emit(of, dot, strip) for all columns of a group. */
typedef void be_dot_strip_fn(void *of, const struct be_dot *dot,
                             const struct be_dot_strip *strip);
void be_dot_columns(const struct be_dot *dot, LLVMValueRef group, int most,
                    be_dot_strip_fn *emit, void *of);

/* -------------------------------- emit_gemm_int8.c, emit_conv_int8.c -- */

/* gemm and conv with weights of i8, and the room that they work in. */
int64_t be_gemm_work(const struct ir_op *op, int64_t rows);
void be_gemm_int8(struct be_kernel *k);
int64_t be_conv_int8_work(const struct ir_op *op);
void be_conv_int8(struct be_kernel *k);

/* -------------------- emit_conv.c, conv_image.c, emit_winograd.c -- */

/* The room that a conv works in. */
int64_t be_conv_work(const struct ir_op *op);
/* The image that a conv reads where it is a copy: channels last, as many places
 * along each dim as `space`, of which the window's `before` come first. */
struct be_image {
    struct be_emitter *e;
    enum ir_dtype dtype;
    struct ir_window window;
    bool last; /* channels are last in what is copied */
    int64_t space[IR_MAX_SPACE];
};
/* Its numbers. */
int64_t be_image_size(const struct be_image *image);
/* Zeros around it; and a row's numbers into it. */
void be_image_surround(const struct be_image *image, LLVMValueRef to);
void be_image_copy(const struct be_image *image, LLVMValueRef from,
                   LLVMValueRef to);
/* A conv with the attribute `winograd`, and the room that it works in. */
int64_t be_winograd_work(const struct ir_op *op);
LLVMValueRef be_winograd_weights(struct be_emitter *e, const struct ir_op *op);
void be_winograd(struct be_kernel *k);

/* ---------------------------------------- emit_moves.c, emit_slices.c -- */

/* A concat along an axis; a reduce of slices; a map that broadcasts. */
void be_concat_axis(struct be_emitter *e, const struct ir_op *op);
void be_reduce_slices(struct be_emitter *e, const struct ir_op *op);
void be_map_broadcast(struct be_emitter *e, const struct ir_op *op);

/* ---------------------------------------------------------- emit_scan.c -- */

/* The room that a scan over `rows` rows works in. */
int64_t be_scan_work(const struct ir_op *op, int64_t rows);

/* --------------------------------------------------------- emit_math.c -- */

/* Emits the steps of a map on `lanes` lanes; x[i] are the operands. */
LLVMValueRef be_program(struct be_emitter *e, const struct ir_step *steps,
                        int n, enum ir_dtype dtype, int lanes,
                        const LLVMValueRef *x);

/* -------------------------------------------------------- emit_forest.c -- */

/* What is emitted once for an op forest, or contributions, and called from many
 * places. */
struct be_forest {
    struct ir_forest f;
    const struct ir_op *op;
    int number; /* of the op, for names */
    enum ir_strategy by[2]; /* of batches, and of one row */
    int code_bytes;
    /* Leaf values as tables have them, [n_leaves][leaf_width] of f.leaf_dtype;
     * bytes of a leaf there. */
    const uint8_t *stored;
    size_t leaf_bytes;
    int64_t tile_rows;
    int64_t slot_room; /* bytes that slice needs behind a tile's codes */
    /* Of a leaf, its place among its tree's leaves in emit_select.c's order. */
    int32_t *leaf_place;
    /* fn(codes, margin, leaf, n_rows), by level and chunk of trees. */
    LLVMValueRef *select_chunks[8];
    int n_select_chunks;
    LLVMValueRef *branch_chunks; /* fn(row, margin), for the lowest level */
    int n_branch_chunks;
    LLVMValueRef walk;      /* fn(row, margin): all trees by tables */
    LLVMValueRef walk_leaf; /* fn(row, leaf) */
    LLVMValueRef linear;    /* fn(row, leaf) -> value, of a linear leaf */
    /* By level and dtype of the values; of a batch, and of one row. */
    LLVMValueRef quantise[8][2], quantise_one[8][2];
    /* fn(codes, margin) of one row, by strategy and level, or NULL. */
    LLVMValueRef one[IR_N_STRATEGIES][8];
    /* fn(row, margin): of raw8 and raw16 by level and dtype of the row. */
    LLVMValueRef raw[2][8][2];
    /* fn(codes, margins, n_rows) of several rows' codes, each row's
     * be_row_code_bytes() behind the one before, likewise. */
    LLVMValueRef rows[IR_N_STRATEGIES][8];
    /* Of one row whose set tests are words (set_words.c), else 0 and NULL: the
     * runs of columns; where each column's code is among those of a row. */
    int n_set_runs;
    struct be_set_run *set_run;
    int *place_in_row;
    /* Of contributions: fn(work) by level, for one row and for as many as a
     * register has lanes; the paths; the means. */
    LLVMValueRef contributions[8][2];
    struct ir_paths *paths;
    LLVMValueRef expected;
    LLVMValueRef in_set;    /* fn(v, first word, end, flags) */
    /* Emitted once: values in the order of leaf_place, or as numbered. */
    LLVMValueRef leaf_table, leaf_values;
    const struct be_leaf_tables *leaf_tables;
    LLVMValueRef set_table;
    /* How sums of batches are kept at levels that look leaves up, or NULL. */
    const struct be_planes *planes;
};
/* Emits everything that the op's strategies call; fills e->forests. */
void be_forests_emit(struct be_emitter *e);
/* Whether batches are done in tiles of codes, by forest->select_chunks; whether
 * rows are done by their codes side by side, by forest->one and ->rows. */
bool be_by_tiles(const struct be_forest *forest);
bool be_by_codes(const struct be_forest *forest, bool one_row);
/* The same on their own numbers, by forest->raw. */
bool be_by_raw(const struct be_forest *forest, bool one_row);
/* Whether margins are found by the strategy walk, of batches or of one row. */
bool be_walks(const struct be_forest *forest);

/* Fewer rows than these are not done in tiles. */
int64_t be_few_rows(const struct be_forest *forest);

/* In the room of a forest done by tiles, where sums are: behind codes and what
 * slice needs. */
int64_t be_sums_at(const struct be_forest *forest);

/* The number in e->levels of the level that is emitted for. */
int be_level_index(const struct be_emitter *e);
/* How a node decides: whether v, of f.in_dtype, goes left. */
LLVMValueRef be_node_goes_left(struct be_emitter *e, struct be_forest *forest,
                               int64_t node, LLVMValueRef v);
/* The same for a set test of a categorical node: a call of forest->in_set,
 * since a few thousand copies of it take seconds to compile; and what emits
 * that function. */
void be_in_set_emit(struct be_emitter *e, struct be_forest *forest);
LLVMValueRef be_set_test(struct be_emitter *e, struct be_forest *forest,
                         int64_t node, LLVMValueRef v);
/* Adds the values of the leaf number `leaf`, an i64, of the table `values` to
 * the margins at `acc`, of which the first is the tree's target. */
void be_add_leaf(struct be_emitter *e, const struct be_forest *forest,
                 LLVMValueRef values, LLVMValueRef leaf, LLVMValueRef acc);
/* The same for the leaf whose values are at `from`. */
void be_add_values(struct be_emitter *e, const struct be_forest *forest,
                   LLVMValueRef from, LLVMValueRef acc);
/* Whether the margins at `acc` are such that no further tree is asked (the
 * forest has stop_every); and whether that is asked after the tree before
 * number `next`, an i64. */
LLVMValueRef be_is_sure(struct be_emitter *e, const struct be_forest *forest,
                        LLVMValueRef acc);
LLVMValueRef be_stops_before(struct be_emitter *e,
                             const struct be_forest *forest,
                             LLVMValueRef next);
/* Emits forest->linear. */
void be_linear_emit(struct be_emitter *e, struct be_forest *forest);
/* The cuts that a row of dtype f32 must be compared with instead of f64 ones:
 * the largest float that is not above each. */
float be_round_down(double v);

/* Emits forest->leaf_values. */
LLVMValueRef be_leaf_values(struct be_emitter *e, struct be_forest *forest);

/* ------------------------------------------------------- leaf_values.c -- */

/* Fills forest->stored and leaf_bytes; appends a leaf's values. */
void be_leaf_values_init(struct be_emitter *e, struct be_forest *forest);
void be_leaf_append(const struct be_forest *forest, int64_t leaf,
                    struct ir_text *to);
/* A value as it is stored; `lanes` of them from `at` on, as sum_dtype, which is
 * aligned to so many bytes, or 0: as a value is. */
LLVMTypeRef be_leaf_type(struct be_emitter *e, const struct be_forest *forest);
LLVMValueRef be_load_leaf(struct be_emitter *e, const struct be_forest *forest,
                          int lanes, int align, LLVMValueRef at);

/* -------------------------------------------------------- emit_tests.c -- */

/* A node's test of its code, as signed numbers of code_bits: passed where
 * limit > (code & mask). */
struct be_test {
    int column;
    uint32_t limit, mask;
    bool left; /* rows that pass go left */
};
struct be_test be_node_test(const struct be_forest *forest, int64_t node);
struct be_test be_never(const struct be_forest *forest); /* is passed */
/* Whether there are masks that do something: those of set tests. */
bool be_has_masks(const struct ir_forest *f);

/* Decides `lanes` tests, 16 or 32, of one row at once. */
enum { BE_MOST_TABLES = 8 };
struct be_tests {
    struct be_emitter *e;
    const struct be_forest *forest;
    int lanes;
    bool masked;
    int n_tables; /* registers of 16 bytes of codes; 0: codes are in memory */
    LLVMValueRef table[BE_MOST_TABLES], codes; /* of the current function */
};
void be_tests_init(struct be_tests *t, struct be_emitter *e,
                   const struct be_forest *forest, int lanes);
/* Appends to a table the tests of node[0..lanes-1], of which those below 0 are
 * never passed; how many bytes that is, a multiple of 16. */
void be_tests_append(const struct be_tests *t, const int32_t *node,
                     struct ir_text *to);
int be_tests_bytes(const struct be_tests *t);
/* Takes the row's codes, of which all tables' bytes can be read. */
void be_tests_load(struct be_tests *t, LLVMValueRef codes);
/* Which of the tests at `at`, aligned to 16, are passed: a vector of i1. */
LLVMValueRef be_tests_pass(const struct be_tests *t, LLVMValueRef at);

/* --------------------------------------------------------- emit_raw.c -- */

/* Decides `lanes` tests, 8 or 16, of one row of f32, or of the forest's dtype,
 * at once. */
enum { BE_RAW_TABLES = 4 };
struct be_raw {
    struct be_emitter *e;
    struct be_forest *forest;
    int lanes;
    enum ir_dtype dtype;
    bool has_missing, has_zeros, has_sets; /* what some node asks */
    int index_bytes; /* of the number of a feature: 1, 2 or 4 */
    int n_tables; /* registers that hold the row at levels with masks, or 0 */
    struct ir_text sets; /* until they are emitted: */
    LLVMValueRef set, set_start;
    LLVMValueRef row, table[BE_RAW_TABLES]; /* of the current function */
};
void be_raw_init(struct be_raw *r, struct be_emitter *e,
                 struct be_forest *forest, int lanes, enum ir_dtype dtype);
/* Appends to a table the tests of node[0..n-1]; how many bytes that is, a
 * multiple of 16. */
void be_raw_append(struct be_raw *r, int64_t cluster, const int32_t *node,
                   int n, struct ir_text *to);
int be_raw_bytes(const struct be_raw *r);
/* Emits the set tests of all clusters, when those have been appended. */
void be_raw_emit_sets(struct be_raw *r, int64_t n_clusters);
/* Takes the row, of which nothing behind it is read. */
void be_raw_load(struct be_raw *r, LLVMValueRef row);
/* Which of the tests of the cluster number `number` at `cluster`, aligned to
 * 16, are passed: an integer with a bit a lane. */
LLVMValueRef be_raw_pass(const struct be_raw *r, LLVMValueRef number,
                         LLVMValueRef cluster);

/* ------------------------------------------------------- emit_planes.c -- */

/* Leaf values of BE_PLANES_ROWS rows at once by permutes of registers, at
 * levels with has_masks: what a forest's tables and sums look like. */
enum { BE_PLANES_ROWS = 64, BE_PLANES_SUMS = 8, BE_PLANES_MOST_BLOCK = 512 };
struct be_planes {
    LLVMTypeRef sum;
    int sum_bytes;
    int unit, n_planes; /* bytes of a piece of a value, and how many it has */
    int lanes, n_sums;  /* of a register of sums; registers of 64 rows */
    int block; /* rows whose sums lie together, [block][target][row]: 64, or of
                  slice a tile */
};
/* False where no level, or not this forest, can have it: `most_leaves` is of
 * any tree. */
bool be_planes_init(struct be_planes *planes, struct be_emitter *e,
                    const struct be_forest *forest, int most_leaves,
                    int block);
/* Whether it is had at the level emitted for. */
bool be_looks_up(const struct be_emitter *e, const struct be_forest *forest);
/* Entries of a tree's table: its leaves, rounded up; appending one, of n values
 * of sum_dtype, aligned to 64. */
int be_planes_entries(const struct be_planes *planes, int n_leaves);
void be_planes_append(const struct be_planes *planes, int entries,
                      const void *values, int n, struct ir_text *to);
/* Adds to sums[0..n_sums-1] the values of the leaves that the bytes of `index`,
 * a register of 64, are the numbers of in `table`. */
void be_planes_add(const struct be_planes *planes, struct be_emitter *e,
                   int entries, LLVMValueRef table, LLVMValueRef index,
                   LLVMValueRef *sums);
/* for (i = from; i < to; i++), with the 64 sums at `sums` in registers: the
 * body changes sum[]. */
struct be_planes_loop {
    struct be_loop trees;
    LLVMValueRef at, sum[BE_PLANES_SUMS], carried[BE_PLANES_SUMS];
};
void be_planes_begin(const struct be_planes *planes, struct be_emitter *e,
                     struct be_planes_loop *loop, LLVMValueRef sums,
                     LLVMValueRef from, LLVMValueRef to);
void be_planes_end(const struct be_planes *planes, struct be_emitter *e,
                   struct be_planes_loop *loop);
/* Bytes of a tile's sums; sums = base; to = sums / divisor, row by row. */
int64_t be_planes_room(const struct be_forest *forest);
void be_planes_start(struct be_emitter *e, const struct be_forest *forest,
                     LLVMValueRef sums, LLVMValueRef n_rows);
void be_planes_finish(struct be_emitter *e, const struct be_forest *forest,
                      LLVMValueRef sums, LLVMValueRef to, LLVMValueRef n_rows);

/* ------------------------------------------------------- leaf_tables.c -- */

/* Trees of one target, in order. All are given as many tests: what a tree has
 * less are tests that no row passes, in front of its own. */
struct be_run {
    int first, n; /* of the order */
    int n_tests;
};
/* What the emitted code reads of a tree. */
struct be_entry {
    uint32_t start; /* of its table among all leaves */
    int32_t tree;
};
struct be_leaf_tables {
    int *order; /* trees by target */
    struct be_run *runs;
    int n_runs;
    int stride; /* values from leaf to leaf, of which leaf_width count */
    /* Entries in order; leaf values; what the leaf result shows of each. */
    LLVMValueRef entries, values, numbers;
};
/* Emitted once. */
const struct be_leaf_tables *be_leaf_tables(struct be_emitter *e,
                                            struct be_forest *forest);
/* Appends the values of a tree's entries; how many entries. */
int be_tree_values(const struct be_forest *forest, int tree,
                   struct ir_text *to);
/* A node for each of the run's tests, or -1. */
void be_run_tests(const struct ir_forest *f, const struct be_run *run, int tree,
                  int32_t node[IR_MAX_TREE_TESTS]);

/* ---- emit_select.c, emit_slice.c, emit_oblivious.c, emit_branch.c,
 *      emit_walk.c, emit_match.c, emit_quantise.c -------------------------- */

void be_select_emit(struct be_emitter *e, struct be_forest *forest, int level);
/* Of each node of a tree: how many leaves are below it, and how many results
 * are alive while its own is computed (Sethi, Ullman 1970). */
struct be_measure {
    int32_t *leaves;
    uint8_t *need;
};
void be_measure_tree(const struct ir_forest *f, int tree,
                     struct be_measure *measure);
void be_measure_free(struct be_measure *measure);
/* What the leaf result shows, by the first leaf of the tree + place. */
LLVMValueRef be_leaf_numbers(struct be_emitter *e,
                             const struct be_forest *forest);
/* These fill forest->select_chunks of all levels, with one function each. */
void be_slice_emit(struct be_emitter *e, struct be_forest *forest);
void be_oblivious_emit(struct be_emitter *e, struct be_forest *forest);
void be_branch_emit(struct be_emitter *e, struct be_forest *forest);
void be_walk_emit(struct be_emitter *e, struct be_forest *forest);
/* The bytes of a slot of slice where it does n_rows, an i64, of a tile: no more
 * than that many rows need. */
LLVMValueRef be_slice_slot_bytes(struct be_emitter *e, int tile_rows,
                                 LLVMValueRef n_rows);
/* These fill forest->one of a strategy and all levels. */
void be_match_emit(struct be_emitter *e, struct be_forest *forest, int lanes);
void be_raw_emit(struct be_emitter *e, struct be_forest *forest, int lanes);
void be_oblivious_one_emit(struct be_emitter *e, struct be_forest *forest);
/* The nodes as a table; the entry of node `index`, an i64, and its feature;
 * whether v, of f.in_dtype, goes left at an entry; whether that is a set test;
 * and of what is none, for `lanes` numbers at once. */
LLVMValueRef be_walk_nodes(struct be_emitter *e, struct be_forest *forest);
LLVMValueRef be_walk_node(struct be_emitter *e, LLVMValueRef nodes,
                          LLVMValueRef index, LLVMValueRef *feature);
LLVMValueRef be_walk_goes_left(struct be_emitter *e, struct be_forest *forest,
                               LLVMValueRef entry, LLVMValueRef v);
LLVMValueRef be_walk_is_set(struct be_emitter *e, LLVMValueRef entry);
LLVMValueRef be_walk_number_left(struct be_emitter *e,
                                 struct be_forest *forest, LLVMValueRef entry,
                                 LLVMValueRef v, int lanes);
/* How many code columns there must be room for: a few more than there are. */
int64_t be_code_columns(const struct be_forest *forest);
/* fn(base, row_stride, column_stride, n_rows, codes) for values of `dtype`; or
 * fn(base, column_stride, codes) for one row, whose codes are side by side. */
void be_quantise_emit(struct be_emitter *e, struct be_forest *forest,
                      int level, enum ir_dtype dtype, bool one_row);

/* Columns that ask in the same way about one categorical feature are a run,
 * which is written at once. The end of the run that starts at column `first`,
 * or `first` if that is numeric; how a column makes whole numbers of values, 0
 * for a numeric one. */
int be_category_run_end(const struct ir_forest *f, int first);
uint8_t be_category_reading(const struct ir_forest *f, int column);

/* --------------------------------------------------------- set_words.c -- */

struct be_set_run {
    int first, end; /* columns */
    int32_t limit; /* of categories; rows limit and limit + 1 are those of
                      others and of missing values */
};
/* Decides whether one row's set tests are words, for a forest whose strategies
 * are known. */
void be_set_words_plan(struct be_emitter *e, struct be_forest *forest);
/* Whether the node's test is answered by words; then rows that pass go left. */
bool be_in_words(const struct be_forest *forest, int64_t node);
/* Where, in a row's codes, a column's code is, in codes; and where, in bytes,
 * each run has the number of its row of words, an i32: behind all codes. */
int be_place_in_row(const struct be_forest *forest, int column);
int64_t be_set_rows_at(const struct be_forest *forest);
/* Bytes of a row's codes and what is behind them, a multiple of 16. */
int64_t be_row_code_bytes(const struct be_forest *forest);
enum { BE_MOST_SET_RUNS = 8 };
/* Sets, in the words of a run, the bit `lane` of the word number `cluster` of
 * each row that passes the node's test. */
struct be_set_words {
    int64_t n_clusters;
    int word_bytes;
    uint8_t *words; /* of all runs, one after the other */
};
int64_t be_set_words_bytes(const struct be_forest *forest,
                           const struct be_set_words *w, int run);
void be_set_words_add(const struct be_forest *forest, struct be_set_words *w,
                      int64_t cluster, int lane, int64_t node);

/* -------------------------------------------------------- emit_ranks.c -- */

/* A batch of rows, and where codes go. */
struct be_rows {
    LLVMValueRef base, row_stride, column_stride, n_rows, codes;
};
/* Whether a column of rows of dtype `from` is coded by be_ranks_emit, which
 * codes all those. */
bool be_ranks_column(const struct be_emitter *e, const struct be_forest *forest,
                     enum ir_dtype from, int column);
void be_ranks_emit(struct be_emitter *e, const struct be_forest *forest,
                   enum ir_dtype from, const struct be_rows *rows);

/* -------------------------------------------------- emit_contributions.c -- */

void be_contributions_emit(struct be_emitter *e, struct be_forest *forest);
/* The room that its function takes, for one row or for a batch. */
int64_t be_contributions_work(const struct be_emitter *e,
                              const struct be_forest *forest, bool one_row);

/* ------------------------------------------------------ emit_dispatch.c -- */

/* fn() -> i32, the index of the level to run at or -1; and fn(i32) -> i32,
 * which caps it first. */
void be_dispatch_emit(struct be_emitter *e, LLVMValueRef *level,
                      LLVMValueRef *limit);

/* ---------------------------------------------------------- artifact.c -- */

/* The object file's bytes, generated once; they belong to the artifact. */
const void *be_object(struct be_artifact *artifact, size_t *size,
                      struct ir_diag *diag);
/* The prefix of its symbols. */
const char *be_artifact_name(const struct be_artifact *artifact);
bool be_artifact_streams(const struct be_artifact *artifact);

/* ------------------------------------------------------------ header.c -- */

void be_header_text(const struct be_emitter *e, struct ir_text *text);

/* -------------------------------------------------------------- link.c -- */

/* Makes a shared object, or an archive, of one object file in memory; both
 * spawn LLVM's tools by argv and write `path` atomically. */
bool be_link_shared(const void *object, size_t size, const char *name,
                    const char *path, struct ir_diag *diag);
/* A module that imports nothing and exports its memory and the entry points of
 * the model `name`; `stack_bytes` is what they may take. */
bool be_link_wasm(const void *object, size_t size, const char *name,
                  bool streams, int64_t stack_bytes, const char *path,
                  struct ir_diag *diag);
bool be_archive(const void *object, size_t size, const char *name,
                const char *path, struct ir_diag *diag);

#include "backend/library.h"

#endif
