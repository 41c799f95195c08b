/* lightgbm.c: a LightGBM text model, v2 to v4 -> module.
 *
 * The file is a header, the trees (lightgbm_tree.c), and a trailer of sections.
 * It is read once, line by line; then lightgbm_build.c makes a module of what
 * was found. docs/formats.md has the format.
 *
 * Lines that change no prediction are skipped (tree_sizes only for its count),
 * but a key that is not known is an error: it may be a quirk that matters.
 */
#include "frontend/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum header_key {
    VERSION,
    NUM_CLASS,
    NUM_TREE_PER_ITERATION,
    MAX_FEATURE_IDX,
    OBJECTIVE,
    AVERAGE_OUTPUT,
    FEATURE_NAMES,
    FEATURE_INFOS,
    TREE_SIZES,
    LABEL_INDEX, /* from here on what changes no prediction */
    MONOTONE_CONSTRAINTS,
    N_KEYS
};

_Static_assert(N_KEYS == FE_LIGHTGBM_HEADER_KEYS, "room for each key");

static const char *const key_names[N_KEYS] = {
    [VERSION] = "version",
    [NUM_CLASS] = "num_class",
    [NUM_TREE_PER_ITERATION] = "num_tree_per_iteration",
    [MAX_FEATURE_IDX] = "max_feature_idx",
    [OBJECTIVE] = "objective",
    [AVERAGE_OUTPUT] = "average_output",
    [FEATURE_NAMES] = "feature_names",
    [FEATURE_INFOS] = "feature_infos",
    [TREE_SIZES] = "tree_sizes",
    [LABEL_INDEX] = "label_index",
    [MONOTONE_CONSTRAINTS] = "monotone_constraints",
};

/* The names that model files have, and aliases that LightGBM reads there. */
static const struct objective {
    const char *name;
    enum fe_link link;
} objectives[] = {
    {"regression", FE_LINK_SQRT},
    {"regression_l1", FE_LINK_SQRT},
    {"quantile", FE_LINK_SQRT},
    {"fair", FE_LINK_SQRT},
    {"mape", FE_LINK_SQRT},
    {"huber", FE_LINK_IDENTITY},
    {"poisson", FE_LINK_EXP},
    {"gamma", FE_LINK_EXP},
    {"tweedie", FE_LINK_EXP},
    {"binary", FE_LINK_BINARY},
    {"cross_entropy", FE_LINK_CROSS_ENTROPY},
    {"xentropy", FE_LINK_CROSS_ENTROPY},
    {"cross_entropy_lambda", FE_LINK_LOG1P_EXP},
    {"xentlambda", FE_LINK_LOG1P_EXP},
    {"multiclass", FE_LINK_SOFTMAX},
    {"multiclassova", FE_LINK_ONE_VS_ALL},
    {"lambdarank", FE_LINK_IDENTITY},
    {"rank_xendcg", FE_LINK_IDENTITY},
    {"custom", FE_LINK_IDENTITY},
    {"none", FE_LINK_IDENTITY},
};

bool fe_detect_lightgbm(const uint8_t *data, size_t size)
{
    const size_t n = size < 4096 ? size : 4096;
    if (n < 6 || memcmp(data, "tree", 4) != 0 ||
        (data[4] != '\n' && data[4] != '\r'))
        return false;
    return memmem(data, n, "\nversion=", 9) ||
           memmem(data, n, "\nnum_class=", 11);
}

/* -------------------------------------------------------------- fields -- */

static bool field_error(const struct fe_lightgbm *in, int64_t tree,
                        const struct fe_span *line, const struct fe_span *key,
                        const struct fe_span *first)
{
    char where[40] = "the header";
    if (tree >= 0)
        snprintf(where, sizeof where, "tree %lld", (long long)tree);
    if (first)
        return fe_error_at(in->diag, &in->reader, line,
                           "%s: the line %.*s= stands twice, first in line %u",
                           where, FE_SHOW(key), (unsigned)first->line);
    return fe_error_at(in->diag, &in->reader, line,
                       "%s: '%.*s' is no key that LightGBM 2 to 4 writes here",
                       where, FE_SHOW(key));
}

bool fe_lightgbm_fields(struct fe_lightgbm *model, int64_t tree, int n_keys,
                        const char *const *keys, struct fe_span *fields)
{
    struct fe_span line;
    while (fe_peek_line(&model->reader, &line)) {
        if (fe_starts_with(&line, "Tree=") || fe_is(&line, "end of trees"))
            return true;
        fe_next_line(&model->reader, &line);
        if (line.begin == line.end && tree >= 0)
            return true;
        if (line.begin == line.end)
            continue;
        struct fe_span value = line;
        const struct fe_span key = fe_split(&value, '=');
        int k = 0;
        while (k < n_keys && !fe_is(&key, keys[k]))
            k++;
        if (k == n_keys)
            return field_error(model, tree, &line, &key, NULL);
        if (fields[k].begin)
            return field_error(model, tree, &line, &key, &fields[k]);
        fields[k] = value;
    }
    return true;
}

/* -------------------------------------------------------------- header -- */

static bool need_field(struct fe_lightgbm *m, enum header_key key)
{
    return m->header[key].begin ||
           fe_lightgbm_error(m, &m->last,
                             "the header has no line %s=", key_names[key]);
}

static bool read_scalar(struct fe_lightgbm *m, enum header_key key, int64_t low,
                        int64_t high, int64_t *value)
{
    if (!need_field(m, key))
        return false;
    const struct fe_span *field = &m->header[key];
    if (!fe_read_int(field, value))
        return fe_lightgbm_error(m, field, "%s is '%.*s', not a whole number",
                                 key_names[key], FE_SHOW(field));
    if (*value < low || *value > high)
        return fe_lightgbm_error(
            m, field, "%s %lld is out of range (%lld to %lld)", key_names[key],
            (long long)*value, (long long)low, (long long)high);
    return true;
}

bool fe_lightgbm_version(struct fe_lightgbm *m)
{
    const struct fe_span *v = &m->version;
    return fe_is(v, "v2") || fe_is(v, "v3") || fe_is(v, "v4") ||
           fe_lightgbm_error(m, v,
                             "version %.*s is not known (v2, v3 and v4 are)",
                             FE_SHOW(v));
}

/* By length, then bytes, then place. */
static int compare_names(const void *a, const void *b)
{
    const struct fe_span *x = a, *y = b;
    const size_t n = (size_t)(x->end - x->begin);
    const size_t k = (size_t)(y->end - y->begin);
    if (n != k)
        return n < k ? -1 : 1;
    const int order = memcmp(x->begin, y->begin, n);
    if (order)
        return order;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static bool check_names_differ(struct fe_lightgbm *m)
{
    const size_t n = (size_t)m->n_features;
    struct fe_span *sorted = ir_alloc_array(&m->scratch, n, sizeof *sorted);
    memcpy(sorted, m->names, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_names);
    for (size_t i = 1; i < n; i++) {
        const struct fe_span *a = &sorted[i - 1], *b = &sorted[i];
        const size_t length = (size_t)(b->end - b->begin);
        if ((size_t)(a->end - a->begin) == length &&
            memcmp(a->begin, b->begin, length) == 0)
            return fe_lightgbm_error(
                m, b,
                "feature_names holds '%.*s' twice, first in "
                "column %lld of this line",
                FE_SHOW(b), (long long)(a->begin - a->line_begin) + 1);
    }
    return true;
}

/* The words of a header line that has one for each feature. */
static bool read_words(struct fe_lightgbm *m, enum header_key key,
                       struct fe_span *words)
{
    struct fe_span rest = m->header[key];
    for (int64_t i = 0; i < m->n_features; i++)
        if (!fe_next_word(&rest, &words[i]))
            return fe_lightgbm_error(m, &rest,
                                     "%s ends after %lld of %lld features "
                                     "(max_feature_idx is %lld)",
                                     key_names[key], (long long)i,
                                     (long long)m->n_features,
                                     (long long)m->n_features - 1);
    struct fe_span word = rest;
    if (fe_next_word(&rest, &word))
        return fe_lightgbm_error(m, &word,
                                 "%s goes on with '%.*s' after %lld features "
                                 "(max_feature_idx is %lld)",
                                 key_names[key], FE_SHOW(&word),
                                 (long long)m->n_features,
                                 (long long)m->n_features - 1);
    return true;
}

static bool read_names(struct fe_lightgbm *m)
{
    int64_t last;
    if (!read_scalar(m, MAX_FEATURE_IDX, 0, IR_MAX_COLUMNS - 1, &last) ||
        !need_field(m, FEATURE_NAMES))
        return false;
    /* No memory for more names than the line has bytes. */
    const struct fe_span *field = &m->header[FEATURE_NAMES];
    if (last > field->end - field->begin)
        return fe_lightgbm_error(
            m, field,
            "feature_names ends after %lld of %lld features "
            "(max_feature_idx is %lld)",
            (long long)fe_count_words(*field), (long long)last + 1,
            (long long)last);
    m->n_features = last + 1;
    m->names = ir_alloc_array(&m->scratch, (size_t)last + 1, sizeof *m->names);
    m->categorical = ir_alloc(&m->scratch, (size_t)last + 1);
    if (!read_words(m, FEATURE_NAMES, m->names))
        return false;
    for (int64_t i = 0; i <= last; i++)
        if (m->names[i].end - m->names[i].begin > IR_MAX_NAME)
            return fe_lightgbm_error(
                m, &m->names[i],
                "a feature name of %lld bytes (the limit is %d)",
                (long long)(m->names[i].end - m->names[i].begin), IR_MAX_NAME);
    return check_names_differ(m);
}

/* A feature is described as none, as [low:high], or by its categories. */
static bool read_infos(struct fe_lightgbm *m)
{
    if (!need_field(m, FEATURE_INFOS))
        return false;
    const size_t n = (size_t)m->n_features;
    struct fe_span *infos = ir_alloc_array(&m->scratch, n, sizeof *infos);
    if (!read_words(m, FEATURE_INFOS, infos))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (fe_is(&infos[i], "none") || *infos[i].begin == '[')
            continue;
        struct fe_span rest = infos[i];
        while (rest.begin < rest.end) {
            const struct fe_span code = fe_split(&rest, ':');
            int64_t value;
            if (!fe_read_int(&code, &value))
                return fe_lightgbm_error(
                    m, &code,
                    "feature_infos: '%.*s' is no category of feature %lld",
                    FE_SHOW(&code), (long long)i);
        }
        m->categorical[i] = true;
    }
    return true;
}

/* ----------------------------------------------------------- objective -- */

/* LightGBM reads an objective's parameters with an atof of its own: digits
 * before the point, plus digits after it divided by a power of ten, times or
 * by the exponent's power. That is sometimes one bit off the nearest double,
 * and it is what its predictions come from. */
static bool read_parameter(const struct fe_span *span, double *value)
{
    double checked;
    if (!ir_parse_double(span->begin, span->end, &checked))
        return false;
    *value = checked;
    const char *p = span->begin, *end = span->end;
    double whole = 0, right = 0, power = 1, scale = 1;
    int exponent = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        whole = whole * 10 + (*p - '0');
    if (p < end && *p == '.')
        for (p++; p < end && *p >= '0' && *p <= '9'; p++) {
            right = right * 10 + (*p - '0');
            power *= 10;
        }
    const bool has_exponent = p < end && (*p == 'e' || *p == 'E');
    const bool negative = has_exponent && p + 1 < end && p[1] == '-';
    if (has_exponent)
        p += 1 + (p + 1 < end && (p[1] == '-' || p[1] == '+'));
    for (; p < end && *p >= '0' && *p <= '9' && exponent <= 308; p++)
        exponent = exponent * 10 + (*p - '0');
    if (p != end || exponent > 308)
        return true; /* a form that LightGBM does not write */
    for (; exponent >= 50; exponent -= 50)
        scale *= 1e50;
    for (; exponent >= 8; exponent -= 8)
        scale *= 1e8;
    for (; exponent > 0; exponent--)
        scale *= 10;
    whole += right / power;
    *value = negative ? whole / scale : whole * scale;
    return true;
}

/* One word after the objective's name. Words that a link has no use for are
 * passed over, as LightGBM does. */
static bool read_objective_word(struct fe_lightgbm *m, struct fe_span word)
{
    if (fe_is(&word, "sqrt")) {
        m->squared = m->link == FE_LINK_SQRT;
        return true;
    }
    struct fe_span value = word;
    const struct fe_span key = fe_split(&value, ':');
    int64_t n;
    if (fe_is(&key, "sigmoid")) {
        if (!read_parameter(&value, &m->sigmoid) ||
            !(m->sigmoid > 0 && isfinite(m->sigmoid)))
            return fe_lightgbm_error(
                m, &value,
                "objective: sigmoid '%.*s' is no number above 0",
                FE_SHOW(&value));
    } else if (fe_is(&key, "num_class")) {
        if (!fe_read_int(&value, &n) || n != m->n_targets)
            return fe_lightgbm_error(m, &value,
                                     "objective: num_class '%.*s' is not the "
                                     "header's %lld",
                                     FE_SHOW(&value), (long long)m->n_targets);
    }
    return true;
}

static bool has_one_score(enum fe_link link)
{
    return link == FE_LINK_SQRT || link == FE_LINK_EXP ||
           link == FE_LINK_BINARY || link == FE_LINK_CROSS_ENTROPY ||
           link == FE_LINK_LOG1P_EXP;
}

bool fe_lightgbm_objective(struct fe_lightgbm *m)
{
    m->link = FE_LINK_IDENTITY;
    m->sigmoid = -1;
    if (!m->objective.begin)
        return true; /* trained on a function of the caller's */
    struct fe_span rest = m->objective, word;
    fe_next_word(&rest, &word);
    const size_t n = sizeof objectives / sizeof *objectives;
    size_t i = 0;
    while (i < n && !fe_is(&word, objectives[i].name))
        i++;
    if (i == n)
        return fe_lightgbm_error(m, &word,
                                 "objective '%.*s' is not known (one of "
                                 "the caller's own is called custom)",
                                 FE_SHOW(&word));
    m->link = objectives[i].link;
    const struct fe_span name = word;
    while (fe_next_word(&rest, &word))
        if (!read_objective_word(m, word))
            return false;
    if ((m->link == FE_LINK_BINARY || m->link == FE_LINK_ONE_VS_ALL) &&
        m->sigmoid < 0)
        return fe_lightgbm_error(
            m, &name, "objective %s has no sigmoid:", objectives[i].name);
    if (has_one_score(m->link) && m->n_targets != 1)
        return fe_lightgbm_error(
            m, &name, "objective %s has 1 score, but num_class is %lld",
            objectives[i].name, (long long)m->n_targets);
    return true;
}

static bool read_header(struct fe_lightgbm *m)
{
    const char *begin = m->reader.next;
    struct fe_span magic = {begin, begin, begin, 1};
    if (!fe_next_line(&m->reader, &magic) || !fe_is(&magic, "tree"))
        return fe_lightgbm_error(
            m, &magic, "the first line is '%.*s', not 'tree'", FE_SHOW(&magic));
    m->last = magic;
    if (!fe_lightgbm_fields(m, -1, N_KEYS, key_names, m->header) ||
        !need_field(m, VERSION))
        return false;
    m->version = m->header[VERSION];
    if (!fe_lightgbm_version(m) ||
        !read_scalar(m, NUM_CLASS, 1, IR_MAX_COLUMNS, &m->n_targets))
        return false;
    if (m->header[NUM_TREE_PER_ITERATION].begin) {
        int64_t n;
        if (!read_scalar(m, NUM_TREE_PER_ITERATION, 1, IR_MAX_COLUMNS, &n))
            return false;
        if (n != m->n_targets)
            return fe_lightgbm_error(
                m, &m->header[NUM_TREE_PER_ITERATION],
                "num_tree_per_iteration %lld differs from num_class %lld",
                (long long)n, (long long)m->n_targets);
    }
    m->objective = m->header[OBJECTIVE];
    m->average = m->header[AVERAGE_OUTPUT].begin != NULL;
    return read_names(m) && read_infos(m) && fe_lightgbm_objective(m);
}

/* --------------------------------------------------------------- trees -- */

static bool read_trees(struct fe_lightgbm *m)
{
    m->forest = ir_forest_begin(IR_F64, IR_F64, (int)m->n_targets);
    struct fe_span line;
    while (fe_peek_line(&m->reader, &line)) {
        if (line.begin < line.end && !fe_starts_with(&line, "Tree="))
            break;
        fe_next_line(&m->reader, &line);
        m->last = line;
        if (line.begin == line.end)
            continue;
        struct fe_span number = line;
        fe_split(&number, '=');
        int64_t n;
        if (!fe_read_int(&number, &n) || n != m->n_trees)
            return fe_lightgbm_error(m, &number,
                                     "tree '%.*s' where tree %lld should be",
                                     FE_SHOW(&number), (long long)m->n_trees);
        if (m->n_trees == INT32_MAX - 1)
            return fe_lightgbm_error(m, &number, "more than %d trees",
                                     INT32_MAX - 1);
        if (!fe_lightgbm_tree(m, &line))
            return false;
        m->n_trees++;
    }
    return true;
}

static bool check_tree_count(struct fe_lightgbm *m)
{
    const int64_t n = m->n_trees;
    const struct fe_span *sizes = &m->header[TREE_SIZES];
    if (sizes->begin && fe_count_words(*sizes) != n)
        return fe_lightgbm_error(
            m, sizes,
            "tree_sizes holds %lld numbers, but the file has %lld trees",
            (long long)fe_count_words(*sizes), (long long)n);
    if (n == 0)
        return fe_lightgbm_error(m, &m->last, "the model has no trees");
    if (n % m->n_targets)
        return fe_lightgbm_error(m, &m->header[NUM_CLASS],
                                 "%lld trees are no whole number of iterations "
                                 "(num_class is %lld)",
                                 (long long)n, (long long)m->n_targets);
    return true;
}

/* ------------------------------------------------------------- trailer -- */

/* "[categorical_feature: 0,3]" tells of columns that no tree splits on. */
static void read_parameter_line(struct fe_lightgbm *m,
                                const struct fe_span *line)
{
    static const char key[] = "[categorical_feature: ";
    if (!fe_starts_with(line, key))
        return;
    struct fe_span rest = *line;
    rest.begin += sizeof key - 1;
    rest = fe_split(&rest, ']');
    while (rest.begin < rest.end) {
        const struct fe_span number = fe_split(&rest, ',');
        int64_t i;
        if (fe_read_int(&number, &i) && i >= 0 && i < m->n_features)
            m->categorical[i] = true;
    }
}

/* Skips a section up to the line `end`, which is only blank for one that has
 * none; `each` is called for its lines. */
static bool skip_section(struct fe_lightgbm *m, const char *end,
                         void (*each)(struct fe_lightgbm *,
                                      const struct fe_span *))
{
    const struct fe_span start = m->last;
    while (fe_next_line(&m->reader, &m->last)) {
        if (fe_is(&m->last, end))
            return true;
        if (each)
            each(m, &m->last);
    }
    return !*end || fe_lightgbm_error(m, &m->last,
                                      "the file ends before '%s' (the section "
                                      "starts in line %u)",
                                      end, (unsigned)start.line);
}

static bool read_trailer(struct fe_lightgbm *m)
{
    static const char tables[] = "pandas_categorical:";
    bool complete = false;
    struct fe_span line;
    while (fe_next_line(&m->reader, &line)) {
        m->last = line;
        bool ok = true;
        if (fe_is(&line, "end of trees")) {
            complete = true;
        } else if (fe_is(&line, "feature_importances:") ||
                   fe_is(&line, "feature importances:")) {
            complete = true;
            ok = skip_section(m, "", NULL);
        } else if (fe_is(&line, "parameters:")) {
            ok = skip_section(m, "end of parameters", read_parameter_line);
        } else if (fe_is(&line, "parser:")) {
            ok = skip_section(m, "end of parser", NULL);
        } else if (fe_starts_with(&line, tables)) {
            m->tables = line;
            m->tables.begin += sizeof tables - 1;
        } else if (line.begin < line.end) {
            ok = fe_lightgbm_error(m, &line,
                                   "'%.*s' is no line that LightGBM "
                                   "writes after the trees",
                                   FE_SHOW(&line));
        }
        if (!ok)
            return false;
    }
    return complete ||
           fe_lightgbm_error(m, &m->last,
                             "the file ends after %lld trees, before 'end of "
                             "trees': it was cut off",
                             (long long)m->n_trees);
}

/* -------------------------------------------------------------- import -- */

/* A NUL would end a name early. */
static bool check_no_nul(struct fe_lightgbm *m)
{
    const char *p = m->reader.next;
    const size_t n = (size_t)(m->reader.end - p);
    const char *nul = n ? memchr(p, 0, n) : NULL;
    if (!nul)
        return true;
    struct fe_reader reader = m->reader;
    struct fe_span line;
    while (fe_next_line(&reader, &line) && line.end <= nul)
        ;
    line.begin = nul;
    return fe_lightgbm_error(m, &line, "a NUL byte in a text file");
}

struct ir_module *fe_import_lightgbm(struct ir_file file, struct ir_diag *diag)
{
    struct fe_lightgbm m = {.diag = diag};
    struct ir_module *module = NULL;
    fe_reader_init(&m.reader, &file, file.path);
    ir_arena_init(&m.scratch);
    if (check_no_nul(&m) && read_header(&m) && read_trees(&m) &&
        read_trailer(&m) && check_tree_count(&m)) {
        module = ir_module_new(fe_name_of(&m.scratch, file.path));
        if (!fe_lightgbm_build(&m, module)) {
            ir_module_free(module);
            module = NULL;
        }
    }
    fe_lightgbm_release(&m);
    ir_file_close(&file);
    return module;
}
