# Warnings are errors; sanitizers by COFFER_SANITIZE. gcc's maybe-uninitialized does not see that an error_explain()
# never returns ERROR_NONE, so it warns wherever a result is written only on success.
add_compile_options(
  -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings
  -Wno-missing-field-initializers -fno-strict-aliasing -fno-common -fstack-protector-strong
  -ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)
if(CMAKE_C_COMPILER_ID MATCHES Clang)
  add_compile_options(-Wthread-safety)
else()
  add_compile_options(-Wno-maybe-uninitialized)
endif()
add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64)
if(COFFER_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(COFFER_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(COFFER_SANITIZE STREQUAL "fuzzer")
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
    -fsanitize-coverage-ignorelist=${PROJECT_SOURCE_DIR}/tests/fuzz/not_followed)
  add_link_options(-fsanitize=address,undefined)
  if(NOT COFFER_FUZZ_COMPARISONS)
    add_compile_options(-fno-sanitize-coverage=trace-cmp)
  endif()
elseif(COFFER_SANITIZE STREQUAL "coverage") # no sanitizer, but like them another build of everything
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
endif()
add_link_options(-Wl,-z,relro,-z,now)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
