/* nets.h: the part of ir.h, which includes it, that is about what nets are made
 * of: attributes as plain numbers, shapes, and how much work an op is.
 * Implemented by nets.c; ir_broadcast(),
 * ir_compute_dtype() and ir_is_plain_map() by infer.c, and
 * ir_is_plain_concat() by moves.c. */
#ifndef TREENAIL_IR_NETS_H
#define TREENAIL_IR_NETS_H

#include "ir/ir.h"

/* Of gemm and conv with weights of i8: what takes their operand to whole
 * numbers from 0 to 255, if it is not of u8; which of these is 0, or that
 * operand 1 says so; what sums of products start at; what takes them back; and
 * the result's dtype, if that is u8. */
#define IR_INT8_ATTRS                                                         \
    "input_scale:float? input_zero:int? zero_operand:int? start:tensor? "     \
    "scale:tensor? dtype:string? "
/* What passes add to gemm and conv: a map's program, in which x0 is an element
 * of the result and x1.. are the further operands, each of all the result's
 * elements, of one a column of its last dim, or of one; and the rows of a
 * batch that go through the whole net together. */
#define IR_TILE_ATTRS "epilogue:string? tile_rows:int? "

/* The block of a gemm of so many outputs: short chains where there are few,
 * since each fma waits for the one before. */
int64_t ir_gemm_block(int64_t n_outputs);

/* Where the windows of a conv or pool lie. x is [channels][dim 0]..; dims are
 * IR_MAX_SPACE, the first of them of size 1 where x has fewer. Along a dim, tap
 * k of window o is at place o * stride + k * dilation - before. Element i is at
 * place i * spread; the places between such multiples are gaps, wherever they
 * are, and other multiples are padding. */
#define IR_MAX_SPACE 3
struct ir_window {
    int64_t channels; /* of x */
    int64_t taps;     /* of a window: kernel positions */
    struct ir_window_dim {
        int64_t in, out, kernel;
        int64_t stride, dilation, spread;
        int64_t before, after; /* padding */
        int64_t extra;         /* places past it that never count */
    } dim[IR_MAX_SPACE];
};
/* Of an op that passed inference. */
void ir_window_view(const struct ir_op *op, struct ir_window *window);
/* The element along a dim that tap k of window o is, IR_PADDING or IR_GAP. */
enum { IR_PADDING = -1, IR_GAP = -2 };
int64_t ir_window_at(const struct ir_window_dim *d, int64_t o, int64_t k);
/* The greatest; of two numbers that are not both 0. */
int64_t ir_common_divisor(int64_t a, int64_t b);

/* ---------------------------------------------------------- winograd.c -- */

/* A conv with the attribute `winograd`, one of one or two dims. */
enum { IR_WINOGRAD_POINTS = 6, IR_WINOGRAD_PAIRS = 2 };
struct ir_winograd {
    int64_t channels, results; /* channels of x and of the result */
    int positions;             /* points along both dims */
    struct ir_winograd_dim {
        struct ir_window_dim window;
        int tile, points; /* windows of a tile; what they are computed at */
        int64_t tiles;    /* that cover the windows; the last may stand out */
    } dim[2];
};
void ir_winograd_view(const struct ir_op *op, struct ir_winograd *winograd);
/* What keeps a conv from having that attribute, or NULL. */
const char *ir_winograd_obstacle(const struct ir_op *op);
/* [positions][channels][results]; to be freed. */
float *ir_winograd_weights(const struct ir_op *op);
/* Of 6 points: the positive one of each pair, and the square of the other
 * pair's. */
extern const float ir_winograd_root[IR_WINOGRAD_PAIRS];
extern const float ir_winograd_other[IR_WINOGRAD_PAIRS];
/* The nth power of the positive point of a pair. */
float ir_winograd_power(int points, int pair, int n);

/* ------------------------------------------------------------- nets.c -- */

/* A scan's attributes as plain numbers. */
enum ir_cell { IR_LSTM, IR_GRU, IR_RNN, IR_N_CELLS };
struct ir_scan {
    enum ir_cell cell;
    int n_gates, n_states;     /* lstm: 4 and 2; gru: 3 and 1; rnn: 1 and 1 */
    int64_t steps, hidden;     /* T and H */
    const void *recurrent;     /* [H][n_gates][H] of x's dtype,
                                  or bf16 */
    const void *recurrent_bias; /* [H], or NULL */
    const void *peephole;      /* [3][H], or NULL */
    double clip;               /* infinite when there is none */
    bool reverse, linear_before_reset, input_forget;
    const char *program[3];    /* gate, candidate, output; NULL for none */
};
void ir_scan_view(const struct ir_op *op, struct ir_scan *scan);

/* The slices of a softmax, argmax or reduce. */
struct ir_slices {
    int64_t outer, size, inner;
};
struct ir_slices ir_slices_of(const struct ir_op *op);

/* The steps of an op's inner loops for a row, multiply-adds for the most part;
 * at most INT64_MAX. */
int64_t ir_op_work(const struct ir_op *op);
/* The same of all ops. */
int64_t ir_module_work(const struct ir_module *module);

/* The dtype that the steps of a map, or of the epilogue of a gemm or conv, are
 * rounded to: the first operand's, but f32 where that is u8. */
enum ir_dtype ir_compute_dtype(const struct ir_op *op);
/* The shape that a map on these operands has: dims that fit from the last on, 1
 * fitting any, and operands of one element fitting all. The dtype is the first
 * operand's. False when they do not fit. */
bool ir_broadcast(int n, struct ir_value *const *operands,
                  struct ir_type *type);
/* Whether element i of a map's result is of element i of each operand, or of
 * its only one. */
bool ir_is_plain_map(const struct ir_op *op);
/* Whether a concat's result is its operands' elements end to end. */
bool ir_is_plain_concat(const struct ir_op *op);

/* ------------------------------------------------------------- dense.c -- */

/* Whether the op reads its operands where they are dense: the rows of an input
 * are copied for it if need be. */
bool ir_reads_dense(const struct ir_op *op);
/* Whether it is a gemm or conv with weights of i8. */
bool ir_is_int8(const struct ir_op *op);
/* Whether it is one whose operand 1 is the whole number that 0 is. */
bool ir_has_zero_operand(const struct ir_op *op);
/* Whether the op is a view whose elements lie in memory as its operand's do, so
 * that it has no buffer. */
bool ir_is_alias(const struct ir_op *op);

#endif
