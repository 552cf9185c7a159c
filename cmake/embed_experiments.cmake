# cmake -D FOLDER=tests/lab -D OUTPUT=FILE.cpp -P embed_experiments.cmake: the experiments as C++, in order of
# name.
file(GLOB files ${FOLDER}/*.toml)
list(SORT files)
set(rows "")
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WLE)
  file(READ ${file} text)
  string(APPEND rows "    {\"${name}\", R\"toml(${text})toml\"},\n")
endforeach()
file(WRITE ${OUTPUT} "#include <vector>\n\n#include \"lab/experiment.hpp\"\n\nnamespace cbit::lab {\n
std::span<const BuiltinExperiment> builtin_experiments() {
  static const std::vector<BuiltinExperiment> experiments{\n${rows}  };
  return experiments;
}\n\n}  // namespace cbit::lab\n")
