/* stream.h: what the files share that make a step of a model. Private to
 * this folder. */
#ifndef TREENAIL_PASSES_STREAM_H
#define TREENAIL_PASSES_STREAM_H

#include "ir/steps.h"
#include "passes/rewrite.h"

/* What a value of the model is to a step. */
enum stream_kind {
    STREAM_STILL, /* the same at all steps */
    STREAM_OTHER, /* made of inputs that have no steps: in the start */
    STREAM_SERIES, /* one for each step */
    STREAM_LATEST /* made of all steps so far: the model's after the last */
};

struct stream_value {
    enum stream_kind kind;
    struct ir_time time; /* of a series, whose steps are frames */
    int64_t frames; /* of a series, that a step has */
    int64_t start; /* the frame of its first: below 0 where it was padded, above
                      0 where it takes some to begin; of the latest a step */
    int64_t each, total; /* of a sum so far: of how many a step, and in all */
    double fill;   /* what is before step 0, where start is below 0 */
    struct ir_value *step;  /* what computes it in the step's module */
    struct ir_value *at_start; /* in that of the start, or NULL */
};

struct streamer {
    const struct ir_module *model;
    struct ir_stream *stream;
    struct ir_module *step; /* stream->step */
    struct ir_module *start; /* becomes stream->start */
    int64_t n_steps;        /* of the whole sequence */
    int64_t frames;         /* places along the input's dim that are a step */
    int64_t want_frames;    /* there would be a step of so many, if not 0 */
    bool single; /* which is one, so that it is no dim: all is the latest */
    int first_column, n_columns; /* of the input that has steps */
    struct ir_arena scratch;
    struct stream_value *value; /* by id */
    const struct ir_op *op;     /* that is being looked at */
    struct ir_value **kept; /* by memory: what is to be remembered */
    int room;               /* for memories */
    struct ir_text *why;    /* there is no step */
    bool wrong_dim; /* since this dim is hardly time */
    bool wrong_input; /* since what is looked at for steps has none at all */
    struct ir_diag diag;    /* of what cannot be built after all */
};

/* ------------------------------------------------------------ stream.c -- */

/* Says that there is no step since the op `what`...; returns false. */
bool pass_stream_refuse(struct streamer *s, const char *what, ...)
    IR_PRINTF(2, 3);

bool pass_stream_refuse_padding(struct streamer *s);

/* Operand i of the op that is being looked at. */
const struct stream_value *pass_stream_operand(const struct streamer *s, int i);

/* Appends an op to the step; NULL, with `why`, when it does not fit. */
struct ir_op *pass_stream_append(struct streamer *s, enum ir_op_kind kind,
                                 int n, struct ir_value *const *operands,
                                 int n_attrs, const struct ir_attr *attrs);
/* The op that is being looked at, of those operands, some attributes being
 * these. */
struct ir_op *pass_stream_copy(struct streamer *s, int n,
                               struct ir_value *const *operands, int n_attrs,
                               const struct ir_attr *attrs);
/* A view of x. */
struct ir_value *pass_stream_view(struct streamer *s, struct ir_value *x,
                                  int rank, const int64_t *dims,
                                  const int64_t *strides, int64_t offset);
/* x, dense, in another shape. */
struct ir_value *pass_stream_reshape(struct streamer *s, struct ir_value *x,
                                     int rank, const int64_t *dims);
/* So many elements of x, dense, from one on. */
struct ir_value *pass_stream_part(struct streamer *s, struct ir_value *x,
                                  int rank, const int64_t *dims,
                                  int64_t offset);
/* a and then b, along the first dim. */
struct ir_value *pass_stream_join(struct streamer *s, struct ir_value *a,
                                  struct ir_value *b);
struct ir_attr pass_stream_ints(struct streamer *s, const char *name, int n,
                                const int64_t *numbers);

/* The numbers of a value that is still, in the step's arena. */
const void *pass_stream_evaluate(struct streamer *s,
                                 const struct ir_value *value);
/* Whether so many numbers more can be remembered: n of `each`. */
bool pass_stream_has_room(struct streamer *s, int64_t n, int64_t each);
/* What is remembered from the last step, which starts as `first`; the caller
 * sets s->kept[] of its number, *memory. */
struct ir_value *pass_stream_remember(struct streamer *s, enum ir_dtype dtype,
                                      int rank, const int64_t *dims,
                                      const void *first, int *memory);

/* The dim of a value along which time goes, when that is a dim of its own; or
 * -1. */
int pass_stream_axis(const struct ir_value *value, const struct ir_time *time);
/* Numbers from one place along a dim to the next. */
int64_t pass_stream_inner(const struct ir_type *type, int axis);

/* ------------------------------------------------------ stream_start.c -- */

/* The start's module, of the model's columns that are not of the steps. */
void pass_stream_start_new(struct streamer *s);
/* The op that is being looked at, whose operands are other or still, in the
 * start: its results are other. */
bool pass_stream_start_op(struct streamer *s);
/* What a step has of operand i, which is no series: of one that is other what
 * was made of it at the start. `axis`, when it has several places there that
 * are the same, so many `frames` of them; else -1. NULL with `why`. */
struct ir_value *pass_stream_given(struct streamer *s, int i, int axis,
                                   int64_t frames);
/* Has the memory start as a value that is other; where nothing is given as
 * what that is of zeros, when it has no `first`. */
bool pass_stream_start_as(struct streamer *s, int memory,
                          const struct ir_value *value);
/* Finishes the start, or drops it when nothing starts as it says. */
bool pass_stream_start_finish(struct streamer *s);

/* -------------------------------------------------------- stream_ops.c -- */

/* Builds what the op is at a step, of operands of which one is a series, and
 * sets what result 0 is, but for its kind, and s->value[].step of all results.
 */
bool pass_stream_op(struct streamer *s, const struct ir_op *op);
/* An op on what a sequence of one step gives. */
bool pass_stream_single(struct streamer *s);
/* The op on the first operand alone; its result is `time`, and starts where the
 * operand does. */
bool pass_stream_copy_one(struct streamer *s, const struct ir_time *time,
                          int n_attrs, const struct ir_attr *attrs);

/* ---------------------------------------------------- stream_windows.c -- */

/* As pass_stream_op(), of one kind of op each. */
bool pass_stream_pad(struct streamer *s);
bool pass_stream_conv(struct streamer *s);
bool pass_stream_pool(struct streamer *s);

/* ---------------------------------------------------- stream_running.c -- */

/* What is reduced over all of time: of each step [outer][each][inner]. */
struct pass_stream_slices {
    const char *kind; /* of the op reduce */
    int64_t outer, each, inner;
};

/* The op is such a reduction: of all that there was so far. */
bool pass_stream_running(struct streamer *s,
                         const struct pass_stream_slices *slices);
/* Whether the op divides a sum over all of time by how many it is of. */
bool pass_stream_is_mean(struct streamer *s);
/* Its result is the sum divided by how many there were so far. */
bool pass_stream_mean(struct streamer *s, const struct stream_value *sum);
struct ir_value *pass_stream_map(struct streamer *s, const char *program,
                                 enum ir_dtype dtype, int n,
                                 struct ir_value *const *x);
/* Numbers that are remembered, [n] `first` before the first step, and what a
 * program makes of them in each: what is there in the next. */
struct ir_value *pass_stream_counter(struct streamer *s, enum ir_dtype dtype,
                                     int64_t n, const double *first,
                                     const char *program,
                                     struct ir_value **next);
/* `after`, but up to the step `start` `before`. */
struct ir_value *pass_stream_begun(struct streamer *s, int64_t start,
                                   struct ir_value *after,
                                   struct ir_value *before);

#endif
