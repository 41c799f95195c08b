/* internal.h: what importers of text formats share, and the two halves of the
 * LightGBM importer. Private to this folder.
 */
#ifndef TREENAIL_FRONTEND_INTERNAL_H
#define TREENAIL_FRONTEND_INTERNAL_H

#include "frontend/frontend.h"

/* ------------------------------------------------------------- lines.c -- */

/* A piece of one line of the file, and where it stands. Points into the file:
 * nothing is copied. begin is NULL where an optional piece is absent. */
struct fe_span {
    const char *begin, *end;
    const char *line_begin;
    uint32_t line; /* from 1 */
};

/* Reads lines one after the other. */
struct fe_reader {
    const char *path; /* for messages */
    const char *next, *end;
    uint32_t line; /* the number of the line at `next` */
};

void fe_reader_init(struct fe_reader *reader, const struct ir_file *file,
                    const char *path);
/* The next line without its line end ("\n" or "\r\n"); false at the end. */
bool fe_peek_line(const struct fe_reader *reader, struct fe_span *line);
bool fe_next_line(struct fe_reader *reader, struct fe_span *line);
/* Takes the next word, set off by blanks, from the front of `rest`. */
bool fe_next_word(struct fe_span *rest, struct fe_span *word);
/* How many words are left. */
int64_t fe_count_words(struct fe_span rest);
/* Takes what stands before the first `c`, and that `c`, from `rest`; the whole
 * of it when there is none. */
struct fe_span fe_split(struct fe_span *rest, char c);

bool fe_is(const struct fe_span *span, const char *text);
bool fe_starts_with(const struct fe_span *span, const char *text);
bool fe_read_int(const struct fe_span *span, int64_t *value);
bool fe_read_double(const struct fe_span *span, double *value);

/* An error at the span's first byte. Returns false. */
bool fe_error_at(struct ir_diag *diag, const struct fe_reader *reader,
                 const struct fe_span *at, const char *fmt, ...)
    IR_PRINTF(4, 5);

/* For "%.*s": the length of a span, cut so that a message stays readable. */
int fe_shown(const struct fe_span *span);
#define FE_SHOW(span) fe_shown(span), (span)->begin

/* ------------------------------------------------------------ import.c -- */

/* What a model is called when its file does not say: the file's name without
 * folders and ending. Owned by the arena. */
char *fe_name_of(struct ir_arena *arena, const char *path);

/* ---------------------------------------------------------- lightgbm.c -- */

/* Below it, either side of 0, LightGBM takes a number for 0. */
#define FE_LIGHTGBM_ZERO ((double)1e-35f)

#define FE_LIGHTGBM_HEADER_KEYS 11

/* How a raw score becomes what Booster.predict gives. */
enum fe_link {
    FE_LINK_IDENTITY,
    FE_LINK_SQRT, /* identity, or with the word "sqrt" the signed square */
    FE_LINK_EXP,
    FE_LINK_BINARY,        /* sigmoid(k * x), with classes */
    FE_LINK_CROSS_ENTROPY, /* sigmoid(x), without */
    FE_LINK_LOG1P_EXP,
    FE_LINK_SOFTMAX,
    FE_LINK_ONE_VS_ALL /* sigmoid(k * x) for each class */
};

/* What is collected while a LightGBM model is read. Spans point into the
 * file. */
struct fe_lightgbm {
    struct fe_reader reader;
    struct fe_span last; /* the line that was read last */
    struct ir_diag *diag;
    struct ir_arena scratch; /* of the importer, freed at its end */

    struct fe_span header[FE_LIGHTGBM_HEADER_KEYS];
    struct fe_span version, objective;
    int64_t n_features;
    int64_t n_targets;     /* trees an iteration: one a class, or one */
    struct fe_span *names; /* [n_features] */
    bool *categorical;     /* [n_features] */
    bool average;          /* a random forest */
    enum fe_link link;
    bool squared;   /* FE_LINK_SQRT with "sqrt" */
    double sigmoid; /* of FE_LINK_BINARY and FE_LINK_ONE_VS_ALL */

    int64_t n_trees; /* read so far */
    struct ir_forest_builder *forest;
    bool needs_zero_bound; /* a node or a leaf asks what counts as 0 */
    struct fe_span tables; /* pandas_categorical's JSON, if any */

    /* Arrays that trees fill one after the other. */
    struct fe_room {
        void *data;
        size_t bytes;
    } parent, mark, boundary, words, set_user, coef_feature, coef;
};

#define fe_lightgbm_error(m, at, ...)                                         \
    fe_error_at((m)->diag, &(m)->reader, at, __VA_ARGS__)

/* Reads the lines "key=value" up to a blank line (which a header may contain),
 * "Tree=" or "end of trees"; fields[i] is the value of keys[i]. `tree` is the
 * number that messages give, -1 for the header. */
bool fe_lightgbm_fields(struct fe_lightgbm *model, int64_t tree, int n_keys,
                        const char *const *keys, struct fe_span *fields);

/* ----------------------------------------------------- lightgbm_tree.c -- */

/* Reads the block below the line "Tree=n", which is `start`, and adds it to
 * the forest. */
bool fe_lightgbm_tree(struct fe_lightgbm *model, const struct fe_span *start);
void fe_lightgbm_release(struct fe_lightgbm *model);

/* ---------------------------------------------------- lightgbm_build.c -- */

/* Fills `module` with what was read and verifies it. */
bool fe_lightgbm_build(struct fe_lightgbm *model, struct ir_module *module);

#endif
