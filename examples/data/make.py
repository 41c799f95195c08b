#!/usr/bin/env python3
"""Makes credit.csv: examples/data/make.py FOLDER > examples/data/credit.csv
and ridership.csv:   examples/data/make.py FOLDER ridership > ...

FOLDER is usr/lib/R/site-library/modeldata of the unpacked Debian package:

    apt-get download r-cran-modeldata && dpkg -x r-cran-modeldata_*.deb x
    pip install rdata==1.1.0 pandas
    examples/data/make.py x/usr/lib/R/site-library/modeldata > credit.csv

credit.csv came from r-cran-modeldata 1.1.0-1 with Python 3.11, rdata 1.1.0 and
pandas 3.1.1. No row or value is changed, and the columns keep their order; names
become lower case, NA becomes an empty field, and Status becomes the last
column, `default`: "yes" for bad, "no" for good.

ridership.csv, from the same, has two columns of the table Chicago, whose other
ones are made of these or are of the weather: the day, and the number of riders, in
thousands, with the digits that R prints.

R keeps a package's data as one file of compressed pieces, each with its
length (4 bytes, big-endian) and its compression (1 byte) before it, and an
index of where each piece is, which is an ordinary .rds file.
"""
import lzma
import pathlib
import sys
import warnings

import pandas
import rdata


def read_piece(data, place):
    offset, length = (int(i) for i in place)
    piece = data[offset:offset + length]
    if piece[4:5] != b"Z":
        sys.exit(f"piece at {offset}: compression {piece[4:5]} is not known")
    size = int.from_bytes(piece[:4], "big")
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
    raw = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    return raw.decompress(piece[5:], size)


def read_table(folder, name):
    def convert(data):
        return rdata.conversion.convert(rdata.parser.parse_data(data))

    index = convert((folder / "Rdata.rdx").read_bytes())
    data = (folder / "Rdata.rdb").read_bytes()
    return convert(read_piece(data, index["variables"][name]))


def credit(folder):
    table = read_table(folder, "credit_data")
    status = table.pop("Status")
    table.columns = [name.lower() for name in table.columns]
    table["default"] = status.map({"bad": "yes", "good": "no"})
    for name in table.select_dtypes("number"):
        table[name] = table[name].astype("Int64")
    return table


def ridership(folder):
    table = read_table(folder, "Chicago")
    day = pandas.to_datetime(table["date"], unit="D")
    return pandas.DataFrame({"day": day.dt.strftime("%Y-%m-%d"),
                             "riders": table["ridership"]})


def main():
    warnings.simplefilter("ignore")  # R's formats have no extension here
    tables = {"credit": credit, "ridership": ridership}
    name = sys.argv[2] if len(sys.argv) > 2 else "credit"
    if len(sys.argv) not in (2, 3) or name not in tables:
        sys.exit("usage: make.py FOLDER [credit | ridership]")
    table = tables[name](pathlib.Path(sys.argv[1]) / "data")
    table.to_csv(sys.stdout, index=False, lineterminator="\n",
                 float_format="%.7g")


main()
