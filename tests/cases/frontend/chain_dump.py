#!/usr/bin/env python3
"""Writes a LightGBM dump of one tree that is a chain: chain_dump.py LEAVES"""
import sys

leaves = int(sys.argv[1])
LEAF = '{{"leaf_index":{0},"leaf_value":{0}}}'
NODE = ('{{"split_index":{0},"split_feature":0,"threshold":{0},'
        '"decision_type":"<=","default_left":false,"missing_type":"None",'
        '"left_child":{1},"right_child":')
print('{"name":"tree","version":"v4","num_class":1,"max_feature_idx":0,'
      '"average_output":false,"feature_names":["x"],"tree_info":[{"num_leaves":'
      f'{leaves},"tree_structure":'
      + "".join(NODE.format(i, LEAF.format(i)) for i in range(leaves - 1))
      + LEAF.format(leaves - 1) + "}" * (leaves - 1) + "}]}")
