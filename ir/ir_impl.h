/* ir_impl.h: what the files of ir/ share and nobody else sees: the functions
 * that each line of ops.def demands. */
#ifndef TREENAIL_IR_IMPL_H
#define TREENAIL_IR_IMPL_H

#include "ir/ir.h"

/* Sets the types of op->result from its operands and attributes, which are of
 * the kinds that the schema asks for. Messages go to op->loc. */
typedef bool ir_infer_fn(const struct ir_module *module, struct ir_op *op,
                         struct ir_diag *diag);
/* Checks the rules beyond schema and types. */
typedef bool ir_verify_fn(const struct ir_module *module,
                          const struct ir_op *op, struct ir_diag *diag);
/* A row that goes through the ops (eval.c). */
struct ir_eval_context {
    const struct ir_module *module;
    const struct ir_rows *rows;
    int64_t row;
    void **value; /* by id: the row's value */
};
/* The elements of a value of the row; and element i of a real one. */
void *ir_eval_data(struct ir_eval_context *c, const struct ir_value *v);
double ir_eval_get(struct ir_eval_context *c, const struct ir_value *v,
                   int64_t i);
/* Stores v rounded to the value's dtype, u8 as ir_to_u8() says; i32 truncates,
 * and is only ever given whole numbers in range. */
void ir_eval_set(struct ir_eval_context *c, const struct ir_value *to,
                 int64_t i, double v);
/* Computes the op's results for one row. */
typedef void ir_eval_fn(struct ir_eval_context *context,
                        const struct ir_op *op);

#define OP(name, ...)                                                         \
    ir_infer_fn ir_infer_##name;                                              \
    ir_verify_fn ir_verify_##name;                                            \
    ir_eval_fn ir_eval_##name;
#define MAP(...)
#include "ir/ops.def"
#undef OP
#undef MAP
ir_infer_fn ir_infer_map_op; /* shared by all MAP ops */
ir_verify_fn ir_verify_map_op;
ir_eval_fn ir_eval_map_op;

/* The rules of an op that has none beyond what inference checks. */
#define IR_NO_MORE_RULES(name)                                                \
    bool ir_verify_##name(const struct ir_module *module,                     \
                          const struct ir_op *op, struct ir_diag *diag)       \
    {                                                                         \
        (void)module;                                                         \
        (void)op;                                                             \
        (void)diag;                                                           \
        return true;                                                          \
    }

extern ir_infer_fn *const ir_infer_table[IR_N_OPS];
extern ir_verify_fn *const ir_verify_table[IR_N_OPS];
extern ir_eval_fn *const ir_eval_table[IR_N_OPS];

/* A message at the op, which its name is put before. False. */
bool ir_op_error(const struct ir_op *op, struct ir_diag *diag, const char *fmt,
                 ...) IR_PRINTF(3, 4);

static inline bool ir_is_real(enum ir_dtype dtype)
{
    return dtype == IR_F32 || dtype == IR_F64;
}

/* The operands are of reals, the usual case. No op gives an empty one. */
bool ir_check_reals(const struct ir_op *op, struct ir_diag *diag);
/* The tensor `name`, where there is one, is a vector of `dtype`, of 1 to
 * IR_MAX_ELEMENTS numbers; n < 0: of any length. */
bool ir_check_vector(const struct ir_op *op, const char *name,
                     enum ir_dtype dtype, int64_t n, struct ir_diag *diag);
/* The tensor `name`, where there is one, is a vector of n i64, each from least
 * to most. */
bool ir_check_ints(const struct ir_op *op, const char *name, int64_t n,
                   int64_t least, int64_t most, struct ir_diag *diag);
/* The type has elements, and not too many. */
bool ir_check_size(const struct ir_op *op, const struct ir_type *type,
                   struct ir_diag *diag);
/* The attributes of slices divide the operand. */
bool ir_check_slices(const struct ir_op *op, struct ir_diag *diag);
/* Every word of a program is a step, and none reads more than n operands. */
bool ir_check_program(const struct ir_op *op, const char *program, int n,
                      struct ir_diag *diag);

/* The operands from `first` on, and the attribute `epilogue`, fit (epilogue.c
 * says how); the result from what the op made, of the dtype it computes in,
 * where the result is or elsewhere. */
bool ir_check_epilogue(const struct ir_op *op, int first,
                       struct ir_diag *diag);
void ir_eval_epilogue(struct ir_eval_context *c, const struct ir_op *op,
                      const void *made);
/* eval(c, op, x, y), which has channels first, for an op that may have them
 * last, of its operand 0; numbers of y take `bytes`. */
typedef void ir_eval_image(struct ir_eval_context *c, const struct ir_op *op,
                           const void *x, void *y);
void ir_eval_turned(struct ir_eval_context *c, const struct ir_op *op,
                    void *y, size_t bytes, ir_eval_image *eval);

/* The attribute `winograd` of a conv fits; what such a conv computes, channels
 * first. */
bool ir_check_winograd(const struct ir_op *op, struct ir_diag *diag);
void ir_eval_winograd(const struct ir_op *op, const void *x, void *y);
/* sum[i] = w * x[i] + sum[i], fused. */
void ir_add_row(int64_t n, float w, const float *x, float *sum);

/* Of an op with the attributes of `trees`: that the operand, and the arrays that
 * others are as long as, are such as a forest has. */
bool ir_check_forest(const struct ir_op *op, struct ir_diag *diag);
/* Whether the row x, of f->in_dtype, goes left at a node; and value k of a leaf
 * that is not linear. Both are numbered over the forest. */
bool ir_goes_left(const struct ir_forest *f, int64_t node, const void *x);
double ir_leaf_value(const struct ir_forest *f, int64_t leaf, int k);

/* The op `trees` whose margins are the output "raw" or, without that, "value" or
 * "probability"; or NULL. */
struct ir_op *ir_explained_trees(struct ir_module *module);

/* One entry of an op's schema, "name:kind" or "name:kind?". */
struct ir_schema_entry {
    const char *name;
    size_t length;
    enum ir_attr_kind kind;
    bool optional;
};
/* Reads the entry at *schema and moves past it; false at the end. */
bool ir_schema_next(const char **schema, struct ir_schema_entry *entry);
/* The entry named `name`. */
bool ir_schema_find(enum ir_op_kind kind, const char *name,
                    struct ir_schema_entry *entry);

/* "f64[2]", "i32" */
void ir_text_type(struct ir_text *text, const struct ir_type *type);
/* Says that `what`, say "result", of this number is of another type. */
bool ir_type_error(struct ir_diag *diag, struct ir_loc loc, const char *what,
                   int number, const struct ir_type *written,
                   const struct ir_type *actual);

/* ir_set_fact() of a key that is new. */
void ir_add_fact(struct ir_module *module, const char *key,
                 const char *value);

/* Checks an op's operand count and its attributes against the schema. */
bool ir_check_schema(const struct ir_op *op, struct ir_diag *diag);

#endif
