// Tables and templates: what `ps`, `images` and the rest print, and what --format makes of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace onggi::cli {

// One object: field names as docker's templates call them ("ID", "Names"), values as text.
using Row = std::vector<std::pair<std::string, std::string>>;

struct Column {
  const char* header;  // "CONTAINER ID"
  const char* field;   // "ID"
};

// `format`: "" or "table" (the columns), "table TEMPLATE", "json" (one object per line), or a template.
Result<> print_rows(const std::string& format, const std::vector<Column>& columns,
                    const std::vector<Row>& rows);
// Columns padded to the widest cell, three spaces between.
std::string table_text(const std::vector<std::string>& headers,
                       const std::vector<std::vector<std::string>>& cells);
// "1.2kB" (powers of 1000), "1.5MiB" (powers of 1024).
std::string human_size(uint64_t bytes);
std::string human_binary(uint64_t bytes);
// A JSON document by a template, one line per document; "json" prints it compact, "" prints it indented.
Result<> print_document(const std::string& format, const std::vector<std::string>& json_documents);

}  // namespace onggi::cli
