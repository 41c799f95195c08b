#!/usr/bin/env python3
"""Small Keras models through their ONNX exporter, and Keras' own answers.

    pip install tensorflow-cpu keras tf2onnx
    ./export_keras.py [--rows 2000] [--out DIR]

No GRU: tf2onnx makes a Loop of it, which is not read.
"""
import argparse
import os
import pathlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from keras import layers

import recording


def models():
    yield "mlp", (6,), [
        layers.Dense(16, activation="elu"), layers.Dropout(0.2),
        layers.BatchNormalization(), layers.Dense(8, activation="swish"),
        layers.Dense(3, activation="softmax")]
    yield "cnn", (9, 8, 2), [
        layers.Conv2D(4, 3, padding="same", activation="relu"),
        layers.BatchNormalization(), layers.MaxPooling2D(),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.Conv2D(6, 1, strides=2, activation="relu6"),
        layers.GlobalAveragePooling2D(), layers.Dense(3)]
    yield "up", (4, 5, 3), [
        layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
        layers.LeakyReLU(), layers.UpSampling2D(2), layers.ZeroPadding2D(1),
        layers.AveragePooling2D(3), layers.Flatten(), layers.Dense(2)]
    yield "conv1d", (16, 3), [
        layers.Conv1D(6, 3, padding="causal", dilation_rate=2,
                      activation="tanh"),
        layers.Conv1D(4, 3, strides=2), layers.GlobalMaxPooling1D()]
    yield "lstm", (7, 3), [layers.LSTM(5), layers.Dense(2)]
    yield "lstm_both", (7, 3), [
        layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        layers.LSTM(3), layers.Dense(2, activation="sigmoid")]
    yield "words", (9,), [
        layers.Embedding(12, 6), layers.LayerNormalization(),
        layers.GlobalAveragePooling1D(), layers.Dense(3)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--out", type=pathlib.Path, default=recording.HERE)
    args = parser.parse_args()
    keras.utils.set_random_seed(5)
    rng = np.random.default_rng(5)
    lines = []
    for name, shape, stack in models():
        model = keras.Sequential([keras.Input(shape)] + stack)
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.set_weights([w + 0.3 * rng.random(w.shape)
                                   for w in layer.get_weights()])
        x = rng.integers(0, 12, (args.rows, *shape)).astype(np.float32) \
            if name == "words" \
            else rng.standard_normal((args.rows, *shape)).astype(np.float32)
        y = np.asarray(model(x))
        name = f"keras_{name}"
        path = args.out / f"{name}.onnx"
        try:
            model.export(str(path), format="onnx", verbose=False)
        except Exception as error:
            print(f"{name}: not exported: {error!r:.300}")
            continue
        answers = [("value", y.reshape(len(y), -1))]
        recording.write(args.out / f"{name}.rec",
                        recording.rows_of([x], [0]), answers)
        lines.append(recording.manifest_line(args.out, name, answers, 3e-5))
    recording.add_to_manifest(args.out, f"# keras {keras.__version__}", lines)
    print(f"{len(lines)} models")


main()
