// Values of a template while it runs, and the functions over them.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace onggi::cli::tmpl {

struct Nil {};
// A member that is not there: false in a condition, an error where it is used.
struct Missing {
  std::string why;
};
// An entry of a map that `index` did not find: docker's typed maps have an empty value there.
struct Absent {};

struct Value {
  // Scalars of JSON are native; its arrays and objects stay views of the document.
  std::variant<Nil, Missing, Absent, bool, int64_t, double, std::string, std::vector<Value>, JsonValue> data;
};

Value from_json(JsonValue json);
bool truth(const Value& value);
// As {{.}} prints it (Go's %v).
std::string to_text(const Value& value);
// "a string", ... for errors.
std::string kind_of(const Value& value);
// Members of `value` by name; Missing when there is none.
Value member_of(const Value& value, const std::string& name);
// What range walks over: key and value; kInvalid when it is nothing to walk over.
Result<std::vector<std::pair<Value, Value>>> elements_of(const Value& value);

struct Function {
  const char* name;
  size_t least, most;  // arguments
  Result<Value> (*call)(const std::vector<Value>& args);
};
// nullptr: there is none. `and` and `or` are not here: they do not evaluate all of their arguments.
const Function* find_function(std::string_view name);
std::string function_names();
// Go's fmt.Sprintf for the verbs %s %v %d %q %x %X %o %c %t %f %e %g %%.
Result<std::string> format_values(const std::string& format, const std::vector<Value>& args, size_t first);

}  // namespace onggi::cli::tmpl
