treenail_unit_test(test_frontend LINKS treenail_frontend)
target_compile_definitions(test_frontend PRIVATE
    CASES_DIR="${PROJECT_SOURCE_DIR}/tests/cases/frontend")
treenail_unit_test(test_json LINKS treenail_frontend)
target_compile_definitions(test_json PRIVATE
    XGBOOST_CASES_DIR="${PROJECT_SOURCE_DIR}/tests/cases/xgboost")
