treenail_unit_test(test_arena LINKS treenail_ir)
treenail_unit_test(test_text LINKS treenail_ir)
treenail_unit_test(test_file LINKS treenail_ir)
treenail_unit_test(test_module LINKS treenail_ir)
