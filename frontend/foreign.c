/* foreign.c: files of formats that are not read: which one it is, and the way
 * from there to one that is. Told by content; by the file's name only where the
 * content could be anything, for that chooses no more than which refusal is
 * given. Python's pickle and what is built on it are code in disguise: never
 * opened.
 */
#include "frontend/internal.h"

#include <string.h>

static bool contains(const struct ir_file *file, const char *text)
{
    const size_t n = file->size < 4096 ? file->size : 4096;
    return n && memmem(file->data, n, text, strlen(text)) != NULL;
}

static bool begins(const struct ir_file *file, const char *bytes)
{
    const size_t n = strlen(bytes);
    return file->size >= n && memcmp(file->data, bytes, n) == 0;
}

/* Whether the file's name ends in one of the words. */
static bool ends_in(const struct ir_file *file, const char *suffixes)
{
    const size_t n = strlen(file->path);
    for (const char *at = suffixes; *at;) {
        const size_t m = strcspn(at, " ");
        if (n >= m && !memcmp(file->path + n - m, at, m))
            return true;
        at += m + (at[m] == ' ');
    }
    return false;
}

static bool is_zip(const struct ir_file *file)
{
    return begins(file, "PK\003\004");
}

static bool is_keras(const struct ir_file *file)
{
    return (is_zip(file) && (contains(file, "config.json") ||
                             contains(file, "model.weights.h5"))) ||
           begins(file, "\211HDF\r\n\032\n") ||
           ends_in(file, ".keras .h5 .hdf5");
}

/* Pickle streams of protocol 2 and later start with a byte 0x80 and the
 * protocol; a .pt file is a zip archive around one. */
static bool is_torch(const struct ir_file *file)
{
    return (is_zip(file) && contains(file, ".pkl")) ||
           ends_in(file, ".pt .pth");
}

static bool is_pickle(const struct ir_file *file)
{
    return (file->size >= 2 && file->data[0] == 0x80 && file->data[1] <= 5) ||
           ends_in(file, ".pkl .pickle .joblib");
}

static bool is_tflite(const struct ir_file *file)
{
    return (file->size >= 8 && !memcmp(file->data + 4, "TFL3", 4)) ||
           ends_in(file, ".tflite");
}

/* A SavedModel starts with its version, 1, and then a graph. */
static bool is_tensorflow(const struct ir_file *file)
{
    return begins(file, "\010\001\022") || ends_in(file, ".pb");
}

static bool is_safetensors(const struct ir_file *file)
{
    return ends_in(file, ".safetensors");
}

static bool is_gzip(const struct ir_file *file)
{
    return begins(file, "\037\213");
}

static bool is_elf(const struct ir_file *file)
{
    return begins(file, "\177ELF");
}

static bool is_cbm(const struct ir_file *file)
{
    return begins(file, "CBM1");
}

static bool is_table(const struct ir_file *file)
{
    return ends_in(file, ".csv .tsv");
}

static bool is_old_xgboost(const struct ir_file *file)
{
    return begins(file, "binf");
}

/* The first that fits. */
static const struct {
    bool (*is)(const struct ir_file *file);
    const char *message;
} foreign[] = {
    {is_elf, "this is compiled code, not a model: give the model that it was "
     "made from"},
    {is_gzip, "the file is compressed (gzip): decompress it"},
    {is_cbm, "this is CatBoost's binary format (.cbm), which is not read: "
     "save the model with save_model(path, format=\"json\", pool=pool)"},
    {is_old_xgboost, "this is XGBoost's old binary format, which is not read: "
     "load the model with XGBoost and save_model() it as .json or .ubj"},
    {is_keras, "this is Keras' format (.keras, .h5), which is not read: load "
     "the model with keras.saving.load_model() and write it with Python's "
     "treenail.export(model, \"model.tn\"), or with model.export("
     "\"model.onnx\", format=\"onnx\")"},
    {is_tflite, "this is TensorFlow Lite's format (.tflite), which is not "
     "read: export the Keras model that it was made from with Python's "
     "treenail.export(model, \"model.tn\"), or convert it with python -m "
     "tf2onnx.convert --tflite FILE --output model.onnx"},
    {is_torch, "refused: this is a Python pickle, as PyTorch saves it (.pt, "
     ".pth), and a pickle can run code when it is read; load the module with "
     "PyTorch and write it with Python's treenail.export(module, "
     "\"model.tn\", example_input=x)"},
    {is_pickle, "refused: this is a Python pickle (.pkl, .joblib), and a "
     "pickle can run code when it is read; load the model with Python and "
     "write it with treenail.export(model, \"model.tn\")"},
    {is_safetensors, "this is no safetensors file with a model in it: only "
     "treenail's own .tn is one"},
    {is_table, "this is a table of rows, not a model (which goes before "
     "them)"},
    {is_tensorflow, "this is TensorFlow's format (SavedModel or frozen graph, "
     ".pb), which is not read: convert it with python -m tf2onnx.convert "
     "--saved-model FOLDER --output model.onnx"},
};

const char *fe_foreign_format(const struct ir_file *file)
{
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (foreign[i].is(file))
            return foreign[i].message;
    return NULL;
}
