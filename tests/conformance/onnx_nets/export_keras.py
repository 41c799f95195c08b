#!/usr/bin/env python3
"""Small Keras models through their ONNX exporter, and Keras' own answers.

    pip install tensorflow-cpu keras tf2onnx
    ./export_keras.py [--rows 2000] [--out DIR]

tf2onnx makes a Loop of every recurrent layer but an LSTM of the usual
activations: these are here in all their forms.
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
    yield from loops()


def loops():
    """What becomes a Loop: cells, and what is none and is made step by step."""
    yield "gru", (7, 3), [layers.GRU(5), layers.Dense(2)]
    yield "gru_before", (7, 3), [
        layers.GRU(5, reset_after=False, return_sequences=True)]
    yield "gru_both", (6, 3), [
        layers.Bidirectional(layers.GRU(4, return_sequences=True)),
        layers.GRU(3)]
    yield "gru_back", (7, 3), [
        layers.GRU(5, go_backwards=True, return_sequences=True)]
    yield "gru_no_bias", (7, 3), [
        layers.GRU(5, use_bias=False, activation="relu",
                   recurrent_activation="hard_sigmoid")]
    yield "gru_words", (9,), [layers.Embedding(12, 6), layers.GRU(4)]
    yield "gru_masked", (6, 3), [layers.Masking(), layers.GRU(4)]
    yield "rnn", (7, 3), [
        layers.SimpleRNN(5, return_sequences=True, activation="relu"),
        layers.SimpleRNN(4), layers.Dense(2)]
    yield "lstm_hard", (7, 3), [
        layers.LSTM(5, recurrent_activation="hard_sigmoid")]
    yield "lstm_back", (7, 3), [
        layers.LSTM(5, go_backwards=True, return_sequences=True)]
    yield "conv_lstm", (3, 5, 5, 2), [
        layers.ConvLSTM2D(3, 3), layers.GlobalAveragePooling2D()]


def fill_biases(model, rng):
    """Numbers for biases, which start as zeros: cells add them in places of
    their own."""
    for weight in model.weights:
        if "bias" in weight.path:
            weight.assign(0.3 * rng.standard_normal(weight.shape))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--out", type=pathlib.Path, default=recording.HERE)
    args = parser.parse_args()
    keras.utils.set_random_seed(5)
    rng = np.random.default_rng(5)
    lines, loop_names = [], {name for name, _, _ in loops()}
    for name, shape, stack in models():
        model = keras.Sequential([keras.Input(shape)] + stack)
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.set_weights([w + 0.3 * rng.random(w.shape)
                                   for w in layer.get_weights()])
        if name in loop_names:
            fill_biases(model, rng)
        x = rng.integers(0, 12, (args.rows, *shape)).astype(np.float32) \
            if name.endswith("words") \
            else rng.standard_normal((args.rows, *shape)).astype(np.float32)
        if name.endswith("masked"):
            x[:, ::2] *= rng.integers(0, 2, (args.rows, x[:, ::2].shape[1],
                                             1))
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
