/* internal.h: what importers share, and the halves of the LightGBM importer.
 * Private to this folder.
 */
#ifndef TREENAIL_FRONTEND_INTERNAL_H
#define TREENAIL_FRONTEND_INTERNAL_H

#include "frontend/frontend.h"

/* ------------------------------------------------------------- lines.c -- */

/* A piece of one line of the file, and where it stands. Points into the file:
 * nothing is copied. begin is NULL where an optional piece is absent. */
struct fe_span {
    const char *begin, *end;
    const char *line_begin; /* NULL: the column is not known */
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

/* ------------------------------------ json.c, json_text.c, ubjson.c -- */

/* A document of JSON or UBJSON. Its syntax is checked once, as a whole; then
 * values are found by walking its bytes. Nothing is copied and no tree of it is
 * made, so a document may be large; passing over a value is fast.
 *
 *     static const char *const keys[] = {"name", "trees"};
 *     struct fe_value field[2];
 *     if (!fe_json_fields(&json, &root, 2, keys, field)) return false;
 *     struct fe_walk walk;
 *     struct fe_value tree;
 *     if (!fe_json_begin(&json, &field[1], "trees", &walk)) return false;
 *     while (fe_json_next(&walk, &tree)) ...
 *
 * NaN, Infinity and -Infinity are numbers, as frameworks write them. */
struct fe_json {
    const char *path; /* for messages */
    struct ir_diag *diag;
    const uint8_t *data, *end;
    bool binary;      /* UBJSON; messages give the offset, else the line */
    int max_depth;    /* of what nests */
    char context[64]; /* what each message begins with: "tree 3: " */
    /* How far lines were counted for messages. */
    const uint8_t *counted, *line_begin;
    uint32_t line;
};

/* A value of the document, by its place. */
struct fe_value {
    const uint8_t *at; /* NULL: there is none, as for a field that is absent */
    uint8_t type;      /* of UBJSON: its marker */
};

enum fe_kind {
    FE_ABSENT,
    FE_NULL,
    FE_BOOL,
    FE_NUMBER,
    FE_STRING,
    FE_ARRAY,
    FE_OBJECT
};

#define FE_JSON_DEPTH 128 /* arrays and objects within another */
/* The same for a format that nests what it grows: the tree of as many leaves
 * as LightGBM can make, one below the other. */
#define FE_JSON_DEEP ((1 << 17) + 64)

/* Takes `file` for JSON or, by its second byte, for UBJSON, and checks all of
 * it. `path` and the bytes must outlive what is read. */
bool fe_json_open(struct fe_json *json, const struct ir_file *file,
                  const char *path, struct ir_diag *diag);
/* The same for JSON only, as deep as FE_JSON_DEEP. */
bool fe_json_open_deep(struct fe_json *json, const struct ir_file *file,
                       const char *path, struct ir_diag *diag);
struct fe_value fe_json_root(const struct fe_json *json);
enum fe_kind fe_json_kind(const struct fe_json *json,
                          const struct fe_value *value);
/* Where a value stands. The lines before it are counted, from where they were
 * counted last if that is before it. */
struct ir_loc fe_json_loc(struct fe_json *json, const struct fe_value *value);
/* An error at `value`, or about the whole file when it is absent. Returns
 * false. */
bool fe_json_error(struct fe_json *json, const struct fe_value *value,
                   const char *fmt, ...) IR_PRINTF(3, 4);

/* A walk over the elements of an array or the members of an object. */
struct fe_walk {
    const struct fe_json *json;
    const uint8_t *next;
    int64_t left; /* elements of a counted container of UBJSON, or -1 */
    uint8_t type; /* of a typed one, or 0 */
    bool object;
    bool unread; /* of JSON: `next` is at the newest value, not behind it */
    struct fe_value key; /* of the newest value, in an object */
};
/* False with a message when `array` is none; `name` is what it is called. */
bool fe_json_begin(struct fe_json *json, const struct fe_value *array,
                   const char *name, struct fe_walk *walk);
bool fe_json_begin_object(struct fe_json *json, const struct fe_value *object,
                          const char *name, struct fe_walk *walk);
/* The next value; false after the last. */
bool fe_json_next(struct fe_walk *walk, struct fe_value *value);
/* After `inner`, a walk over the newest value of `outer`, has come to its end:
 * `outer` goes on from there and does not pass over that value once more. So
 * what nests deeply is walked in linear time. JSON only. */
void fe_json_leave(struct fe_walk *outer, const struct fe_walk *inner);
/* Element i of an array that has it: for messages, as it takes i steps. */
struct fe_value fe_json_element(const struct fe_json *json,
                                const struct fe_value *array, int64_t i);

/* Finds the values of n keys in the object `object`, which is called `name`;
 * other keys are passed over. A key of these that stands twice is an error. */
bool fe_json_fields(struct fe_json *json, const struct fe_value *object,
                    const char *name, int n, const char *const *keys,
                    struct fe_value *fields);
/* One step of that: puts the newest value of a walk where its key says. *k is
 * the key's number, or n. */
bool fe_json_put(struct fe_json *json, const struct fe_walk *walk,
                 const struct fe_value *value, const char *name, int n,
                 const char *const *keys, struct fe_value *fields, int *k);

/* The value called `name`, or false with a message: when it is absent, of
 * another kind, or out of range. */
bool fe_json_int(struct fe_json *json, const struct fe_value *value,
                 const char *name, int64_t low, int64_t high, int64_t *i);
bool fe_json_double(struct fe_json *json, const struct fe_value *value,
                    const char *name, double *d);
bool fe_json_float(struct fe_json *json, const struct fe_value *value,
                   const char *name, float *f);
bool fe_json_bool(struct fe_json *json, const struct fe_value *value,
                  const char *name, bool *b);
/* A string without a NUL in it, decoded into the arena. */
bool fe_json_string(struct fe_json *json, const struct fe_value *value,
                    const char *name, struct ir_arena *arena, char **s);
/* Whether a string, or the key of a walk, is `text`. */
bool fe_json_is(const struct fe_json *json, const struct fe_value *value,
                const char *text);

/* A growing array of numbers; starts as all zero, free() owns `data`. */
struct fe_numbers {
    union {
        void *data;
        int64_t *i;
        double *d;
        float *f;
    };
    int64_t n;
    size_t bytes; /* that there is room for */
};
/* Replaces what `numbers` holds by an array of numbers: i for ints (in which
 * true is 1 and false 0), d or f. Decimals are rounded once, to that type. */
bool fe_json_ints(struct fe_json *json, const struct fe_value *array,
                  const char *name, struct fe_numbers *numbers);
bool fe_json_doubles(struct fe_json *json, const struct fe_value *array,
                     const char *name, struct fe_numbers *numbers);
bool fe_json_floats(struct fe_json *json, const struct fe_value *array,
                    const char *name, struct fe_numbers *numbers);
/* Its length, without reading it. */
bool fe_json_length(struct fe_json *json, const struct fe_value *array,
                    const char *name, int64_t *n);

/* The two syntaxes, for json.c. What is checked holds for the others. */
bool fe_text_check(struct fe_json *json);
const uint8_t *fe_text_skip(const uint8_t *at, const uint8_t *end);
bool fe_text_next(struct fe_walk *walk, struct fe_value *value);
bool fe_ubjson_check(struct fe_json *json);
const uint8_t *fe_ubjson_skip(const struct fe_value *value);
void fe_ubjson_begin(const struct fe_value *container, struct fe_walk *walk);
bool fe_ubjson_next(struct fe_walk *walk, struct fe_value *value);
/* The bytes of a string. */
size_t fe_ubjson_string(const struct fe_value *value, const uint8_t **bytes);
/* A number: of a whole one *is_int is set and *i is it; *d is the nearest. */
double fe_ubjson_number(const struct fe_value *value, bool *is_int,
                        int64_t *i);

/* ----------------------------------------------------------- foreign.c -- */

/* Of a file that no importer takes: what to say of its format, and of the way
 * to one that is read; NULL when it is none of those known. */
const char *fe_foreign_format(const struct ir_file *file);

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

/* Whether model->version is known; what model->objective says. */
bool fe_lightgbm_version(struct fe_lightgbm *model);
bool fe_lightgbm_objective(struct fe_lightgbm *model);

/* ----------------------------------------------------- lightgbm_tree.c -- */

/* Adds a numeric node. missing: 0 none, 1 zero, 2 NaN, as LightGBM numbers
 * them. */
void fe_lightgbm_node(struct fe_lightgbm *model, int feature, double threshold,
                      int missing, bool missing_left, int left, int right);

/* Reads the block below the line "Tree=n", which is `start`, and adds it to
 * the forest. */
bool fe_lightgbm_tree(struct fe_lightgbm *model, const struct fe_span *start);
void fe_lightgbm_release(struct fe_lightgbm *model);

/* ---------------------------------------------------- lightgbm_build.c -- */

/* Fills `module` with what was read and verifies it. */
bool fe_lightgbm_build(struct fe_lightgbm *model, struct ir_module *module);

#endif
