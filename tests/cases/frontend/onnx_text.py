#!/usr/bin/env python3
"""onnx_text.py FILE [OLD NEW]...: a small ONNX model written as text -> the
bytes of protobuf, on stdout; OLD is replaced by NEW in the text first, where
any white space is one blank.

A line is `field value`, or `field {` up to a `}`; the names of fields are
onnx.proto's. Numbers without a point are varints, those with one floats,
"text" is a string, 'hex' bytes, [1 2 3] a packed or repeated list.
"""
import re
import struct
import sys

FIELDS = {
    "ModelProto": dict(ir_version=1, producer_name=2, graph=(7, "GraphProto"),
                       opset_import=(8, "OperatorSetIdProto"),
                       functions=(25, "FunctionProto"), unknown=99, odd=3),
    "OperatorSetIdProto": dict(domain=1, version=2),
    "FunctionProto": dict(name=1),
    "GraphProto": dict(node=(1, "NodeProto"), name=2,
                       initializer=(5, "TensorProto"), doc_string=10,
                       input=(11, "ValueInfoProto"),
                       output=(12, "ValueInfoProto"),
                       sparse_initializer=(15, "SparseTensorProto")),
    "SparseTensorProto": dict(dims=3),
    "NodeProto": dict(input=1, output=2, name=3, op_type=4,
                      attribute=(5, "AttributeProto"), domain=7),
    "AttributeProto": dict(name=1, f=2, i=3, s=4, t=(5, "TensorProto"),
                           g=(6, "GraphProto"), floats=7, ints=8, strings=9,
                           type=20, ref_attr_name=21),
    "TensorProto": dict(dims=1, data_type=2, segment=(3, "Segment"),
                        float_data=4, int32_data=5, string_data=6,
                        int64_data=7, name=8, raw_data=9, double_data=10,
                        external_data=(13, "StringStringEntryProto"),
                        data_location=14),
    "Segment": dict(begin=1),
    "StringStringEntryProto": dict(key=1, value=2),
    "ValueInfoProto": dict(name=1, type=(2, "TypeProto")),
    "TypeProto": dict(tensor_type=(1, "Tensor"), sequence_type=(4, "Sequence"),
                      map_type=(5, "Map")),
    "Sequence": dict(elem_type=(1, "TypeProto")),
    "Map": dict(key_type=1, value_type=(2, "TypeProto")),
    "Tensor": dict(elem_type=1, shape=(2, "TensorShapeProto")),
    "TensorShapeProto": dict(dim=(1, "Dimension")),
    "Dimension": dict(dim_value=1, dim_param=2),
}
KINDS = {"f": 1, "i": 2, "s": 3, "t": 4, "g": 5, "floats": 6, "ints": 7,
         "strings": 8}


def varint(value):
    out, value = b"", value & (1 << 64) - 1
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def scalar(number, word):
    if word[0] == '"':
        text = word[1:-1].encode().decode("unicode_escape").encode("latin-1")
        return varint(number << 3 | 2) + varint(len(text)) + text
    if word[0] == "'":
        data = bytes.fromhex(word[1:-1])
        return varint(number << 3 | 2) + varint(len(data)) + data
    if re.fullmatch(r"-?\d+", word):
        return varint(number << 3) + varint(int(word))
    return varint(number << 3 | 5) + struct.pack("<f", float(word))


def message(words, kind):
    out = b""
    while words and words[0] != "}":
        name = words.pop(0)
        if kind == "GraphProto" and name == "bytes":  # as they are
            out += bytes.fromhex(words.pop(0)[1:-1])
            continue
        field = FIELDS[kind][name]
        number = field[0] if isinstance(field, tuple) else field
        word = words.pop(0)
        if word == "{":
            body = message(words, field[1])
            words.pop(0)
            out += varint(number << 3 | 2) + varint(len(body)) + body
        elif word == "[":
            while words[0] != "]":
                out += scalar(number, words.pop(0))
            words.pop(0)
        else:
            out += scalar(number, word)
        if kind == "AttributeProto" and name in KINDS:
            out += scalar(20, str(KINDS[name]))
    return out


def main():
    with open(sys.argv[1]) as file:
        text = re.sub(r"^\s*#.*$", "", file.read(), flags=re.M)
    text = " ".join(text.split())
    for old, new in zip(sys.argv[2::2], sys.argv[3::2]):
        if old not in text:
            sys.exit(f"there is no {old}")
        text = text.replace(old, new, 1)
    words = re.findall(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[^\s\[\]]+|[\[\]]', text)
    sys.stdout.buffer.write(message(words, "ModelProto"))


main()
