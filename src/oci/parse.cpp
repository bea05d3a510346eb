// Parsing is the tables of spec_json.h and nothing else; judging values is check.cpp's work.
#include "oci/parse.h"

#include "oci/spec_json.h"

namespace onggi::oci {

Result<Spec> parse_spec(std::string_view json) { return json_parse<Spec>(json, "config.json"); }
Result<Process> parse_process(std::string_view json) { return json_parse<Process>(json, "process.json"); }
Result<Resources> parse_resources(std::string_view json) { return json_parse<Resources>(json, "resources"); }

}  // namespace onggi::oci
