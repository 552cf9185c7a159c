# cmake -D INPUT=FILE -D NAME=function -D HEADER=room/file.hpp -D NAMESPACE=room -D OUTPUT=FILE.cpp
#   -P embed_binary.cmake: a function that returns the bytes of a file.
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT} "#include \"${HEADER}\"\n\nnamespace cbit::${NAMESPACE} {\nnamespace {\n
constexpr unsigned char ${NAME}_bytes[] = {${bytes}};\n\n}  // namespace\n
ConstByteSpan ${NAME}() { return std::as_bytes(std::span{${NAME}_bytes}); }\n
}  // namespace cbit::${NAMESPACE}\n")
